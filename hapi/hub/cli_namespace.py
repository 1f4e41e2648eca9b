"""The Socket.IO namespace `/cli`: runners and session processes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.logger import Logger
from zope.interface import implementer

from hapi.hub.access.audit_log import LOGIN, NOBODY, AuditLog
from hapi.hub.access.auth import Principal, TokenIssuer, actor_of
from hapi.hub.access.places import SOCKETS, Places
from hapi.hub.access.rate_limits import LoginRateLimit
from hapi.hub.access.tokens import DeviceToken, require_access
from hapi.hub.cli_events import (
    EVENTS,
    STORED,
    CliEvents,
    Handler,
    PeerIdentity,
    TargetUnavailable,
    read_local_ids,
)
from hapi.hub.domain.entities import HubSession
from hapi.hub.domain.errors import AccessDenied, NoPlace, NotFound
from hapi.hub.domain.event_queue import STORE_PROBLEMS, store_code
from hapi.hub.domain.registry import HubRegistry
from hapi.hub.store.interface import StoreAway, StoreBusy, StoreFailed, StoreFull
from hapi.hub.store.shared import Moved
from hapi.net.common.errors import ConnectRefused
from hapi.net.server.peers import INamespace, Peer
from hapi.protocol import events as protocol_events
from hapi.protocol.token import InvalidNamespace, Scope
from hapi.protocol.work.terminals import PREFIX as TERMINAL_EVENTS

Ack = Callable[..., None]


@implementer(INamespace)
@define(eq=False, repr=False)
class CliNamespace:
    """Decides who may connect, and has the events of each socket handled: those that are stored
    one after the other, in the order in which they came.
    """

    registry: HubRegistry
    token_issuer: TokenIssuer
    login_rate_limit: LoginRateLimit
    events: CliEvents
    audit: AuditLog
    places: Places = field(factory=lambda: Places("sockets", SOCKETS))
    # Gets the events of terminals: the socket, the name, the payload.
    on_terminal: Callable[[Peer, str, Any], object] = field(default=lambda *event: None)
    _of_devices: dict[str, set[Peer]] = field(factory=dict)  # by the id of their token

    log = Logger()

    # --- INamespace -------------------------------------------------------------------------------

    def connect(self, peer: Peer, auth: Any) -> None:
        registry, given = self.registry, auth if isinstance(auth, dict) else {}
        try:
            principal = self.token_issuer.check_access_token(given.get("token"))
        except InvalidNamespace as error:
            raise ConnectRefused(f"Invalid token: {error}") from error
        if principal is None:
            if self.login_rate_limit.record_failure(peer.address or "", registry.clock.seconds()):
                # Real clients never try again after a refusal.
                peer.hang_up("too many wrong tokens")
                raise ConnectRefused("Too many wrong tokens")
            self.audit.record(LOGIN, 401, NOBODY, peer.address or "")
            raise ConnectRefused("Invalid token")
        if Scope.MACHINE not in principal.scopes:
            facts = {"route": "/cli (socket)", "scope": Scope.MACHINE}
            self.audit.record(
                "scope-missing", 403, actor_of(principal), peer.address or "", facts=facts
            )
            raise ConnectRefused("Invalid token: it may not run a machine (scope machine)")
        if (queue := registry.queues.find(given.get("sessionId"))) is not None and queue.is_crowded:
            peer.hang_up("no room")  # so that the client tries again
            raise ConnectRefused(STORE_PROBLEMS[queue.code or "store-failed"])
        owner = None
        for name, find in (("sessionId", registry.session), ("machineId", registry.machine)):
            if isinstance(given.get(name), str):
                owner = owner or given[name]
                try:
                    entity = find(given[name], principal.namespace)
                    require_access(principal.device, entity)
                    peer.join(entity.room)
                    if isinstance(entity, HubSession):
                        entity.long_prompts_sent.clear()
                        entity.is_caught_up = False
                except (NotFound, AccessDenied):
                    self.log.debug(
                        "A socket names {id}, which does not exist or belongs to another namespace",
                        id=given[name],
                    )
        try:
            self.places.take(principal)
        except NoPlace as error:
            peer.hang_up("no place")  # so that the client tries again
            self.log.warn("A socket was closed: {reason}", reason=str(error))
            raise ConnectRefused(str(error)) from error
        peer.principal = PeerIdentity(principal.namespace, owner, principal.device)
        if principal.device is not None:
            self._of_devices.setdefault(principal.device.id, set()).add(peer)
        if owner in registry.sessions:
            registry.live.connected(owner, peer)

    def disconnected(self, peer: Peer, reason: str) -> None:
        self.places.leave(Principal(peer.principal.namespace))
        self.registry.rpc.forget(peer)
        self.registry.live.disconnected(peer.principal.owner or "", peer)
        device: DeviceToken | None = peer.principal.device
        if device is not None and (peers := self._of_devices.get(device.id)) is not None:
            peers.discard(peer)
            if not peers:
                del self._of_devices[device.id]

    def end_device(self, device: DeviceToken) -> None:
        """Close the sockets of a token that has ended. A machine that they represented is away."""
        for peer in list(self._of_devices.get(device.id, ())):
            peer.hang_up("the token was revoked or has expired")
            if (machine := self.registry.machines.get(peer.principal.owner or "")) is not None:
                self.events.presence.machine_gone(machine)

    def event(self, peer: Peer, name: str, args: list[Any], ack: Ack | None) -> None:
        handle = EVENTS.get(name)
        if handle is None:
            if name.startswith(TERMINAL_EVENTS):
                self.on_terminal(peer, name, args[0] if args else None)
            return
        given = args[0] if args and isinstance(args[0], dict) else {}
        if name in STORED and (session := self._session_of(peer, given)) is not None:
            peer.principal.sessions.add(session.id)
            if name == protocol_events.MESSAGES_CONSUMED:  # not delivered again meanwhile
                session.taking.update(read_local_ids(given.get("localIds")))
            self.registry.queues.of(session.id).put(
                lambda: self._handled(handle, peer, given, ack),
                peer,
                given,
                is_exclusive=name == protocol_events.SESSION_END,
            )
            return
        Deferred.fromCoroutine(self._handled(handle, peer, given, ack)).addErrback(
            self._failed, peer, name, ack
        )

    def _session_of(self, peer: Peer, given: dict[str, Any]) -> HubSession | None:
        """The session of an event, if the socket may send events for it."""
        try:
            found = self.registry.session(given.get("sid"), peer.principal.namespace)
            require_access(peer.principal.device, found)
            return found
        except (NotFound, AccessDenied):
            return None

    async def _handled(
        self, handle: Handler, peer: Peer, given: dict[str, Any], ack: Ack | None
    ) -> None:
        try:
            answer = await handle(self.events, peer, given)
        except TargetUnavailable as error:
            if error.answered and ack is not None:
                ack({"result": "error", "reason": error.code})
            else:
                problem = {
                    "message": error.text,
                    "code": error.code,
                    "scope": error.scope,
                    "id": error.id,
                }
                peer.emit(protocol_events.ERROR, problem)
        except (NotFound, AccessDenied):  # deleted while the event waited for earlier ones
            if ack is not None:
                ack({"result": "error", "reason": "not-found"})
        else:
            if ack is not None and answer is not None:
                ack(*answer)

    def _failed(self, failure: Any, peer: Peer, name: str, ack: Ack | None) -> None:
        if failure.check(Moved):  # answered by the hub that serves the session or machine
            peer.hang_up("another hub serves it")
            return
        if failure.check(StoreAway):  # which the store has logged
            self.log.info(
                "Event {name} was not stored: {reason}", name=name, reason=str(failure.value)
            )
        elif failure.check(StoreBusy, StoreFull, StoreFailed):
            self.log.error(
                "Event {name} could not be stored: {reason}", name=name, reason=str(failure.value)
            )
        else:
            self.log.failure("Event {name} failed", failure, name=name)
        if ack is not None:
            code = store_code(failure.value)
            ack({"result": "error"} if code is None else {"result": "error", "reason": code})
