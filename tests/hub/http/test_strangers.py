"""What a client without a token can make the hub keep or do: next to nothing."""

from __future__ import annotations

import json
import socket
import zlib
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.threads import deferToThread

from hapi.hub import HubOptions, hub_service
from hapi.net.common.websocket import MAX_FRAGMENTS, TOO_BIG, UNAUTHENTICATED_SIZE
from hapi.net.server.site import SMALL_BODY_SIZE
from tests.support.hub_stage import TOKEN
from tests.support.raw_http import (
    connect,
    frame,
    join,
    open_socket,
    read_to_end,
    read_until,
    request,
)

MEGABYTE = b"x" * (1 << 20)
DEFLATE = "Sec-WebSocket-Extensions: permessage-deflate\r\n"


@pytest_twisted.async_yield_fixture
async def service(reactor: Any, home: Any) -> Any:
    found = hub_service(reactor, HubOptions(home, port=0, token=TOKEN))
    found.startService()
    await found.when_listening
    yield found
    await found.stopService()


# --- sockets


def packed(payload: bytes) -> bytes:
    deflate = zlib.compressobj(wbits=-15)
    return (deflate.compress(payload) + deflate.flush(zlib.Z_SYNC_FLUSH))[:-4]


FLOODS = {
    "one large frame": frame(b"4" * (UNAUTHENTICATED_SIZE + 1)),
    "the head of a giant frame": bytes([0x81, 0xFF]) + (1 << 40).to_bytes(8, "big") + bytes(4),
    "a message that has no end": frame(b"40", is_final=False)
    + frame(b"x" * 30000, 0, is_final=False) * 3,
    "many small messages": frame(b"3" + b" " * 50) * 2000,
    "many control frames": frame(b"p" * 120, 9) * 1000,
    "a million fragments of one byte": frame(b"4", is_final=False)
    + frame(b"x", 0, is_final=False) * 20000,
    "a compressed bomb": frame(packed(b"40/cli," + b" " * (40 << 20)), is_packed=True),
    "many small bombs": frame(packed(b"40/no," + b" " * 30000 + b"{}"), is_packed=True) * 5,
}


@pytest.mark.parametrize("flood", FLOODS.values(), ids=FLOODS)
@pytest_twisted.ensureDeferred
async def test_a_socket_that_floods_before_its_connect_is_closed(
    reactor: Any, service: Any, flood: bytes
) -> None:
    def visit() -> bytes:
        with open_socket(service.port, DEFLATE) as wire:
            try:
                wire.sendall(flood)
                return read_to_end(wire)
            except (ConnectionResetError, BrokenPipeError):
                return b"reset"

    assert await deferToThread(visit)
    assert not service.hub.sockets.connections


@pytest_twisted.ensureDeferred
async def test_a_socket_may_send_large_messages_after_its_connect(
    reactor: Any, service: Any
) -> None:
    def visit() -> bytes:
        with open_socket(service.port, DEFLATE) as wire:
            assert b'"sid"' in join(wire, {"token": TOKEN})
            wire.sendall(frame(b'42/cli,["unknown","' + MEGABYTE * 3 + b'"]'))
            wire.sendall(frame(packed(b'42/cli,["x","' + MEGABYTE + b'"]'), is_packed=True))
            wire.sendall(frame(b'42/cli,7["ping"]'))
            return read_until(wire, b"43/cli,7[]")

    assert b"43/cli,7[]" in await deferToThread(visit)


@pytest.mark.parametrize("further", [0, 1])
@pytest_twisted.ensureDeferred
async def test_a_message_after_the_connect_may_have_4096_frames_and_no_more(
    reactor: Any, service: Any, further: int
) -> None:
    head, tail = b'42/cli,7["ping"', b"]"
    spaces = frame(b" ", 0, is_final=False) * (MAX_FRAGMENTS - 2 + further)
    message = frame(head, is_final=False) + spaces + frame(tail, 0)

    def visit() -> bytes:
        with open_socket(service.port) as wire:
            assert b'"sid"' in join(wire, {"token": TOKEN})
            wire.sendall(message)
            return read_until(wire, end)

    answered = b"43/cli,7[]"
    refused = TOO_BIG.to_bytes(2, "big") + b"a message of more than 4096 frames"
    end = refused if further else answered
    answer = await deferToThread(visit)
    assert answer.endswith(end)
    assert not further or answered not in answer


@pytest_twisted.ensureDeferred
async def test_sockets_without_a_token_end_those_that_have_waited_longest_and_no_other(
    reactor: Any, service: Any
) -> None:
    waiting = service._serving.site.unauthenticated
    waiting.max_connections = 20

    def visit() -> list[bytes]:
        known = open_socket(service.port)
        assert b'"sid"' in join(known, {"token": TOKEN})
        strangers = [open_socket(service.port) for _ in range(60)]
        owner = open_socket(service.port)
        assert b'"sid"' in join(owner, {"token": TOKEN})
        known.sendall(frame(b'42/cli,7["ping"]'))
        answers = [read_until(known, b"43/cli,7[]")]
        with pytest.raises(ConnectionResetError):
            read_to_end(strangers[0])
        for wire in (known, owner, *strangers):
            wire.close()
        return answers

    (answer,) = await deferToThread(visit)
    assert answer.endswith(b"43/cli,7[]")
    assert len(waiting) <= 20


# --- bodies

ROUTES = [
    ("POST", "/api/sessions/s/upload", 401),
    ("POST", "/api/sessions/s/messages", 401),
    ("POST", "/api/machines/m/spawn", 401),
    ("PUT", "/api/hub-settings", 401),
    ("POST", "/api/unknown", 401),
    ("POST", "/cli/machines", 401),
    ("POST", "/cli/sessions", 401),
    ("POST", "/api/auth", 413),
    ("GET", "/health", 413),
    ("OPTIONS", "/api/sessions", 413),
    ("POST", "/", 413),
    ("POST", "/socket.io/?EIO=4&transport=polling", 400),
]


@pytest.mark.parametrize(("method", "path", "status"), ROUTES)
@pytest.mark.parametrize("kind", ["announced", "chunked", "expecting"])
@pytest_twisted.ensureDeferred
async def test_a_large_body_without_a_token_is_refused_before_it_is_kept(
    reactor: Any, service: Any, kind: str, method: str, path: str, status: int
) -> None:
    def visit() -> bytes:
        with connect(service.port) as wire:
            if kind == "chunked":
                wire.sendall(request(method, path, Transfer_Encoding="chunked"))
                chunk = b"8000\r\n" + b"x" * 0x8000 + b"\r\n"
                wire.sendall(chunk * 3)
            else:
                expected = {"Expect": "100-continue"} if kind == "expecting" else {}
                wire.sendall(request(method, path, Content_Length=str(70 << 20), **expected))
                if kind == "announced":
                    for _ in range(8):
                        wire.sendall(MEGABYTE)
            return read_to_end(wire)

    found = await deferToThread(visit)
    assert int(found.split()[1]) == status, found
    assert b"100 Continue" not in found
    assert found.count(b"HTTP/1.1 ") == 1
    assert service._serving.site.bodies_size == 0


@pytest_twisted.ensureDeferred
async def test_a_request_behind_a_refused_one_is_not_read(reactor: Any, service: Any) -> None:
    def visit() -> bytes:
        with connect(service.port) as wire:
            sent = request("POST", "/cli/machines", b"{}") + request("GET", "/health")
            wire.sendall(sent)
            return read_to_end(wire)

    found = await deferToThread(visit)
    assert found.startswith(b"HTTP/1.1 401 ")
    assert found.count(b"HTTP/1.1 ") == 1


@pytest_twisted.ensureDeferred
async def test_a_log_in_with_a_body_that_is_not_large_passes(reactor: Any, service: Any) -> None:
    def visit() -> bytes:
        body = json.dumps({"accessToken": TOKEN, "more": "x" * (SMALL_BODY_SIZE - 200)}).encode()
        with connect(service.port) as wire:
            wire.sendall(request("POST", "/api/auth", body, Connection="close"))
            return read_to_end(wire)

    assert (await deferToThread(visit)).startswith(b"HTTP/1.1 200 ")


@pytest_twisted.ensureDeferred
async def test_all_bodies_together_have_a_limit_and_give_their_room_back(
    reactor: Any, service: Any
) -> None:
    service._serving.site.max_bodies_size = 3 << 20

    def visit() -> list[int]:
        bearer = {"Authorization": f"Bearer {TOKEN}"}

        def announce() -> socket.socket:
            wire = connect(service.port)
            head = request("POST", "/cli/sessions", Content_Length=str(2 << 20), **bearer)
            wire.sendall(head + b"x" * 1000)
            return wire

        first = announce()
        read_health(service.port)
        second = announce()
        status = [int(read_until(second, b"\r\n").split()[1])]
        first.close()
        second.close()
        read_health(service.port)
        body = json.dumps({"tag": "t", "metadata": {"path": "/", "host": "h"}}).encode()
        with connect(service.port) as wire:
            wire.sendall(request("POST", "/cli/sessions", body, Connection="close", **bearer))
            return [*status, int(read_to_end(wire).split()[1])]

    assert await deferToThread(visit) == [503, 200]
    assert service._serving.site.bodies_size == 0


@pytest.mark.parametrize(
    "sent",
    [
        b"GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\nHost: evil.example\r\n\r\n",
        b"GET http://evil.example/health HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
        b"GET http://127.0.0.1/api/sessions HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
        b"GET @127.0.0.1/health HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
    ],
)
@pytest_twisted.ensureDeferred
async def test_a_head_that_can_be_read_in_two_ways_is_refused(
    reactor: Any, service: Any, sent: bytes
) -> None:
    def visit() -> bytes:
        with connect(service.port) as wire:
            wire.sendall(sent)
            return read_until(wire, b"\r\n")

    assert b" 400 " in await deferToThread(visit)


def read_health(port: int) -> None:
    """Wait until the hub has read what was sent before."""
    with connect(port) as wire:
        wire.sendall(request("GET", "/health", Connection="close"))
        assert b"200 OK" in read_to_end(wire)
