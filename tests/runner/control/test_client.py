"""The client of the control API meets runners that do not answer as they should."""

from __future__ import annotations

import pytest
import pytest_twisted
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import deferLater

from hapi.net.server.unix_port import listen_unix
from hapi.runner.control.client import ControlClient, ControlFailed


class HangsUp(Protocol):
    def connectionMade(self):
        self.transport.abortConnection()


class Silent(Protocol):
    pass


class Cut(Protocol):
    """Ends in the middle of an answer."""

    def dataReceived(self, data):
        self.transport.write(b'HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{"ok":')
        self.transport.loseConnection()


class Endless(Protocol):
    def dataReceived(self, data):
        self.transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n" + b" " * 4096)


class Elsewhere(Protocol):
    def dataReceived(self, data):
        self.transport.write(
            b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:9/\r\nContent-Length: 2\r\n\r\n{}"
        )


@pytest.mark.parametrize(
    ("manners", "told"),
    [
        (HangsUp, "connection to the runner was closed before its answer"),
        (Silent, "did not answer /stop within"),
        (Cut, "connection to the runner was closed before its answer"),
        (Endless, "answer to /stop is over 1000 bytes"),
        (Elsewhere, "HTTP 302"),
    ],
)
@pytest_twisted.ensureDeferred
async def test_a_runner_that_hangs_up_or_answers_nonsense_is_told_in_words(
    reactor, home, manners, told, monkeypatch
):
    monkeypatch.setattr("hapi.runner.control.client.MAX_ANSWER", 1000)
    port = listen_unix(reactor, home.runner_socket, Factory.forProtocol(manners))
    try:
        with pytest.raises(ControlFailed, match=told):
            await ControlClient(reactor, home, {"HAPI_RUNNER_HTTP_TIMEOUT": "200"}).stop()
    finally:
        await port.stopListening()


@pytest_twisted.ensureDeferred
async def test_a_request_that_is_cancelled_at_any_step_says_that_it_was_cancelled(reactor, home):
    port = listen_unix(reactor, home.runner_socket, Factory.forProtocol(Silent))
    try:
        for turns in range(12):
            asked = Deferred.fromCoroutine(ControlClient(reactor, home, {}).status())
            for _ in range(turns):
                await deferLater(reactor, 0)
            asked.cancel()
            with pytest.raises(CancelledError):
                await asked
    finally:
        await port.stopListening()
