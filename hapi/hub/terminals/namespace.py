"""The Socket.IO namespace `/terminal`: pages that show shells."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from attrs import define, field
from twisted.internet.interfaces import IDelayedCall
from zope.interface import implementer

from hapi.hub.access.audit_log import AuditLog
from hapi.hub.access.auth import Principal, TokenIssuer, actor_of
from hapi.hub.access.places import Capacity, Places
from hapi.hub.access.tokens import DeviceToken
from hapi.hub.domain.errors import NoPlace
from hapi.hub.domain.registry import HubRegistry
from hapi.hub.terminals.terminals import Terminals
from hapi.net.common.errors import ConnectRefused
from hapi.net.server.peers import INamespace, Peer
from hapi.protocol.token import Scope
from hapi.protocol.work import terminals as wire
from hapi.protocol.work.terminals import OfSession, read

PAGES = Capacity(in_all=512, per_namespace=64, per_token=32, owner_reserve=128)
# Seconds without a poll after which a page gives its place to another one of its login. A page that
# is closed may say nothing, and its end is noticed 45 s later, when it has answered no ping.
ABSENCE_LIMIT = 1.0
EXPIRY_LIMIT = 24 * 3600.0  # seconds; web tokens live four hours


@implementer(INamespace)
@define(eq=False, repr=False)
class TerminalNamespace:
    """Validates each event and passes it on. Malformed events are ignored, as npm's hub does."""

    _registry: HubRegistry
    _token_issuer: TokenIssuer
    terminals: Terminals
    _audit: AuditLog
    _places: Places = field(factory=lambda: Places("terminal connections", PAGES))
    _expiries: dict[Peer, IDelayedCall] = field(factory=dict)

    # --- INamespace
    def connect(self, peer: Peer, auth: Any) -> None:
        token = auth.get("token") if isinstance(auth, dict) else None
        if not isinstance(token, str) or not token:
            raise ConnectRefused("Missing token")
        now = self._registry.now() / 1000
        principal = self._token_issuer.read_web_token(token, now)
        if principal is None:
            raise ConnectRefused("Invalid token")
        if Scope.TERMINAL not in principal.scopes:
            self._audit.record(
                "scope-missing",
                403,
                actor_of(principal),
                peer.address or "",
                facts={"route": "/terminal (socket)", "scope": Scope.TERMINAL},
            )
            raise ConnectRefused("This access token may not open terminals (scope terminal)")
        try:
            self._take_place(principal)
        except NoPlace as error:
            raise ConnectRefused(str(error)) from error
        peer.principal = principal
        peer.on_readable = lambda: self.terminals.page_reads(peer)
        self._expire_later(peer, principal, now)

    def _take_place(self, principal: Principal) -> None:
        """Take a place, if need be that of a page of the same login that is gone. Raises
        NoPlace.
        """
        try:
            self._places.take(principal)
        except NoPlace:
            pages = [
                each
                for each in self._expiries
                if each.principal.token_id == principal.token_id and each.absence > ABSENCE_LIMIT
            ]
            if not pages:
                raise
            max(pages, key=lambda each: each.absence).hang_up("another page took its place")
            self._places.take(principal)

    def disconnected(self, peer: Peer, reason: str) -> None:
        expiry = self._expiries.pop(peer)
        if expiry.active():
            expiry.cancel()
        self._places.leave(peer.principal)
        self.terminals.page_left(peer)

    def event(
        self, peer: Peer, name: str, args: list[Any], ack: Callable[..., None] | None
    ) -> None:
        payload = args[0] if args else None
        match name:
            case wire.CREATE:
                self.terminals.create(peer, payload)
            case wire.WRITE:
                self.terminals.write(peer, payload)
            case wire.RESIZE:
                self.terminals.resize(peer, payload)
            case wire.CLOSE:
                self.terminals.close(peer, payload)
            case wire.LIST:
                asked = read(payload, OfSession)
                if asked is not None and ack is not None:
                    ack({"terminals": self.terminals.listed(peer, asked.session_id)})

    # --- the end of a token
    def end_device(self, device: DeviceToken) -> None:
        """Close the connections of a token that has ended."""
        for peer in list(self._expiries):
            if peer.principal.device is not None and peer.principal.device.id == device.id:
                peer.hang_up("the token was revoked or has expired")

    def _expire_later(self, peer: Peer, principal: Principal, now: float) -> None:
        seconds = min(max(principal.expires_at - now, 0.0), EXPIRY_LIMIT)
        self._expiries[peer] = self._registry.clock.callLater(
            seconds, peer.hang_up, "the token has expired"
        )
