"""The sockets of runners and sessions at a hub among several: a session or machine has all of its
sockets at one hub, its home.

A socket that names one that is at home elsewhere, with sockets there, is relayed. Otherwise this
hub becomes the home before the client is let in, so that whoever sees it connected finds it here.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping
from typing import Any, NoReturn, TypeVar

from attrs import define, field
from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import Logger
from zope.interface import implementer

from hapi.hub.access.auth import Principal, TokenIssuer
from hapi.hub.access.places import Places
from hapi.hub.access.tokens import may_access
from hapi.hub.cluster.directory import Directory
from hapi.hub.cluster.peer_hubs import OtherHubs
from hapi.hub.cluster.socket_relay import RelayFailed, SocketRelay
from hapi.hub.domain.errors import NoPlace
from hapi.hub.domain.registry import HubRegistry
from hapi.hub.store.interface import StoreBusy, StoreFailed, StoreFull
from hapi.hub.store.shared import Member
from hapi.net.common.errors import ConnectRefused
from hapi.net.server.peers import INamespace, Peer
from hapi.one_shot import OneShotObserver
from hapi.protocol.token import InvalidNamespace

T = TypeVar("T")

MAX_PENDING = 1024  # clients that wait for the home of what they name
MOVING = "the session or machine is moving between hubs"


async def shielded(work: Coroutine[Deferred[Any], Any, T]) -> T:
    """The result of `work`, which goes on when its caller gives up: others may wait for it, too."""
    done: OneShotObserver[T] = OneShotObserver()
    Deferred.fromCoroutine(work).addBoth(done.fire)
    return await done.when_fired()


@implementer(INamespace)
@define(eq=False, repr=False)
class HomeSockets:
    """The namespace `/cli`. `_inner` serves the sockets whose home is here."""

    _reactor: Any
    _inner: Any  # a CliNamespace
    _registry: HubRegistry
    _token_issuer: TokenIssuer
    _places: Places
    _directory: Directory
    _others: OtherHubs
    relays: dict[Peer, SocketRelay] = field(factory=dict)
    _principals: dict[Peer, Principal] = field(factory=dict)  # of those that are relayed
    _pending: int = 0
    log = Logger()

    def __attrs_post_init__(self) -> None:
        self._directory.on_lost.append(self.close_sockets)

    # --- INamespace
    def connect(self, peer: Peer, auth: Any) -> Deferred[None] | None:
        given = auth if isinstance(auth, dict) else {}
        owner = next(
            (given[key] for key in ("sessionId", "machineId") if isinstance(given.get(key), str)),
            None,
        )
        principal = self._principal(given)
        if owner is None or principal is None:  # it is let in without a home, or refused
            self._inner.connect(peer, auth)
            return None
        if self._pending >= MAX_PENDING:
            peer.hang_up("too many clients connect at once")
            raise ConnectRefused("Too many clients connect at once")
        return Deferred.fromCoroutine(self._connect(peer, given, owner, principal))

    def event(
        self, peer: Peer, name: str, args: list[Any], ack: Callable[..., None] | None
    ) -> None:
        if (relay := self.relays.get(peer)) is not None:
            relay.event(name, args, ack)
        else:
            self._inner.event(peer, name, args, ack)

    def disconnected(self, peer: Peer, reason: str) -> None:
        if (relay := self.relays.pop(peer, None)) is None:
            self._inner.disconnected(peer, reason)
            return
        relay.close()
        self._others.statistics.relays -= 1
        self._places.leave(self._principals.pop(peer))

    def close_sockets(self, owner: str) -> None:
        """Another hub is the home of `owner` now: have its sockets connect again."""
        found = self._registry.sessions.get(owner) or self._registry.machines.get(owner)
        if found is not None:
            for peer in self._registry.rooms.room(found.room):
                peer.hang_up("another hub serves it now")

    # --- inside
    def _principal(self, given: Mapping[str, Any]) -> Principal | None:
        try:
            return self._token_issuer.check_access_token(given.get("token"))
        except InvalidNamespace:
            return None

    async def _connect(
        self, peer: Peer, auth: dict[str, Any], owner: str, principal: Principal
    ) -> None:
        self._pending += 1
        try:
            await self._join(peer, auth, owner, principal)
        except (ConnectRefused, CancelledError):
            raise
        except (StoreBusy, StoreFull, StoreFailed) as error:
            self._try_again(peer, str(error), error)
        except Exception as error:
            self.log.failure("The home of {owner} was not found", owner=owner)
            self._try_again(peer, MOVING, error)
        finally:
            self._pending -= 1

    async def _join(
        self, peer: Peer, auth: dict[str, Any], owner: str, principal: Principal
    ) -> None:
        directory = self._directory
        known = await shielded(directory.know(owner))
        if not known or not self._may_speak_for(principal, owner):
            self._inner.connect(peer, auth)
            return
        for _ in range(2):
            member = await shielded(directory.look_up(owner))
            if member is not None and await self._relay(member, peer, auth, owner, principal):
                return
            if directory.is_home(owner) or await shielded(directory.claim(owner)):
                self._inner.connect(peer, auth)
                return
        self._try_again(peer, MOVING)

    def _may_speak_for(self, principal: Principal, owner: str) -> bool:
        registry = self._registry
        found = registry.sessions.get(owner) or registry.machines.get(owner)
        return (
            found is not None
            and registry.owns(principal.namespace, owner)
            and may_access(principal.device, found)
        )

    async def _relay(
        self, member: Member, peer: Peer, auth: dict[str, Any], owner: str, principal: Principal
    ) -> bool:
        """Relay the socket if the other hub has sockets of `owner` and goes on to serve them;
        whether it does.
        """
        if member.is_draining or not await self._others.sockets(member, owner):
            return False
        if peer.is_forwarded:  # the hub that relays it did not know yet
            self._try_again(peer, MOVING)
        try:
            self._places.take(principal)
        except NoPlace as error:
            self._try_again(peer, str(error), error)
        relay = SocketRelay(self._reactor, self._others.client, member, peer, peer.hang_up)
        try:
            await relay.open(auth)
        except RelayFailed as error:
            self._places.leave(principal)
            self.log.warn("A socket was not relayed: {reason}", reason=str(error))
            return False
        except BaseException:
            self._places.leave(principal)
            raise
        self.relays[peer], self._principals[peer] = relay, principal
        self._others.statistics.relays += 1
        return True

    def _try_again(self, peer: Peer, reason: str, cause: Exception | None = None) -> NoReturn:
        """Close the connection of a client, which then connects again; raises ConnectRefused.
        Real clients never try again after a refusal.
        """
        peer.hang_up(reason)
        raise ConnectRefused(reason) from cause
