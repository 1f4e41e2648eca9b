"""Nothing of a connection outlives it: no channel, request, protocol, timer or descriptor, of
whatever kind the connection was.
"""

from __future__ import annotations

import gc
import json
import os
import socket
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.interfaces import ITransport
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread

from hapi.hub import HubOptions, hub_service
from hapi.hub.http.sse import EventStream
from hapi.net.common.websocket import ServerSocket
from hapi.net.server.peers import ClientConnection, Peer
from hapi.net.server.site import LimitedChannel, LimitedRequest
from hapi.protocol.channel import ServerChannel
from tests.support.hub_stage import TOKEN
from tests.support.raw_http import (
    connect,
    join,
    open_socket,
    read_to_end,
    read_until,
    request,
    upgrade,
)

TIMES = 100
KINDS = (LimitedChannel, ServerSocket, ClientConnection, ServerChannel, Peer, EventStream)
MANY_HEADERS = "".join(f"X-Header-{number}: {'v' * 100}\r\n" for number in range(100))


@pytest_twisted.async_yield_fixture
async def service(reactor: Any, home: Any) -> Any:
    found = hub_service(reactor, HubOptions(home, port=0, token=TOKEN))
    found.startService()
    await found.when_listening
    yield found
    await found.stopService()


@pytest.fixture
def uncollected() -> Iterator[None]:
    """No garbage is collected: what is counted has been released by its owners."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def web_token(port: int) -> str:
    wire = connect(port)
    body = json.dumps({"accessToken": TOKEN}).encode()
    wire.sendall(request("POST", "/api/auth", body, Connection="close"))
    with wire:
        return str(json.loads(read_to_end(wire).partition(b"\r\n\r\n")[2])["token"])


# --- kinds of connections: each opens one, and leaves it


def answered(port: int, sent: bytes) -> bytes:
    with connect(port) as wire:
        wire.sendall(sent)
        return read_until(wire, b"\r\n\r\n")


def plain_upgrade(port: int) -> None:
    assert b" 101 " in answered(port, upgrade())


def upgrade_with_many_headers(port: int) -> None:
    assert b" 101 " in answered(port, upgrade(MANY_HEADERS))


def upgrade_with_a_body(port: int) -> None:
    assert b" 400 " in answered(port, upgrade("Content-Length: 200000\r\n") + bytes(100))


def upgrade_with_a_chunked_body(port: int) -> None:
    assert b" 400 " in answered(port, upgrade("Transfer-Encoding: chunked\r\n") + b"1\r\nx\r\n")


def refused_upgrade(port: int) -> None:
    assert b" 403 " in answered(port, upgrade("Origin: https://evil.example\r\n"))


def upgrade_of_a_wrong_version(port: int) -> None:
    assert b" 400 " in answered(port, upgrade(version=7))


def upgrade_without_a_key(port: int) -> None:
    sent = upgrade().replace(b"Sec-WebSocket-Key", b"X-Other-Key")
    assert b" 400 " in answered(port, sent)


def half_a_head(port: int) -> None:
    with connect(port) as wire:
        wire.sendall(upgrade()[:100])


def vanishing_before_connect(port: int) -> None:
    open_socket(port).close()


def vanishing_after_connect(port: int) -> None:
    with open_socket(port) as wire:
        assert b'"sid"' in join(wire, {"token": TOKEN})


def refused_connect(port: int) -> None:
    with open_socket(port) as wire:
        assert b'"sid"' not in join(wire, {})


def reset_after_connect(port: int) -> None:
    wire = open_socket(port)
    assert b'"sid"' in join(wire, {"token": TOKEN})
    wire.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, bytes([1, 0, 0, 0, 0, 0, 0, 0]))
    wire.close()


def kept_connection(port: int) -> None:
    with connect(port) as wire:
        for _ in range(3):
            wire.sendall(request("GET", "/health"))
            assert b'"ok"' in read_until(wire, b"}}")


def aborted_post(port: int) -> None:
    with connect(port) as wire:
        head = request("POST", "/api/auth", Content_Length="20000")
        wire.sendall(head + bytes(10))


def aborted_chunked_post(port: int) -> None:
    with connect(port) as wire:
        head = request("POST", "/api/auth", Transfer_Encoding="chunked")
        wire.sendall(head + b"5\r\nabcde\r\n")


def malformed_head(port: int) -> None:
    assert b" 400 " in answered(port, b"GET\r\n\r\n")


CONNECTIONS = [
    plain_upgrade,
    upgrade_with_many_headers,
    upgrade_with_a_body,
    upgrade_with_a_chunked_body,
    refused_upgrade,
    upgrade_of_a_wrong_version,
    upgrade_without_a_key,
    half_a_head,
    vanishing_before_connect,
    vanishing_after_connect,
    refused_connect,
    reset_after_connect,
    kept_connection,
    aborted_post,
    aborted_chunked_post,
    malformed_head,
]


# --- counting


def held(reactor: Any) -> dict[str, int]:
    """How much of connections there is in this process."""
    found = Counter(type(each).__name__ for each in gc.get_objects() if type(each) in KINDS)
    found["transport"] = sum(
        type(each).__name__ == "Server" and ITransport.providedBy(each) for each in gc.get_objects()
    )
    found["timer"] = len(reactor.getDelayedCalls())
    found["descriptor"] = len(os.listdir("/proc/self/fd"))
    return {name: number for name, number in found.items() if number}


def requests_held() -> int:
    """Klein's closures refer to themselves and to the request, so that it takes a collection."""
    gc.collect()
    return sum(type(each) is LimitedRequest for each in gc.get_objects())


async def left_over(reactor: Any, before: dict[str, int]) -> dict[str, int]:
    """What more is held than before, after the ends of all connections have arrived."""
    for _ in range(200):
        after = held(reactor)
        more = {name: size for name, size in after.items() if size > before.get(name, 0)}
        if not more:
            break
        await deferLater(reactor, 0.02)
    return more


@pytest.mark.parametrize("visit", CONNECTIONS, ids=lambda visit: visit.__name__)
@pytest_twisted.ensureDeferred
async def test_nothing_of_a_connection_outlives_it(
    reactor: Any, service: Any, uncollected: None, visit: Callable[[int], None]
) -> None:
    await deferToThread(visit, service.port)  # starts the thread, loads what is loaded late
    await deferLater(reactor, 0.1)
    requests, before = requests_held(), held(reactor)

    def visit_often() -> None:
        for _ in range(TIMES):
            visit(service.port)

    await deferToThread(visit_often)
    assert await left_over(reactor, before) == {}
    assert requests_held() <= requests


@pytest_twisted.ensureDeferred
async def test_nothing_of_an_event_stream_outlives_it(
    reactor: Any, service: Any, uncollected: None
) -> None:
    token = await deferToThread(web_token, service.port)

    def listen() -> None:
        with connect(service.port) as wire:
            wire.sendall(request("GET", f"/api/events?all=true&token={token}"))
            assert b'"connected"' in read_until(wire, b"\n\n")

    await deferToThread(listen)
    await deferLater(reactor, 0.1)
    requests, before = requests_held(), held(reactor)
    await deferToThread(lambda: [listen() for _ in range(TIMES)])
    assert await left_over(reactor, before) == {}
    assert requests_held() <= requests
