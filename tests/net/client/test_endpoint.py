"""How the hub is connected to, by name and by address."""

import pytest
from twisted.internet.endpoints import HostnameEndpoint, TCP4ClientEndpoint
from twisted.internet.testing import MemoryReactorClock
from twisted.web.client import URI

from hapi.net.client.endpoint import CONNECT_TIMEOUT, hub_endpoint
from hapi.net.client.hub_client import PlainEndpoints


@pytest.mark.parametrize(
    ("url", "kind"),
    [
        ("http://127.0.0.1:3006", TCP4ClientEndpoint),
        ("http://localhost:3006", HostnameEndpoint),
        ("http://hub.example", HostnameEndpoint),
        ("http://[::1]:3006", HostnameEndpoint),
    ],
)
def test_only_a_name_is_resolved(url, kind):
    assert type(hub_endpoint(MemoryReactorClock(), url)) is kind


@pytest.mark.parametrize(("url", "port"), [("http://10.0.0.7", 80), ("http://10.0.0.7:3006", 3006)])
def test_an_address_in_digits_is_connected_to_at_once(url, port):
    reactor = MemoryReactorClock()
    hub_endpoint(reactor, url).connect(object())
    PlainEndpoints(reactor).endpointForURI(URI.fromBytes(url.encode())).connect(object())
    assert [client[:2] + client[3:4] for client in reactor.tcpClients] == [
        ("10.0.0.7", port, CONNECT_TIMEOUT)
    ] * 2
