"""Hubs that reach each other by TLS."""

import pytest
import pytest_twisted
from twisted.internet import reactor

from hapi.hub.domain.errors import TargetMissing
from hapi.net.client.hub_client import HubClient
from hapi.net.server.tls import ServerCertificate
from hapi.settings import HubAccess
from tests.support.hub_group import TOKEN, hubs_with_clusters, until
from tests.support.tls_authority import Authority


@pytest.fixture
def authority(tmp_path, monkeypatch):
    made = Authority(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(made.roots))
    return made


@pytest.fixture
def group(authority):
    def certificate():
        return ServerCertificate(*authority.issue("localhost"))

    with hubs_with_clusters("a", "b", certificate=certificate) as group:
        yield group


@pytest_twisted.ensureDeferred
async def test_calls_requests_and_sockets_go_by_tls(group):
    a, b = group.hubs["a"], group.hubs["b"]
    others = a.registry.peers
    assert b.url.startswith("https://localhost:")
    for hub, name in ((a, "m1"), (b, "m2")):
        await hub.machine(name)
        await hub.link("machine", name, echo=lambda params: params)
    await until(lambda: a.cluster.elsewhere("m2"))
    assert await others.sockets(b.member, "m2") == 1
    assert await a.registry.rpc.call("m2", "echo", {"x": 1}) == {"x": 1}
    client = HubClient(reactor, HubAccess(a.url, TOKEN))
    await client.web_request("PATCH", "/api/machines/m2", {"displayName": "x"})
    assert b.registry.machines["m2"].name == "x"
    await a.link("machine", "m2", other=lambda params: "relayed")
    await until(lambda: b.registry.rpc.serves_here("m2", "other"))
    assert await a.registry.rpc.call("m2", "other") == "relayed"


@pytest_twisted.ensureDeferred
async def test_a_hub_whose_certificate_is_not_trusted_is_asked_nothing(
    group, tmp_path, monkeypatch
):
    a, b = group.hubs["a"], group.hubs["b"]
    await b.machine("m2")
    called = []
    await b.link("machine", "m2", echo=called.append)
    await until(lambda: a.cluster.elsewhere("m2"))
    (tmp_path / "other").mkdir()
    monkeypatch.setenv("SSL_CERT_FILE", str(Authority(tmp_path / "other").roots))
    with pytest.raises(TargetMissing, match="cannot be reached"):
        await a.registry.rpc.call("m2", "echo")
    assert not called
