"""Live text of sessions that are at home at another hub: one stream for each session that is read
here, whatever the number of pages.
"""

from __future__ import annotations

from typing import Any

import msgspec
from attrs import define, field
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IPushProducer
from twisted.internet.protocol import Protocol as StreamProtocol
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from hapi.deferreds import run_in_background
from hapi.hub.cluster.directory import Directory
from hapi.hub.cluster.peer_calls import PeerClient, PeerFailed
from hapi.hub.cluster.peer_hubs import quoted
from hapi.hub.domain.events import Subscription
from hapi.hub.domain.registry import HubRegistry
from hapi.hub.store.shared import Member
from hapi.protocol.json import Malformed
from hapi.protocol.live import SESSION_LIVE
from hapi.request_id import run_for_nobody

MAX_FRAME_SIZE = 8 << 20  # bytes; a session has 512 Ki characters of live text
NOBODY = Subscription("")  # a listener that gets no events


# --- the home ---------------------------------------------------------------------------------


@implementer(IPushProducer)
@define(eq=False, repr=False)
class LiveStream:
    """Sends the live text of one session to another hub, as a Listener of the events here."""

    _request: Any
    _registry: HubRegistry
    _session_id: str
    subscription: Subscription = NOBODY
    visible: bool = False
    _is_paused: bool = False
    _has_missed: bool = False
    _is_over: bool = False

    def start(self) -> None:
        request, name = self._request, f"hub:{id(self)}"
        request.is_stream = True
        request.setHeader("Content-Type", "text/event-stream")
        request.notifyFinish().addBoth(lambda _: self._end(name))
        request.registerProducer(self, True)
        self._registry.events.listen(name, self)
        self._registry.live.read(name, self._registry.sessions.get(self._session_id))

    def send(self, frame: bytes) -> None:
        """A heartbeat: it shows that the connection is alive."""
        if not (self._is_paused or self._is_over):
            self._request.write(frame)

    def send_live(self, frame: bytes) -> None:
        if self._is_paused:
            self._has_missed = True
        elif not self._is_over:
            self._request.write(frame)

    def read_live(self, session: Any) -> None:
        """It reads the one session for which it was made."""

    def pauseProducing(self) -> None:
        self._is_paused = True

    def resumeProducing(self) -> None:
        self._is_paused = False
        if self._has_missed:
            self._has_missed = False
            self.send_live(self._registry.live.whole_frame(self._session_id))

    def stopProducing(self) -> None:
        """The connection has ended; `notifyFinish` tells."""

    def _end(self, name: str) -> None:
        self._is_over = True
        self._registry.events.leave(name)


def serve_live(registry: HubRegistry, request: Any, session_id: str) -> None:
    """Answer `GET /hub/live/SESSION`, until the other hub hangs up."""
    LiveStream(request, registry, session_id).start()


# --- the hub of the pages ---------------------------------------------------------------------


class _Frames(StreamProtocol):
    """Reads the frames of a stream. `finished` fires when it ends."""

    def __init__(self, reader: _Reading) -> None:
        self._reader, self._rest = reader, b""
        self.finished: Deferred[None] = Deferred(lambda _: self.stop())

    def dataReceived(self, data: bytes) -> None:
        *frames, self._rest = (self._rest + data).split(b"\n\n")
        for frame in frames:
            self._reader.received(frame.removeprefix(b"data: "))
        if len(self._rest) > MAX_FRAME_SIZE:
            self.stop()

    def stop(self) -> None:
        self._rest = b""
        if self.transport is not None:
            self.transport.stopProducing()  # type: ignore[attr-defined]

    def connectionLost(self, reason: Failure | None = None) -> None:
        if not self.finished.called:
            self.finished.callback(None)


@define(eq=False, repr=False)
class _Reading:
    """The stream of one session. For LiveTexts it is the session's process."""

    member: Member
    session_id: str
    _registry: HubRegistry
    running: Deferred[Any] | None = None
    _is_over: bool = False

    def received(self, frame: bytes) -> None:
        try:
            event = msgspec.json.decode(frame)
            if not isinstance(event, dict) or event.get("type") != SESSION_LIVE:
                return
            if event.get("epoch"):
                self._registry.live.receive(self.session_id, event, self)
            else:  # the session has not said anything
                self._registry.live.forget(self.session_id)
        except (msgspec.DecodeError, Malformed):
            self.emit(SESSION_LIVE)

    def emit(self, event: str, *args: Any) -> None:
        """The whole text is asked for: a stream begins with that."""
        self.stop()

    def hang_up(self, reason: str) -> None:
        self.stop()

    def stop(self) -> None:
        if self.running is not None and not self._is_over:
            self._is_over = True
            self.running.cancel()


@define(eq=False, repr=False)
class LiveReader:
    """Keeps a stream for each session that pages of this hub read and that is at home elsewhere."""

    _registry: HubRegistry
    _directory: Directory
    _client: PeerClient
    _readings: dict[str, _Reading] = field(factory=dict)
    _is_stopped: bool = False
    log = Logger()

    def check(self) -> None:
        """Begin and end streams: pages come and go, and sessions move."""
        for session_id in {*self._registry.events.read_sessions, *self._readings}:
            self.check_session(session_id)

    def check_session(self, session_id: str) -> None:
        reading = self._readings.get(session_id)
        member = None
        if not self._is_stopped and self._registry.events.has_live_readers(session_id):
            member = self._directory.elsewhere(session_id)
        if reading is not None and (member is None or member.id != reading.member.id):
            reading.stop()
        elif reading is None and member is not None:
            reading = self._readings[session_id] = _Reading(member, session_id, self._registry)
            run_for_nobody(lambda: self._begin(reading))

    def stop(self) -> None:
        self._is_stopped = True
        self.check()

    def _begin(self, reading: _Reading) -> None:
        reading.running = run_in_background(
            self._read(reading), self.log, "The live text of another hub was not read"
        )

    async def _read(self, reading: _Reading) -> None:
        path = f"/hub/live/{quoted(reading.session_id)}"
        try:
            headers = await self._client.headers(reading.member, "GET", path, b"")
            response = await self._client.send(reading.member, "GET", path, headers)
            frames = _Frames(reading)
            response.deliverBody(frames)
            await self._client.watched(reading.member, frames.finished)
        except (PeerFailed, CancelledError):
            pass  # as long as pages read the session it is tried again
        finally:
            del self._readings[reading.session_id]
            if self._directory.elsewhere(reading.session_id) is not None:
                self._registry.live.forget(reading.session_id)
