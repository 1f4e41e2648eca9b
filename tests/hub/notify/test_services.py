"""How the hub reaches push services: over verified TLS, at public addresses only, through a proxy
if there is one."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from treq.client import HTTPClient
from twisted.internet import reactor
from twisted.web.client import Agent, RequestTransmissionFailed

from hapi.hub.notify.proxy import ProxyAddress, ProxyRefused
from hapi.hub.notify.public_hosts import is_public, is_public_name
from hapi.hub.notify.services import ServiceEndpoints
from hapi.settings import ConfigurationError
from tests.support.notify_service import PushService


@pytest.fixture
def service(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[PushService]:
    made = PushService(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(made.authority.roots))
    yield made
    made.close()


class Proxy:
    """Takes one CONNECT and passes the bytes on, or answers `refusal`."""

    def __init__(self, refusal: bytes = b"") -> None:
        self.head, self._refusal = b"", refusal
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        client, _ = self._listener.accept()
        while b"\r\n\r\n" not in self.head:
            self.head += client.recv(4096)
        if self._refusal:
            client.sendall(self._refusal)
            client.close()
            return
        port = int(self.head.split(b" ")[1].rpartition(b":")[2])
        server = socket.create_connection(("127.0.0.1", port))
        client.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
        for source, target in ((client, server), (server, client)):
            threading.Thread(target=self._pass, args=(source, target), daemon=True).start()

    @staticmethod
    def _pass(source: socket.socket, target: socket.socket) -> None:
        try:
            while data := source.recv(65536):
                target.sendall(data)
        except OSError:
            return

    def close(self) -> None:
        self._listener.close()


async def post(url: str, **how: Any) -> int:
    agent = Agent.usingEndpointFactory(reactor, ServiceEndpoints(reactor, **how))
    response = await HTTPClient(agent).post(url, data=b"x")
    await response.content()
    return int(response.code)


@pytest_twisted.ensureDeferred
async def test_a_service_is_reached_over_tls(service: PushService) -> None:
    assert await post(service.endpoint(), allows_private=True) == 201


@pytest_twisted.ensureDeferred
async def test_a_name_that_leads_to_a_private_address_leads_nowhere(service: PushService) -> None:
    with pytest.raises(Exception, match=r"DNS|lookup|no results"):
        await post(service.endpoint())
    assert service.received == []


@pytest_twisted.ensureDeferred
async def test_a_certificate_that_nobody_vouches_for_is_refused(
    service: PushService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SSL_CERT_FILE")
    with pytest.raises(RequestTransmissionFailed):
        await post(service.endpoint(), allows_private=True)
    assert service.received == []


@pytest_twisted.ensureDeferred
async def test_a_proxy_sees_the_name_and_nothing_of_the_message(service: PushService) -> None:
    proxy = Proxy()
    address = ProxyAddress.parse(f"http://me:se%20cret@127.0.0.1:{proxy.port}")
    assert await post(service.endpoint(), proxy=address) == 201
    proxy.close()
    host = service.endpoint().split("/")[2]
    assert proxy.head.startswith(f"CONNECT {host} HTTP/1.1\r\n".encode())
    assert b"Proxy-Authorization: Basic bWU6c2UgY3JldA==" in proxy.head


@pytest_twisted.ensureDeferred
async def test_what_a_proxy_refuses_is_said(service: PushService) -> None:
    proxy = Proxy(b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n")
    address = ProxyAddress.parse(f"http://127.0.0.1:{proxy.port}")
    with pytest.raises(ProxyRefused, match="407"):
        await post(service.endpoint(), proxy=address)
    proxy.close()


@pytest.mark.parametrize(
    "url", ["proxy:3128", "ftp://proxy:1", "http://", "http://x:y:z", "http://p/x"]
)
def test_what_is_no_proxy_is_refused_without_its_password(url: str) -> None:
    with pytest.raises(ConfigurationError, match="notifyProxy"):
        ProxyAddress.parse(url)
    with pytest.raises(ConfigurationError) as refused:
        ProxyAddress.parse("ftp://me:secret@proxy:1")
    assert "secret" not in str(refused.value)


PUBLIC = """
8.8.8.8 192.0.1.1 192.88.98.1 2606:4700::1111 2001:4860:4860::8888 ::ffff:8.8.8.8 64:ff9b::808:808
"""


@pytest.mark.parametrize("address", PUBLIC.split())
def test_addresses_of_the_internet_are_public(address: str) -> None:
    assert is_public(address)


# One of each entry of the IANA special-purpose address registries, of what is not allocated, and of
# IPv6 addresses that hold an IPv4 one.
SPECIAL = """
0.0.0.0 0.1.2.3 10.1.2.3 100.64.0.1 127.0.0.1 169.254.169.254 172.31.0.1 192.0.0.1 192.0.0.8
192.0.0.9 192.0.0.10 192.0.0.170 192.0.2.1 192.31.196.1 192.52.193.1 192.88.99.1 192.168.1.1
192.175.48.1 198.19.255.1 198.51.100.1 203.0.113.1 224.0.0.1 239.1.2.3 240.0.0.1 255.255.255.255
:: ::1 ::7f00:1 ::ffff:192.168.1.1 ::ffff:192.88.99.1 64:ff9b::7f00:1 64:ff9b::c058:6301
64:ff9b:1::808:808 100::1 100:0:0:1::1 2001::1 2001:0:808:808::1 2001:1::1 2001:2::1 2001:3::1
2001:4:112::1 2001:10::1 2001:20::1 2001:30::1 2001:db8::1 2002:7f00:1:: 2002:808:808::1
2620:4f:8000::1 3fff::1 4000::1 5f00::1 8000::1 fc00::1 fd00::1 fe80::1%eth0 fec0::1 ff02::1 ff0e::1
"""


@pytest.mark.parametrize("address", SPECIAL.split())
def test_special_addresses_are_not_public(address: str) -> None:
    assert not is_public(address)


LOCAL_NAMES = """
router localhost printer.local db.internal nas.home.arpa 1.0.0.127.in-addr.arpa hub.lan hub.home
a.localdomain site.corp host.intranet x.private hidden.onion a.test a.invalid a.example a.alt
"""


@pytest.mark.parametrize("name", LOCAL_NAMES.split())
def test_names_of_local_networks_are_not_public(name: str) -> None:
    assert not is_public_name(name)


def test_names_that_only_look_like_local_ones_are_public() -> None:
    assert all(map(is_public_name, ("push.example.com", "local.net", "notlocal.com", "home.pl")))
