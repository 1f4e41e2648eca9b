"""The pages that show shells, at a hub among several: what concerns a session that is at home
elsewhere is relayed there, one connection for each page and home.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from attrs import define, field
from twisted.internet.defer import CancelledError
from twisted.logger import Logger
from zope.interface import implementer

from hapi.deferreds import run_in_background
from hapi.hub.cluster.directory import Directory
from hapi.hub.cluster.peer_calls import PeerClient
from hapi.hub.cluster.socket_relay import RelayFailed, SocketRelay
from hapi.hub.store.shared import Member
from hapi.hub.terminals.terminals import UNAVAILABLE, Terminals
from hapi.net.common.errors import ConnectRefused
from hapi.net.server.peers import INamespace, Peer
from hapi.protocol.work import terminals as wire

MAX_WAITING = 1000  # events of a page that wait until its relay is open
Event = tuple[str, list[Any], Callable[..., None] | None]


@define(eq=False, repr=False)
class _Page:
    """A page, and its relays by the id of the hub at their other end."""

    auth: Mapping[str, Any]
    relays: dict[str, SocketRelay] = field(factory=dict)
    waiting: dict[str, list[Event]] = field(factory=dict)  # by the id of a hub whose relay opens
    hubs: dict[str, str] = field(factory=dict)  # terminal -> the hub that it is at


@implementer(INamespace)
@define(eq=False, repr=False)
class HomeTerminals:
    """The namespace `/terminal`. `_inner` serves what concerns sessions whose home is here."""

    _reactor: Any
    _inner: Any  # a TerminalNamespace
    _terminals: Terminals
    _directory: Directory
    _client: PeerClient
    _pages: dict[Peer, _Page] = field(factory=dict)
    log = Logger()

    def __attrs_post_init__(self) -> None:
        self._directory.on_lost.append(self._terminals.session_moved)

    # --- INamespace
    def connect(self, peer: Peer, auth: Any) -> None:
        self._inner.connect(peer, auth)
        self._pages[peer] = _Page(auth)

    def disconnected(self, peer: Peer, reason: str) -> None:
        page = self._pages.pop(peer)
        for relay in page.relays.values():
            relay.close()
        self._inner.disconnected(peer, reason)

    def event(
        self, peer: Peer, name: str, args: list[Any], ack: Callable[..., None] | None
    ) -> None:
        page = self._pages[peer]
        member, hub_id = self._home(page, name, args[0] if args else None)
        if hub_id is None:
            self._inner.event(peer, name, args, ack)
        elif (relay := page.relays.get(hub_id)) is not None and hub_id not in page.waiting:
            relay.event(name, args, ack)
        elif (waiting := page.waiting.get(hub_id)) is not None:
            if len(waiting) < MAX_WAITING:
                waiting.append((name, args, ack))
        elif member is not None:
            page.waiting[hub_id] = [(name, args, ack)]
            run_in_background(
                self._open(peer, page, member), self.log, "A page's relay could not be opened"
            )

    # --- inside
    def _home(self, page: _Page, name: str, payload: Any) -> tuple[Member | None, str | None]:
        """The other hub that an event concerns, None if it is this one, and its id. Only some
        events name their session; those of a terminal go where it was opened.
        """
        given = payload if isinstance(payload, dict) else {}
        session_id, named = given.get("sessionId"), given.get("terminalId")
        terminal_id = named if isinstance(named, str) else ""
        if name != wire.CREATE and (hub_id := page.hubs.get(terminal_id)):
            return None, hub_id
        if not isinstance(session_id, str):
            return None, None
        member = self._directory.elsewhere(session_id)
        if member is None:
            page.hubs.pop(terminal_id, None)
            return None, None
        if name == wire.CREATE and 0 < len(terminal_id) <= wire.MAX_ID_LENGTH:
            page.hubs[terminal_id] = member.id
            while len(page.hubs) > MAX_WAITING:
                del page.hubs[next(iter(page.hubs))]
        return member, member.id

    async def _open(self, peer: Peer, page: _Page, member: Member) -> None:
        def ended(reason: str) -> None:
            peer.hang_up(reason)  # the page connects again, and attaches to its terminals

        relay = SocketRelay(self._reactor, self._client, member, peer, ended)
        page.relays[member.id] = relay
        try:
            await relay.open(page.auth)
        except (RelayFailed, ConnectRefused, CancelledError) as problem:
            self.log.warn("A page was not relayed: {reason}", reason=str(problem))
            del page.relays[member.id]
            for name, args, _ in page.waiting.pop(member.id):
                if name == wire.CREATE and not peer.gone:
                    self._refuse(peer, page, args[0])
            return
        for name, args, ack in page.waiting.pop(member.id):
            relay.event(name, args, ack)

    def _refuse(self, peer: Peer, page: _Page, payload: dict[str, Any]) -> None:
        page.hubs.pop(payload.get("terminalId", ""), None)
        facts = {
            key: payload[key]
            for key in ("sessionId", "terminalId")
            if isinstance(payload.get(key), str)
        }
        peer.emit(wire.ERROR, {**facts, "message": UNAVAILABLE})
