"""`GET /api/events`: server-sent events for web pages. A page that reads too slowly is disconnected
and can resume. While much happens, the frames of a stream are written together.
"""

from __future__ import annotations

import uuid
from typing import Any

from attrs import define, field
from twisted.internet.interfaces import IDelayedCall, IPushProducer, IReactorTime
from twisted.logger import Logger
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET
from zope.interface import implementer

from hapi.deferreds import run_in_background
from hapi.hub.access.auth import Principal
from hapi.hub.access.places import EVENT_STREAMS, Places
from hapi.hub.access.tokens import DeviceToken
from hapi.hub.domain.entities import HubSession
from hapi.hub.domain.errors import AccessDenied, NoPlace, NotFound, Unavailable
from hapi.hub.domain.events import Subscription, unnumbered
from hapi.hub.domain.registry import HubRegistry
from hapi.hub.http.authentication import Authenticator
from hapi.hub.http.openapi.operation import Flag, Parameter, operation
from hapi.hub.http.openapi.routes import Route
from hapi.hub.http.responses import error_response, render_response
from hapi.hub.http.scopes import ROUTE_SCOPES, require, scopes_of
from hapi.hub.store.interface import StoreBusy, StoreFailed, StoreFull
from hapi.net.server.unread import UnreadLimit
from hapi.protocol import events

TOKEN = Parameter("token", "The web token, in place of the header Authorization.")
SESSION_ID = Parameter("sessionId", "Events of this session only.")
MACHINE_ID = Parameter("machineId", "Events of this machine only.")
ALL = Flag("all", "Events of all sessions and machines.")
VISIBILITY = Parameter("visibility", "`visible`: the page is on the screen.")
LIVE = Parameter("live", "The session whose live text is sent as well.")
LAST_EVENT_ID = Parameter("lastEventId", "In place of the header Last-Event-ID.")
MAX_UNREAD = 1 << 20  # bytes that one page may leave unread
MAX_ALL_UNREAD = 64 << 20  # bytes that all pages together may leave unread
MAX_EXPIRY_WAIT = 60.0  # seconds; the wall clock may jump meanwhile
# Seconds between two writes to one stream. At 200 messages a second each frame is written alone.
MIN_INTERVAL, MAX_INTERVAL = 0.002, 0.05
MANY_FRAMES, FEW_FRAMES = 8, 2  # in one write: above, the interval grows; below, it shrinks
MAX_WAITING = 128 * 1024  # bytes that wait for the interval to end


def next_interval(interval: float, frames: int) -> float:
    """The interval after one in which the busiest stream collected that many frames."""
    if frames >= MANY_FRAMES:
        return min(MAX_INTERVAL, interval * 2)
    return max(MIN_INTERVAL, interval / 2) if frames <= FEW_FRAMES else interval


@define(eq=False, repr=False)
class WritePace:
    """Decides for all streams when they write: the first frame at once, those that follow within
    the interval together at its end.
    """

    _clock: IReactorTime
    interval: float = MIN_INTERVAL
    _waiting: dict[EventStream, None] = field(factory=dict)
    _call: IDelayedCall | None = None
    unread: UnreadLimit = field(factory=lambda: UnreadLimit(MAX_ALL_UNREAD))

    def seconds(self) -> float:
        return float(self._clock.seconds())

    def wait(self, stream: EventStream) -> None:
        """Have `stream` write what it has when the interval ends."""
        self._waiting[stream] = None
        if self._call is None:
            self._call = self._clock.callLater(self.interval, self._write)

    def forget(self, stream: EventStream) -> None:
        self._waiting.pop(stream, None)
        if not self._waiting and self._call is not None:
            self._call.cancel()
            self._call = None

    def _write(self) -> None:
        self._call = None
        waiting, self._waiting = self._waiting, {}
        frames = max(stream.waiting_frames for stream in waiting)
        for stream in waiting:
            stream.write_waiting()
        self.interval = next_interval(self.interval, frames)


@implementer(IPushProducer)
@define(eq=False, repr=False)
class EventStream:
    """The event stream of one page. It ends when the web token of the page expires."""

    request: Any
    principal: Principal
    subscription: Subscription
    visible: bool
    _registry: HubRegistry
    _pace: WritePace | None = None  # None: each frame is written at once
    live_session: HubSession | None = None  # whose live text the page shows
    name: str = field(factory=lambda: str(uuid.uuid4()))
    _paused: bool = False
    _unread: list[bytes] = field(factory=list)  # not written yet
    _size: int = 0  # bytes of these
    _written_at: float = float("-inf")  # clock seconds
    _ended: bool = False
    _missed_live: bool = False  # live text was left out
    _expiry_call: IDelayedCall | None = None

    log = Logger()

    def start(self, last: str | None) -> None:
        request = self.request
        request.setHeader("Content-Type", "text/event-stream")
        request.setHeader("Cache-Control", "no-cache, no-transform")
        request.setHeader("X-Accel-Buffering", "no")  # nginx would hold the events back
        request.notifyFinish().addBoth(lambda _: self._end())
        request.registerProducer(self, True)
        bus = self._registry.events
        if bus.journal is None or last is None:
            self._start(bus.missed_frames(last, self.subscription))
        else:
            run_in_background(
                self._resume(last), self.log, "A page could not resume its event stream"
            )

    async def _resume(self, last: str) -> None:
        """Start when the journal has been read as far as the page has missed it."""
        try:
            missed = await self._registry.events.read_missed_frames(last, self.subscription)
        except (StoreBusy, StoreFull, StoreFailed):
            missed = None
        if not self._ended:
            self._start(missed)

    def _start(self, missed: list[bytes] | None) -> None:
        status = {
            "status": "connected",
            "subscriptionId": self.name,
            "resume": "gap" if missed is None else "ok",
            "live": True,  # ours: this hub has live text
        }
        self.send(unnumbered({"type": events.CONNECTION_CHANGED, "data": status}))
        for frame in missed or ():
            self.send(frame)
        self._registry.events.listen(self.name, self)
        if self.live_session is not None:
            self.read_live(self.live_session)
        self._watch_expiry()

    def _watch_expiry(self) -> None:
        remaining = self.principal.expires_at - self._registry.now() / 1000
        if remaining <= 0:
            self.finish()
        elif not self._ended:
            self._expiry_call = self._registry.clock.callLater(
                min(remaining, MAX_EXPIRY_WAIT), self._watch_expiry
            )

    def send(self, frame: bytes) -> None:
        if self._ended:
            return
        self._unread.append(frame)
        self._size += len(frame)
        if self._paused:
            if self._size > MAX_UNREAD:
                self.log.info(
                    "A page reads its events too slowly and is disconnected; it can resume later"
                )
                self.cut()
            elif self._pace is not None:
                self._pace.unread.hold(self, self._size)
        elif self._pace is None or self._size > MAX_WAITING or self._is_due(self._pace):
            self.write_waiting()
        elif len(self._unread) == 1:
            self._pace.wait(self)

    def read_live(self, session: HubSession | None) -> None:
        """Send the live text of this session from now on, and of no other."""
        self.live_session, self._missed_live = session, False
        self._registry.live.read(self.name, session)

    def send_live(self, frame: bytes) -> None:
        if self._paused:
            self._missed_live = True
        else:
            self.send(frame)

    def _send_missed_live(self) -> None:
        session, self._missed_live = self.live_session, False
        if session is not None:
            self.send(self._registry.live.whole_frame(session.id))

    def _is_due(self, pace: WritePace) -> bool:
        return pace.seconds() - self._written_at >= pace.interval

    @property
    def waiting_frames(self) -> int:
        return len(self._unread)

    def write_waiting(self) -> None:
        """Write all frames that wait, unless the page reads too slowly."""
        if self._paused or self._ended or not self._unread:
            return
        frames, self._unread, self._size = self._unread, [], 0
        if self._pace is not None:
            self._written_at = self._pace.seconds()
            self._pace.unread.hold(self, 0)
        self.request.write(frames[0] if len(frames) == 1 else b"".join(frames))

    def pauseProducing(self) -> None:
        self._paused = True

    def resumeProducing(self) -> None:
        self._paused = False
        self.write_waiting()
        if self._missed_live and not self._paused:
            self._send_missed_live()

    def stopProducing(self) -> None:
        self._end()

    def cut(self) -> None:
        """Close the connection without waiting until the page has read everything."""
        self._end()
        channel = self.request.channel
        if channel is not None:
            channel.forceAbortClient()

    def finish(self) -> None:
        """End the stream in an orderly way; the page connects again with a valid token."""
        if not self._ended:
            self.write_waiting()
            paused = self._paused
            self._end()
            if paused:
                self.cut()
                return
            channel = self.request.channel
            self.request.unregisterProducer()
            self.request.finish()
            if channel is not None:
                channel.loseConnection()

    def _end(self) -> None:
        self._ended = True
        if self._expiry_call is not None and self._expiry_call.active():
            self._expiry_call.cancel()
        self._unread.clear()
        if self._pace is not None:
            self._pace.forget(self)
            self._pace.unread.hold(self, 0)
        self._registry.events.leave(self.name)


class EventsResource(Resource):
    """Serves each GET with an EventStream."""

    isLeaf = True

    def __init__(self, registry: HubRegistry, authenticator: Authenticator) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._registry, self._authenticator = registry, authenticator
        self._streams: set[EventStream] = set()
        self._places = Places("event streams", EVENT_STREAMS)
        self._pace = WritePace(registry.clock)
        registry.events.on_gap.append(self.end_all)
        self.stopped = False
        self.name_prefix = ""  # of the streams of this hub, if there are others

    @operation(
        None,
        query=(TOKEN, SESSION_ID, MACHINE_ID, ALL, VISIBILITY, LIVE, LAST_EVENT_ID),
        errors=(AccessDenied, NotFound, NoPlace, Unavailable),
        media_type="text/event-stream",
    )
    def render_GET(self, request: Any) -> Any:
        """Send the events of sessions and machines as they happen."""
        try:
            stream = self._stream(request)
        except Exception as error:
            return render_response(request, error_response(error, "GET /api/events"))
        self._streams.add(stream)
        request.notifyFinish().addBoth(lambda _: self._forget(stream))
        stream.start(request.getHeader("last-event-id") or _parameter(request, LAST_EVENT_ID))
        return NOT_DONE_YET

    def render_HEAD(self, request: Any) -> Any:
        request.setResponseCode(405)
        return b""

    def _stream(self, request: Any) -> EventStream:
        principal = self._authenticator.authenticate_api(request, _parameter(request, TOKEN))
        require(principal, ROUTE_SCOPES["GET /api/events"])
        if self.stopped:
            raise Unavailable("The hub is stopping")
        namespace = principal.namespace
        session_id, machine_id = _parameter(request, SESSION_ID), _parameter(request, MACHINE_ID)
        if session_id is not None:
            self._registry.session(session_id, namespace)
        if machine_id is not None:
            self._registry.machine(machine_id, namespace)
        everything = ALL.is_set(_parameter(request, ALL))
        subscription = Subscription(namespace, everything, session_id, machine_id)
        visible = _parameter(request, VISIBILITY) == "visible"
        live_id = _parameter(request, LIVE)
        live = None if live_id is None else self._registry.sessions.get(live_id)
        if live is not None and live.namespace != namespace:
            live = None
        self._places.take(principal)
        stream = EventStream(
            request, principal, subscription, visible, self._registry, self._pace, live
        )
        stream.name = self.name_prefix + stream.name
        return stream

    def _forget(self, stream: EventStream) -> None:
        self._streams.discard(stream)
        self._places.leave(stream.principal)

    def end_device(self, device: DeviceToken) -> None:
        """Cut the streams of a token that has ended."""
        for stream in list(self._streams):
            if stream.principal.device is device:
                stream.cut()

    def stop(self) -> None:
        self.stopped = True
        self.end_all()

    def end_all(self) -> None:
        """End all streams, in an orderly way: pages connect again."""
        for stream in list(self._streams):
            stream.finish()


EVENTS_ROUTE = Route(
    "/api/events",
    "get",
    None,
    EventsResource.render_GET,
    "api",
    tuple(scopes_of("GET", "/api/events", None)),
)


def _parameter(request: Any, parameter: Parameter) -> str | None:
    values = (request.args or {}).get(parameter.name.encode())
    return values[-1].decode("utf-8", "replace") or None if values else None
