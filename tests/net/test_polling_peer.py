"""python-socketio as a client of ours: by long-polling alone, and changing to a WebSocket."""

from __future__ import annotations

import threading
from typing import Any

import pytest
import pytest_twisted
import socketio
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread

from tests.support.real_hub import RealHub

TIMEOUT = 120.0  # seconds; the machine may be busy


@pytest_twisted.async_yield_fixture
async def hub(reactor):
    made = RealHub(reactor)
    yield made
    await made.stop()


@pytest.mark.parametrize(
    ("transports", "expected"),
    [(["polling"], "polling"), (["polling", "websocket"], "websocket")],
)
@pytest_twisted.ensureDeferred
async def test_a_client_of_another_make_works_by_polling_and_after_its_change(
    reactor, hub, transports, expected
):
    asked = threading.Event()

    def visit() -> list[Any]:
        client = socketio.Client(reconnection=False)
        client.on("question", lambda number: asked.set() or number * 2, namespace="/cli")
        client.connect(hub.url, auth={"token": "good"}, namespaces=["/cli"], transports=transports)
        try:
            answers = [
                client.call("echo", "é😀" * size, namespace="/cli", timeout=TIMEOUT)
                for size in (1, 1000, 100_000)
            ]
            assert asked.wait(TIMEOUT)
            return [*answers, client.transport()]
        finally:
            client.disconnect()

    visiting = deferToThread(visit)
    while not hub.desk.peers:
        await deferLater(reactor, 0.02)
    (peer,) = hub.desk.peers
    assert await peer.call("question", 21, timeout=TIMEOUT) == [42]
    *answers, transport = await visiting
    assert answers == ["é😀" * size for size in (1, 1000, 100_000)]
    assert transport == expected
    while hub.server.connections:
        await deferLater(reactor, 0.02)
    assert [gone for gone, _ in hub.desk.gone] == [peer]
