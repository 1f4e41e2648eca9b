"""Both ends on real sockets: the upgrade and its refusals, deflate, size limits, TLS."""

from __future__ import annotations

import datetime
import json
import zlib
from secrets import token_urlsafe

import pytest
import pytest_twisted
import treq
from twisted.internet import ssl
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater

from hapi.net.client.hub_client import HubClient, HubUnreachable
from hapi.net.client.link import HubLink
from hapi.net.common.rpc import RpcTable
from hapi.net.common.websocket import ServerSocket, apply_mask
from hapi.protocol.engineio import MAX_PAYLOAD
from hapi.settings import HubAccess
from tests.support.real_hub import RealHub, status_of


@pytest_twisted.async_yield_fixture
async def hub(reactor):
    made = RealHub(reactor)
    yield made
    await made.stop()


@pytest_twisted.async_yield_fixture
async def link(reactor, hub):
    made = HubLink(
        reactor,
        HubAccess(hub.url, "good", {"X-Extra": "yes", "Origin": "http://evil.example"}),
        {},
        RpcTable("m1"),
    )
    made.startService()
    await status_of(made, "connected")
    yield made
    await made.leave()


# --- the upgrade


@pytest.mark.parametrize(
    ("method", "path", "headers", "status", "body"),
    [
        ("GET", "/socket.io/?EIO=4", {}, 400, {"code": 0, "message": "Transport unknown"}),
        (
            "GET",
            "/socket.io/?EIO=4&transport=smoke",
            {},
            400,
            {"code": 0, "message": "Transport unknown"},
        ),
        (
            "GET",
            "/socket.io/?EIO=4&transport=websocket&sid=stranger",
            {},
            400,
            {"code": 1, "message": "Session ID unknown"},
        ),
        (
            "POST",
            "/socket.io/?EIO=4&transport=websocket",
            {},
            400,
            {"code": 2, "message": "Bad handshake method"},
        ),
        (
            "GET",
            "/socket.io/?EIO=4&transport=websocket",
            {},
            400,
            {"code": 3, "message": "Bad request"},
        ),
        (
            "GET",
            "/socket.io/?EIO=3&transport=websocket",
            {},
            400,
            {"code": 5, "message": "Unsupported protocol version"},
        ),
        (
            "GET",
            "/socket.io/?EIO=4&transport=websocket",
            {"Origin": "http://evil.example"},
            403,
            {"code": 4, "message": "Origin not allowed"},
        ),
    ],
)
@pytest_twisted.ensureDeferred
async def test_refusals_before_the_upgrade_are_json(hub, method, path, headers, status, body):
    answer = await treq.request(method, hub.url + path, headers=headers, persistent=False)
    assert answer.code == status
    assert answer.headers.getRawHeaders("content-type") == ["application/json"]
    assert json.loads(await answer.content()) == body


@pytest_twisted.ensureDeferred
async def test_the_upgrade_carries_extra_headers_and_never_an_origin(hub, link):
    (connection,) = hub.server.connections
    socket: ServerSocket = connection._socket
    assert socket.http_headers["x-extra"] == "yes"
    assert "origin" not in socket.http_headers
    assert connection.address == "127.0.0.1"


@pytest_twisted.ensureDeferred
async def test_deflate_is_agreed_without_context_takeover_both_ways(hub, link):
    (connection,) = hub.server.connections
    offered = connection._socket.http_headers["sec-websocket-extensions"]
    assert "client_no_context_takeover" in offered
    assert "server_no_context_takeover" in offered
    for agreed in (
        connection._socket._perMessageCompress,
        link._joined._socket._perMessageCompress,
    ):
        assert agreed.server_no_context_takeover
        assert agreed.client_no_context_takeover


@pytest_twisted.ensureDeferred
async def test_long_messages_are_compressed_and_short_ones_are_not(hub, link):
    (connection,) = hub.server.connections
    before = connection._socket.trafficStats.incomingOctetsWebSocketLevel
    await link.call("echo", "x" * 100_000)
    assert connection._socket.trafficStats.incomingOctetsWebSocketLevel - before < 2000
    before = connection._socket.trafficStats.incomingOctetsWebSocketLevel
    await link.call("echo", "x" * 900)
    assert connection._socket.trafficStats.incomingOctetsWebSocketLevel - before > 900


@pytest_twisted.ensureDeferred
async def test_large_unicode_messages_go_there_and_back(hub, link):
    text = "é😀\n\u2028" * 200_000
    assert await link.call("echo", text) == text


@pytest_twisted.ensureDeferred
async def test_close_to_the_limit_passes_and_above_it_the_receiver_closes_with_1009__N10(hub, link):
    room = MAX_PAYLOAD - len('42/cli,7["x",""]') - 10
    assert await link.call("echo", "x" * room) == "x" * room
    socket = link._joined._socket
    socket.maxMessagePayloadSize = 0
    socket.sendMessage(b"4" * (MAX_PAYLOAD + 1), doNotCompress=True)
    await status_of(link, "connecting")
    assert socket.remoteCloseCode == 1009
    await status_of(link, "connected")


@pytest_twisted.ensureDeferred
async def test_a_deflate_bomb_is_not_unfolded_and_closes_with_1009__N10_U11(hub, link):
    squeeze = zlib.compressobj(wbits=-15)
    bomb = (
        b"".join(squeeze.compress(b"4" * 2**20) for _ in range(200))
        + squeeze.flush(zlib.Z_SYNC_FLUSH)[:-4]
    )
    assert len(bomb) < 300_000
    socket = link._joined._socket
    socket.sendFrame(opcode=1, payload=bomb, rsv=4)
    await status_of(link, "connecting")
    assert socket.remoteCloseCode == 1009


@pytest_twisted.ensureDeferred
async def test_text_that_is_no_utf8_closes_with_1007__N11(hub, link):
    socket = link._joined._socket
    socket.sendFrame(opcode=1, payload=b"42/cli,\xff\xfe")
    await status_of(link, "connecting")
    assert socket.remoteCloseCode == 1007


@pytest_twisted.ensureDeferred
async def test_broken_deflate_data_closes_with_1007__N11(hub, link):
    socket = link._joined._socket
    socket.sendFrame(opcode=1, payload=b"\xff\x00garbage", rsv=4)
    await status_of(link, "connecting")
    assert socket.remoteCloseCode == 1007


@pytest_twisted.ensureDeferred
async def test_a_fragmented_message_is_one_message(hub, link):
    socket = link._joined._socket
    for part in (b'42/cli,["par', b"ts", b'",1]'):
        socket.sendFrame(
            opcode=1 if part.startswith(b"42") else 0, payload=part, fin=part.endswith(b"]")
        )
    await link.call("echo")
    assert ("parts", [1], False) in hub.desk.events


@pytest_twisted.ensureDeferred
async def test_an_unmasked_frame_from_a_client_closes(hub, link):
    socket = link._joined._socket
    socket.sendData(b"\x81\x01" + b"2")
    await status_of(link, "connecting")
    assert socket.remoteCloseCode == 1002


@pytest.mark.parametrize("offset", range(5))
def test_masking_is_its_own_inverse_at_every_offset(offset):
    mask, text = b"\x01\x80\xff\x07", bytes(range(50))
    once = apply_mask(text, mask, offset)
    assert once == bytes(byte ^ mask[(offset + place) % 4] for place, byte in enumerate(text))
    assert apply_mask(once, mask, offset) == text


@pytest_twisted.ensureDeferred
async def test_a_client_that_stops_reading_is_dropped_and_others_are_served(hub, link, reactor):
    hub.server.max_backlog = 2_000_000
    (lazy,) = hub.desk.peers
    link._joined._socket.transport.pauseProducing()
    other = HubLink(reactor, HubAccess(hub.url, "good"), {}, RpcTable("m2"))
    other.startService()
    await status_of(other, "connected")
    for _ in range(200):
        lazy.emit("noise", token_urlsafe(60_000))
        if lazy.gone:
            break
        await deferLater(reactor, 0)
    assert lazy.gone
    assert "slow reader" in hub.desk.gone[0][1]
    assert await other.call("echo", 1) == 1
    await other.leave()
    link._joined._socket.transport.resumeProducing()


@pytest_twisted.ensureDeferred
async def test_a_hub_that_stops_reading_makes_the_link_wait_and_lose_nothing__N13(
    hub, link, reactor
):
    (connection,) = hub.server.connections
    connection._socket.transport.pauseProducing()
    sent = 0
    while link._joined.writable:
        link.emit("noise", sent, token_urlsafe(60_000))
        sent += 1
        await deferLater(reactor, 0)
    for _ in range(5):
        link.emit("noise", sent, "after")
        sent += 1
    assert len(link._delivery.outbox) == 5
    connection._socket.transport.resumeProducing()
    await link.call("echo")
    assert [args[0] for name, args, _ in hub.desk.events if name == "noise"] == list(range(sent))


# --- TLS


def certificate(host: str, days: int, trusted: bool, folder):
    """A certificate for `host` that expires in `days` days; whether its authority is trusted."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    def name(text):
        return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, text)])

    now = datetime.datetime.now(datetime.timezone.utc)  # noqa: UP017
    root_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())

    def build(subject, issuer, public, signer, last, is_ca):
        alternative = (
            x509.IPAddress(__import__("ipaddress").ip_address(host))
            if host[0].isdigit()
            else x509.DNSName(host)
        )
        return (
            x509.CertificateBuilder()
            .subject_name(name(subject))
            .issuer_name(name(issuer))
            .public_key(public)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=10))
            .not_valid_after(now + datetime.timedelta(days=last))
            .add_extension(x509.BasicConstraints(is_ca, None), critical=True)
            .add_extension(x509.SubjectAlternativeName([alternative]), critical=False)
            .sign(signer, hashes.SHA256())
        )

    root = build("root", "root", root_key.public_key(), root_key, 100, True)
    leaf = build("leaf", "root", key.public_key(), root_key, days, False)
    if not trusted:
        leaf = build("leaf", "leaf", key.public_key(), key, days, False)
    (folder / "roots.pem").write_bytes(root.public_bytes(serialization.Encoding.PEM))
    files = folder / "key.pem", folder / "leaf.pem"
    pem, plain = serialization.Encoding.PEM, serialization.NoEncryption()
    files[0].write_bytes(key.private_bytes(pem, serialization.PrivateFormat.PKCS8, plain))
    files[1].write_bytes(leaf.public_bytes(pem))
    return ssl.DefaultOpenSSLContextFactory(*map(str, files), ssl.SSL.TLS_METHOD)


@pytest.fixture
def secured(tmp_path, monkeypatch, reactor):
    """Makes a hub with such a certificate; its authority is the only one trusted in this test."""
    hubs = []

    def make(host, days, trusted):
        tls = certificate(host, days, trusted, tmp_path)
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "roots.pem"))
        hubs.append(RealHub(reactor, tls))
        return hubs[-1]

    yield make
    for hub in hubs:
        pytest_twisted.blockon(Deferred.fromCoroutine(hub.stop()))


@pytest.mark.parametrize(
    ("host", "days", "trusted", "words"),
    [
        ("127.0.0.1", -1, True, "certificate has expired"),
        ("elsewhere.example", 10, True, "not valid for"),
        ("127.0.0.1", 10, False, "self-signed"),
    ],
)
@pytest_twisted.ensureDeferred
async def test_a_bad_certificate_is_a_clear_status_and_no_token_is_sent__N16(
    secured, reactor, host, days, trusted, words
):
    hub = secured(host, days, trusted)
    link = HubLink(reactor, HubAccess(hub.url, "good"), {}, RpcTable("m1"))
    link.startService()
    try:
        while link.status.failures == 0:
            await deferLater(reactor, 0.01)
        assert words in link.status.reason
        assert link.status.phase == "connecting"
        assert hub.desk.peers == []
    finally:
        await link.stopService()
    with pytest.raises(HubUnreachable, match=words):
        await HubClient(reactor, HubAccess(hub.url, "good")).session("s1")


@pytest_twisted.ensureDeferred
async def test_a_good_certificate_is_a_connection_like_another__N16(secured, reactor):
    hub = secured("127.0.0.1", 10, True)
    link = HubLink(reactor, HubAccess(hub.url, "good"), {}, RpcTable("m1"))
    link.startService()
    await status_of(link, "connected")
    assert await link.call("echo", "x" * 200_000) == "x" * 200_000
    await link.leave()


@pytest_twisted.ensureDeferred
async def test_https_to_a_port_without_tls_is_said(hub, reactor):
    hub.port.factory.head_timeout = 0.2  # for which the other side waits for a line
    link = HubLink(reactor, HubAccess(hub.url.replace("http", "https"), "good"), {}, RpcTable("m1"))
    link.startService()
    while link.status.failures == 0:
        await deferLater(reactor, 0.01)
    assert "TLS" in link.status.reason
    await link.stopService()
