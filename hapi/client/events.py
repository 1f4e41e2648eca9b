"""Server-sent events (HTML standard, section 9.2) as an asynchronous iterator that connects again
by itself.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

import msgspec
from attrs import define, field
from twisted.internet.protocol import Protocol
from twisted.internet.task import deferLater
from twisted.python.failure import Failure

from hapi.client.entities import Event
from hapi.client.errors import HubError, TokenRefused, error_for
from hapi.client.transport import Transport, body_of
from hapi.net.common.errors import HubUnreachable
from hapi.one_shot import OneShotObserver

MAX_WAITING = 1000  # events that wait for the reader before the hub is asked to wait
MAX_LINE = 4 << 20  # bytes of one line; the hub's longest is a message, of about 1 MiB
MAX_LINES = 1000  # of one event; a hub's have one
RECONNECT_DELAY = 1.0  # seconds


class EventParser:
    """Reads events from the bytes of a stream."""

    def __init__(self) -> None:
        self._rest = b""
        self._data: list[str] = []
        self.last_id: str | None = None

    def feed(self, data: bytes) -> list[Event]:
        """The events that are complete with `data`. Raises ValueError for an endless line."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        if len(self._rest) > MAX_LINE:
            raise ValueError("the event stream has an endless line")
        events = (self._line(line.rstrip(b"\r").decode("utf-8", "replace")) for line in lines)
        return [event for event in events if event is not None]

    def _line(self, line: str) -> Event | None:
        if line:
            name, _, value = line.partition(":")
            value = value.removeprefix(" ")
            if name == "data":
                if len(self._data) >= MAX_LINES:
                    raise ValueError("the event stream has an endless event")
                self._data.append(value)
            elif name == "id" and "\0" not in value:
                self.last_id = value
            return None
        text, self._data = "\n".join(self._data), []
        try:
            body = msgspec.json.decode(text) if text else None
        except msgspec.DecodeError:
            return None
        if not isinstance(body, dict) or not isinstance(body.get("type"), str):
            return None
        return Event(body["type"], body, self.last_id)


class _Reader(Protocol):
    def __init__(self, stream: EventStream, parser: EventParser) -> None:
        self._stream, self._parser = stream, parser

    def dataReceived(self, data: bytes) -> None:
        try:
            self._stream._received(self._parser.feed(data))
        except ValueError:
            self.transport.stopProducing()  # type: ignore[union-attr]

    def connectionLost(self, reason: Failure) -> None:  # type: ignore[override]
        self._stream._lost()


@define(eq=False, repr=False)
class EventStream:
    """`async for event in stream`. Lost connections are made again, and the events missed meanwhile
    are got if the hub still has them; otherwise an event `connection-changed` has the value `gap`
    as `data.resume`. Raises HubError, and HubUnreachable if the first connection fails. End it with
    `close()`.
    """

    _transport: Transport
    _query: Mapping[str, str]
    _parser: EventParser = field(factory=EventParser)
    _events: deque[Event] = field(factory=deque)
    _more: OneShotObserver[None] | None = None  # fires when there is something new
    _reader: _Reader | None = None
    _was_connected: bool = False
    _is_paused: bool = False
    _is_closed: bool = False

    def __aiter__(self) -> EventStream:
        return self

    async def __anext__(self) -> Event:
        while not self._events:
            if self._is_closed:
                raise StopAsyncIteration
            if self._reader is None:
                await self._connect()
            else:
                self._resume()
                self._more = OneShotObserver()
                await self._more.when_fired()
        return self._events.popleft()

    def close(self) -> None:
        """End the stream; the iteration ends as well."""
        self._is_closed = True
        self._events.clear()
        if self._reader is not None and self._reader.transport is not None:
            self._reader.transport.stopProducing()  # type: ignore[attr-defined]
        self._notify()

    async def _connect(self) -> None:
        try:
            await self._open(is_retry=False)
        except HubUnreachable:
            if not self._was_connected:
                raise
            await deferLater(self._transport.reactor, RECONNECT_DELAY)

    async def _open(self, is_retry: bool) -> None:
        token = await self._transport.web_token()
        last = self._parser.last_id
        headers = {"Accept": "text/event-stream"} | ({"Last-Event-ID": last} if last else {})
        path = f"/api/events?{urlencode(self._query)}"
        response = await self._transport.open("GET", path, None, token, headers)
        if response.code == 200:
            if self._is_closed:
                return
            self._was_connected = True
            self._parser = parser = EventParser()
            parser.last_id = last
            self._reader = _Reader(self, parser)
            response.deliverBody(self._reader)
            return
        error = await _refusal(response)
        if isinstance(error, TokenRefused) and not is_retry:
            self._transport.forget_token(token)
            await self._open(is_retry=True)
            return
        if self._was_connected and error.status >= 429:
            raise HubUnreachable(str(error))
        raise error

    def _received(self, events: list[Event]) -> None:
        if self._is_closed:
            return
        self._events.extend(events)
        if len(self._events) > MAX_WAITING and not self._is_paused:
            self._is_paused = True
            self._reader.transport.pauseProducing()  # type: ignore[union-attr]
        self._notify()

    def _resume(self) -> None:
        if self._is_paused:
            self._is_paused = False
            self._reader.transport.resumeProducing()  # type: ignore[union-attr]

    def _lost(self) -> None:
        self._reader, self._is_paused = None, False
        self._notify()

    def _notify(self) -> None:
        more, self._more = self._more, None
        if more is not None:
            more.fire(None)


async def _refusal(response: Any) -> HubError:
    received = await body_of(response)
    try:
        body = msgspec.json.decode(received)
    except (msgspec.DecodeError, UnicodeError):
        body = received.decode("utf-8", "replace")
    retry_after = response.headers.getRawHeaders("retry-after") or [None]
    return error_for(response.code, body, retry_after[0])
