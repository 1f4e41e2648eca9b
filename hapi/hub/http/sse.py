"""`GET /api/events`: what happens, as it happens, to pages that listen. Slow ones are let go with a place to resume from."""

from __future__ import annotations

import uuid
from collections import deque
from typing import TYPE_CHECKING, Any

from attrs import define, field
from twisted.internet.interfaces import IPushProducer
from twisted.logger import Logger
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET
from zope.interface import implementer

from hapi.hub.domain.events import Subscription, unnumbered
from hapi.hub.domain.lifecycle import Refusal
from hapi.hub.domain.registry import Denied, HubRegistry, NotFound
from hapi.hub.http.routing import Authenticator, Dispatcher, render_response

if TYPE_CHECKING:
    from hapi.hub.domain.auth import Principal

MAX_UNREAD = 1 << 20  # bytes a listener may leave unread
MAX_STREAMS = 512  # listeners at once


@implementer(IPushProducer)
@define(eq=False)
class EventStream:
    """One page that listens."""

    request: Any
    subscription: Subscription
    visible: bool
    _registry: HubRegistry
    name: str = field(factory=lambda: str(uuid.uuid4()))
    _paused: bool = False
    _unread: deque[bytes] = field(factory=deque)
    _size: int = 0
    _over: bool = False

    log = Logger()

    def start(self, last: str | None) -> None:
        request = self.request
        request.setHeader("Content-Type", "text/event-stream")
        request.setHeader("Cache-Control", "no-cache, no-transform")
        request.setHeader("X-Accel-Buffering", "no")  # nginx would hold the events back
        request.notifyFinish().addBoth(lambda _: self._left())
        request.registerProducer(self, True)
        missed = self._registry.events.missed_frames(last, self.subscription)
        status = {
            "status": "connected",
            "subscriptionId": self.name,
            "resume": "gap" if missed is None else "ok",
        }
        self.send(unnumbered({"type": "connection-changed", "data": status}))
        for frame in missed or ():
            self.send(frame)
        self._registry.events.listen(self.name, self)

    def send(self, frame: bytes) -> None:
        if self._over:
            return
        if not self._paused:
            self.request.write(frame)
            return
        self._unread.append(frame)
        self._size += len(frame)
        if self._size > MAX_UNREAD:
            self.log.info(
                "A page that reads too slowly is let go; it comes back with its last event"
            )
            self.cut()

    def pauseProducing(self) -> None:
        self._paused = True

    def resumeProducing(self) -> None:
        self._paused = False
        while self._unread and not self._paused and not self._over:
            frame = self._unread.popleft()
            self._size -= len(frame)
            self.request.write(frame)

    def stopProducing(self) -> None:
        self._left()

    def cut(self) -> None:
        """End the connection without waiting for what is unread."""
        self._left()
        channel = self.request.channel
        if channel is not None:
            channel.forceAbortClient()

    def finish(self) -> None:
        """End the stream in good order: the hub leaves."""
        if not self._over:
            self._left()
            if self._paused:
                self.cut()
                return
            channel = self.request.channel
            self.request.unregisterProducer()
            self.request.finish()
            if channel is not None:
                channel.loseConnection()

    def _left(self) -> None:
        self._over = True
        self._unread.clear()
        self._registry.events.leave(self.name)


class EventsResource(Resource):
    """Each GET becomes a Stream."""

    isLeaf = True

    def __init__(
        self, registry: HubRegistry, authenticator: Authenticator, dispatcher: Dispatcher
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._registry, self._authenticator, self._dispatcher = registry, authenticator, dispatcher
        self._streams: set[EventStream] = set()
        self.stopped = False

    def render_GET(self, request: Any) -> Any:
        try:
            stream = self._stream(request)
        except Exception as error:
            return render_response(request, self._dispatcher.refused(error, "GET /api/events"))
        self._streams.add(stream)
        request.notifyFinish().addBoth(lambda _: self._streams.discard(stream))
        stream.start(request.getHeader("last-event-id") or _parameter(request, "lastEventId"))
        return NOT_DONE_YET

    def render_HEAD(self, request: Any) -> Any:
        request.setResponseCode(405)
        return b""

    def _stream(self, request: Any) -> EventStream:
        caller: Principal = self._authenticator.api(request, _parameter(request, "token"))
        if self.stopped or len(self._streams) >= MAX_STREAMS:
            raise Refusal(503, "The hub is leaving" if self.stopped else "Too many listeners")
        session, machine = _parameter(request, "sessionId"), _parameter(request, "machineId")
        for what, name, find in (
            ("Session", session, self._registry.session),
            ("Machine", machine, self._registry.machine),
        ):
            if name is None:
                continue
            try:
                find(name, caller.namespace)
            except NotFound:
                raise Refusal(404, f"{what} not found") from None
            except Denied:
                raise Refusal(403, f"{what} access denied") from None
        subscription = Subscription(
            caller.namespace, _parameter(request, "all") in ("true", "1"), session, machine
        )
        return EventStream(
            request, subscription, _parameter(request, "visibility") == "visible", self._registry
        )

    def stop(self) -> None:
        self.stopped = True
        for stream in list(self._streams):
            stream.finish()


def _parameter(request: Any, name: str) -> str | None:
    values = (request.args or {}).get(name.encode())
    return values[-1].decode("utf-8", "replace") or None if values else None
