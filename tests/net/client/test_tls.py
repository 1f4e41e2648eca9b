"""Connections to a hub with https, in a process that began without OpenSSL."""

import os
import subprocess
import sys

import pytest

from tests.support.tls_authority import Authority

PROGRAM = """
import sys
from hapi.startup import block_tls_imports, block_unused_imports
assert {block}("http://127.0.0.1:1")
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.web.client import Agent  # loaded before OpenSSL may be
from hapi.net.client.hub_client import HubClient
from hapi.net.client.link import HubLink
from hapi.net.common.rpc import RpcTable
from hapi.settings import HubAccess
assert not sys.modules["OpenSSL"]
access = HubAccess(sys.argv[1], "t")
async def go():
    link = HubLink(reactor, access, {{}}, RpcTable("m"))
    link.startService()
    try:
        return await link.call("echo", "over TLS"), await HubClient(reactor, access).session("s")
    finally:
        await link.leave()
Deferred.fromCoroutine(go()).addBoth(lambda result: (print(result), reactor.stop()))
reactor.run()
"""
SERVER = """
import sys
from twisted.internet import reactor, ssl
from twisted.web.resource import Resource
from twisted.web.static import Data
from hapi.net.server.site import LimitedSite
from hapi.net.server.socket_server import SocketServer
class Echo:
    def connect(self, peer, auth): ...
    def event(self, peer, name, args, ack): ack(*args)
    def disconnected(self, peer, reason): ...
data = Data(b'{"session": {"id": "s"}}', "application/json")
data.isLeaf = True
root = Resource()
root.putChild(b"cli", data)
root.putChild(b"socket.io", SocketServer(reactor, {"/cli": Echo()}).resource)
context = ssl.DefaultOpenSSLContextFactory(sys.argv[2], sys.argv[1])
port = reactor.listenSSL(0, LimitedSite(root, reactor), context, interface="127.0.0.1")
print(port.getHost().port, flush=True)
reactor.run()
"""


@pytest.mark.parametrize("block", ["block_tls_imports", "block_unused_imports"])
def test_a_process_that_began_without_openssl_reaches_a_hub_with_https(tmp_path, block):
    authority = Authority(tmp_path)
    certificate, key = authority.issue("127.0.0.1")
    server = subprocess.Popen(
        [sys.executable, "-c", SERVER, str(certificate), str(key)],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert server.stdout is not None
        url = f"https://127.0.0.1:{server.stdout.readline().strip()}"
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM.format(block=block), url],
            env={**os.environ, "SSL_CERT_FILE": str(authority.roots)},
            capture_output=True,
            text=True,
            check=True,
            timeout=120,
        )
    finally:
        server.kill()
        server.wait()
    assert "('over TLS', {'id': 's'})" in done.stdout, done.stdout + done.stderr
