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
from hapi.hub.notify.services import ServiceEndpoints, is_public
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


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("8.8.8.8", True),
        ("2606:4700::1111", True),
        ("127.0.0.1", False),
        ("10.1.2.3", False),
        ("100.64.0.1", False),
        ("169.254.169.254", False),
        ("0.0.0.0", False),
        ("224.0.0.1", False),
        ("::1", False),
        ("fe80::1%eth0", False),
        ("fd00::1", False),
        ("::ffff:192.168.1.1", False),
        ("64:ff9b::7f00:1", False),
        ("2002:7f00:1::", False),
    ],
)
def test_which_addresses_are_public(address: str, expected: bool) -> None:
    assert is_public(address) is expected
