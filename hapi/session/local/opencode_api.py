"""The HTTP API that OpenCode's own program serves on the loopback interface, and what it prints."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Callable, Mapping
from contextlib import suppress
from io import BytesIO
from typing import Any

from attrs import define, field
from twisted.internet.defer import Deferred, TimeoutError
from twisted.internet.error import (
    ConnectionDone,
    ConnectionRefusedError,
    ProcessExitedAlready,
)
from twisted.internet.protocol import ProcessProtocol, Protocol
from twisted.python.failure import Failure
from twisted.web.client import Agent, FileBodyProducer, HTTPConnectionPool, ResponseDone
from twisted.web.http_headers import Headers
from twisted.web.iweb import IResponse

from hapi.protocol.json import Malformed, from_json

USER = b"opencode"  # as OPENCODE_SERVER_USERNAME has it where nothing else is set
MAX_EVENT = 16 << 20  # bytes of one event; a longer one is left out
MAX_ANSWER = 64 << 20  # bytes of an answer
TIMEOUT = 20.0  # seconds for an answer
# Seconds for the begin of the stream; twice as many after each time that they were not enough. The
# server never answers if it was asked while it was starting.
OPEN_TIMEOUT, MAX_OPEN_TIMEOUT = 2.0, 8.0


class ApiError(Exception):
    """OpenCode's server did not answer, or refused."""


@define(eq=False, repr=False)
class EventLines:
    """Server-sent events in pieces as they come: `feed` returns the objects that are complete."""

    _rest: bytes = b""
    _skips: bool = False  # the rest of a line that was too long

    def feed(self, data: bytes) -> list[Mapping[str, Any]]:
        *lines, self._rest = (self._rest + data).split(b"\n")
        if self._skips and lines:
            del lines[0]
            self._skips = False
        if len(self._rest) > MAX_EVENT:
            self._rest, self._skips = b"", True
        found: list[Mapping[str, Any]] = []
        for line in lines:
            if line.startswith(b"data:"):
                try:
                    event = from_json(line[5:].decode(errors="replace"))
                except Malformed:
                    continue
                if isinstance(event, dict):
                    found.append(event)
        return found


class _Stream(Protocol):
    """Passes on events; `ended` fires when there are no more."""

    def __init__(self, received: Callable[[Mapping[str, Any]], object]) -> None:
        self._received, self._lines = received, EventLines()
        self.ended: Deferred[None] = Deferred()

    def dataReceived(self, data: bytes) -> None:
        for event in self._lines.feed(data):
            self._received(event)

    def connectionLost(self, reason: Failure = ConnectionDone) -> None:  # type: ignore[assignment]
        self.ended.callback(None)

    def close(self) -> None:
        if self.transport is not None:
            self.transport.loseConnection()


class _Body(Protocol):
    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._size = 0
        self.ended: Deferred[bytes] = Deferred()

    def dataReceived(self, data: bytes) -> None:
        self._size += len(data)
        if self._size > MAX_ANSWER:
            self._parts.clear()
            if self.transport is not None:
                self.transport.loseConnection()
        else:
            self._parts.append(data)

    def connectionLost(self, reason: Failure = ConnectionDone) -> None:  # type: ignore[assignment]
        if self._size > MAX_ANSWER or not reason.check(ResponseDone):
            self.ended.errback(ApiError("the answer broke off or is too long"))
        else:
            self.ended.callback(b"".join(self._parts))


class ProgramOutput(ProcessProtocol):
    """What a program prints, cut off after MAX_ANSWER bytes: `ended` fires with it."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._size = 0
        self.ended: Deferred[bytes] = Deferred()

    def outReceived(self, data: bytes) -> None:
        self._size += len(data)
        if self._size > MAX_ANSWER:
            self.kill()
        else:
            self._parts.append(data)

    def processEnded(self, reason: Failure) -> None:
        if not self.ended.called:
            self.ended.callback(b"".join(self._parts))

    def kill(self) -> None:
        if self.transport is not None:
            with suppress(ProcessExitedAlready):
                self.transport.signalProcess("KILL")


@define(eq=False, repr=False)
class OpenCodeApi:
    """The server at `port` of 127.0.0.1. Methods raise ApiError."""

    _reactor: Any
    _port: int
    _password: str = field(repr=False)
    _stream: _Stream | None = None
    _open_timeout: float = OPEN_TIMEOUT
    _agent: Agent = field(init=False)
    _pool: HTTPConnectionPool = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._pool = HTTPConnectionPool(self._reactor, persistent=False)
        self._agent = Agent(self._reactor, connectTimeout=TIMEOUT, pool=self._pool)

    async def follow(
        self, received: Callable[[Mapping[str, Any]], object], opened: Callable[[], object]
    ) -> None:
        """Pass each event to `received` until the stream ends; `opened` when it has begun."""
        timeout = self._open_timeout
        self._open_timeout = min(2 * timeout, MAX_OPEN_TIMEOUT)
        response = await self._request(b"GET", "/event", timeout=timeout)
        self._stream = stream = _Stream(received)
        opened()
        response.deliverBody(stream)
        try:
            await stream.ended
        finally:
            self._stream = None

    def close(self) -> None:
        """End `follow`."""
        if self._stream is not None:
            self._stream.close()

    async def get(self, path: str) -> Any:
        body = _Body()
        (await self._request(b"GET", path)).deliverBody(body)
        try:
            content = await body.ended.addTimeout(TIMEOUT, self._reactor)
            return from_json(content.decode(errors="replace"))
        except Malformed as problem:
            raise ApiError(f"GET {path}: no JSON") from problem
        except TimeoutError as problem:
            raise ApiError(f"GET {path}: no answer") from problem

    async def post(self, path: str, body: Mapping[str, Any]) -> None:
        (await self._request(b"POST", path, json.dumps(body).encode())).deliverBody(_Body())

    async def _request(
        self, method: bytes, path: str, body: bytes | None = None, timeout: float = TIMEOUT
    ) -> IResponse:
        name = b"Basic " + b64encode(USER + b":" + self._password.encode())
        headers = Headers({b"authorization": [name], b"content-type": [b"application/json"]})
        url = f"http://127.0.0.1:{self._port}{path}".encode()
        producer = None if body is None else FileBodyProducer(BytesIO(body))
        try:
            asked = self._agent.request(method, url, headers, producer)
            response: IResponse = await asked.addTimeout(timeout, self._reactor)
        except ConnectionRefusedError as problem:
            self._open_timeout = OPEN_TIMEOUT  # it has not begun to listen
            raise ApiError(f"{method.decode()} {path}: {problem}") from problem
        except Exception as problem:
            raise ApiError(f"{method.decode()} {path}: {problem}") from problem
        if response.code >= 400:
            raise ApiError(f"{method.decode()} {path}: status {response.code}")
        return response
