"""The control port's connections: callers looked up at accept, nothing that requests are smuggled with, each request checked by the guard."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
from twisted.internet.address import UNIXAddress
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.web.resource import IResource, Resource
from twisted.web.server import NOT_DONE_YET

from hapi.net.server.site import LimitedChannel, LimitedSite
from hapi.protocol.control import error_body
from hapi.runner.control.guard import READ_ONLY, PeerInfo, check_request
from hapi.runner.control.peer_credentials import (
    PeerLookup,
    PeerUnknown,
    admits,
    by_unix_credentials,
)

BODY_LIMIT = 1 << 20  # bytes
ROOM = {
    "unix": 64,
    "port": 64,
    "strangers": 8,
}  # connections at once; nobody takes the room of another kind of caller

PHRASES = {
    401: "Unauthorized",
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
    415: "Unsupported Media Type",
    421: "Misdirected Request",
}


class ControlChannel(LimitedChannel):
    """One connection; `peer` says who is at the other end."""

    site: ControlSite
    peer = PeerInfo(None, is_verifiable=True)

    def connectionMade(self) -> None:
        self.peer = self.site.look(self.transport)
        if self.site.make_room(self):
            super().connectionMade()
        else:
            self.abort()

    def abort(self) -> None:
        if self.transport is not None:
            self.transport.abortConnection()  # type: ignore[attr-defined]

    def lineReceived(self, line: bytes) -> None:
        """Folded headers and bare line feeds are what requests are smuggled with: neither is accepted."""
        if line[:1] in (b" ", b"\t") or b"\n" in line or b"\r" in line:
            self.refuse(400, "malformed header")
            return
        super().lineReceived(line)  # type: ignore[no-untyped-call]


class ControlSite(LimitedSite):
    """Asks the kernel who is calling, once for each connection."""

    channel_type = ControlChannel
    _logger = Logger()

    def __init__(self, clock: IReactorTime, guard: Guarded, lookup: PeerLookup) -> None:
        super().__init__(guard, clock, body_limit=BODY_LIMIT)
        self._guard, self._lookup, self._told = guard, lookup, False
        self._open: dict[str, dict[ControlChannel, None]] = {
            kind: {} for kind in ROOM
        }  # the oldest first
        self.parting = False  # each answer is the last one of its connection

    @property
    def busy(self) -> bool:
        """Whether anybody is being answered."""
        return any(channel.requests for channels in self._open.values() for channel in channels)

    def make_room(self, channel: ControlChannel) -> bool:
        """Take a newcomer in, if need be for one of his kind who has not asked yet. False: all of them are being answered."""
        kind = (
            "strangers"
            if not self._guard.admits(channel.peer)
            else "unix"
            if channel.peer.is_unix
            else "port"
        )
        there = self._open[kind]
        if len(there) >= ROOM[kind]:
            waiting = next((other for other in there if not other.requests), None)
            waiting = waiting or next((other for other in there if not other.is_answered), None)
            if waiting is None:
                return False
            self.forget(waiting)
            waiting.abort()
        there[channel] = None
        return True

    def forget(self, channel: LimitedChannel) -> None:
        super().forget(channel)
        for there in self._open.values():
            there.pop(channel, None)  # type: ignore[call-overload]

    def look(self, transport: Any) -> PeerInfo:
        here = transport.getHost()
        is_unix = isinstance(here, UNIXAddress)
        try:
            if is_unix:
                return PeerInfo(
                    by_unix_credentials(transport.socket), is_verifiable=True, is_unix=True
                )
            there = transport.getPeer()
            return PeerInfo(
                self._lookup((there.host, there.port), (here.host, here.port)), is_verifiable=True
            )
        except (PeerUnknown, OSError, ValueError) as error:
            if not self._told:
                self._told = True
                self._logger.warn(
                    "Callers of the control port cannot be looked up: {reason}", reason=str(error)
                )
            return PeerInfo(None, is_verifiable=False, is_unix=is_unix)


class Guarded(Resource):
    """Lets a request through to `inner` when `check_request` has nothing against it."""

    isLeaf = True

    def __init__(
        self,
        own_uid: int,
        port: Callable[[], int | None],
        token: str,
        inner: Callable[[], IResource],
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._own_uid, self._port, self._token, self._inner = own_uid, port, token, inner

    def admits(self, peer: PeerInfo) -> bool:
        """Whether requests from there are looked at."""
        return not peer.is_verifiable or admits(peer.caller, self._own_uid)

    def render(self, request: Any) -> Any:
        def headers(name: bytes) -> list[bytes]:
            return list(request.requestHeaders.getRawHeaders(name) or [])

        peer = request.channel.peer
        path = request.uri.split(b"?")[0]
        refused = check_request(
            peer, self._own_uid, self._port(), self._token, request.method, path, headers
        )
        if request.channel.site.parting:
            request.setHeader(b"connection", b"close")
            request.channel.persistent = False
        if refused is None:
            return self._inner().render(request)
        request.setResponseCode(refused.status)
        request.setHeader(b"content-type", b"application/json")
        request.setHeader(b"connection", b"close")
        request.channel.persistent = False
        if refused.status == 405:
            request.setHeader(b"allow", b"GET" if path in READ_ONLY else b"POST")
        body = msgspec.json.encode(
            error_body(refused.status, PHRASES[refused.status], refused.reason)
        )
        request.setHeader(b"content-length", b"%d" % len(body))
        request.write(body)
        request.finish()
        return NOT_DONE_YET
