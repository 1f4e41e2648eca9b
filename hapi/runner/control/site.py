"""Connections to the control API: callers are looked up at accept, and every request is checked by
the guard."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.address import UNIXAddress
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.web import http
from twisted.web.resource import IResource, Resource
from twisted.web.server import NOT_DONE_YET

from hapi.net.server.http import json_reply
from hapi.net.server.site import LimitedChannel, LimitedSite
from hapi.protocol.control import error_body
from hapi.runner.control.guard import READ_ONLY, PeerInfo, check_request
from hapi.runner.control.peer_credentials import (
    PeerLookup,
    PeerUnknown,
    admits,
    by_unix_credentials,
)

MAX_BODY_SIZE = 1 << 20  # bytes
# Connections at once, by kind of caller, so that no kind takes the places of another.
MAX_CONNECTIONS = {"unix": 64, "port": 64, "strangers": 8}


class ControlChannel(LimitedChannel):
    """One connection; `peer` says who is at the other end."""

    site: ControlSite
    peer = PeerInfo(None, is_verifiable=True)

    def connectionMade(self) -> None:
        self.peer = self.site.identify(self.transport)
        if self.site.admit(self):
            super().connectionMade()
        else:
            self.abort()

    def lineReceived(self, line: bytes) -> None:
        """Refuse folded headers and bare line feeds, which are used for request smuggling."""
        if line[:1] in (b" ", b"\t") or b"\n" in line or b"\r" in line:
            self.refuse(400, "malformed header")
            return
        super().lineReceived(line)


class ControlSite(LimitedSite):
    """Asks the kernel for the caller of each connection, once."""

    channel_type = ControlChannel
    _logger = Logger()

    def __init__(self, clock: IReactorTime, guard: Guarded, lookup: PeerLookup) -> None:
        super().__init__(guard, clock, max_body_size=MAX_BODY_SIZE)
        self._guard, self._lookup, self._is_warned = guard, lookup, False
        self._open: dict[str, dict[ControlChannel, None]] = {
            kind: {} for kind in MAX_CONNECTIONS
        }  # the oldest first
        self.closes_after_reply = False  # each reply is the last one of its connection

    @property
    def busy(self) -> bool:
        """Whether a request is being answered."""
        return any(channel.requests for channels in self._open.values() for channel in channels)

    def admit(self, channel: ControlChannel) -> bool:
        """Accept a connection, if need be in place of one of its kind without a request.

        False: every connection of this kind is being answered.
        """
        kind = (
            "strangers"
            if not self._guard.admits(channel.peer)
            else "unix"
            if channel.peer.is_unix
            else "port"
        )
        open_channels = self._open[kind]
        if len(open_channels) >= MAX_CONNECTIONS[kind]:
            idle = next((other for other in open_channels if not other.requests), None)
            idle = idle or next((other for other in open_channels if not other.is_answering), None)
            if idle is None:
                return False
            self.forget(idle)
            idle.abort()
        open_channels[channel] = None
        return True

    def forget(self, channel: LimitedChannel) -> None:
        super().forget(channel)
        for open_channels in self._open.values():
            open_channels.pop(channel, None)  # type: ignore[call-overload]

    def identify(self, transport: Any) -> PeerInfo:
        host = transport.getHost()
        is_unix = isinstance(host, UNIXAddress)
        try:
            if is_unix:
                return PeerInfo(
                    by_unix_credentials(transport.socket), is_verifiable=True, is_unix=True
                )
            peer = transport.getPeer()
            return PeerInfo(
                self._lookup((peer.host, peer.port), (host.host, host.port)), is_verifiable=True
            )
        except (PeerUnknown, OSError, ValueError) as error:
            if not self._is_warned:
                self._is_warned = True
                self._logger.warn(
                    "Callers of the control port cannot be looked up: {reason}", reason=str(error)
                )
            return PeerInfo(None, is_verifiable=False, is_unix=is_unix)


class Guarded(Resource):
    """Passes a request on to `inner` unless `check_request` refuses it."""

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
        """Whether requests of `peer` are served."""
        return not peer.is_verifiable or admits(peer.caller, self._own_uid)

    def render(self, request: Any) -> Any:
        def headers(name: bytes) -> list[bytes]:
            return list(request.requestHeaders.getRawHeaders(name) or [])

        peer = request.channel.peer
        path = request.uri.split(b"?")[0]
        refused = check_request(
            peer, self._own_uid, self._port(), self._token, request.method, path, headers
        )
        if request.channel.site.closes_after_reply:
            request.setHeader(b"connection", b"close")
            request.channel.persistent = False
        if refused is None:
            return self._inner().render(request)
        if refused.status == http.NOT_ALLOWED:
            request.setHeader(b"allow", b"GET" if path in READ_ONLY else b"POST")
        body = error_body(refused.status, refused.reason)
        request.write(json_reply(request, refused.status, body, close=True))
        request.finish()
        return NOT_DONE_YET
