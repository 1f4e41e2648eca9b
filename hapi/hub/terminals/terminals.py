"""The web terminals of all sessions: which page is attached to which, limits, and what is replayed
to whoever attaches later."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Any

from attrs import define, field
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger

from hapi.hub.access.audit_log import AuditLog
from hapi.hub.access.auth import Principal, actor_of
from hapi.hub.domain.entities import SESSION_TIMEOUT, HubSession
from hapi.hub.domain.errors import AccessDenied, NotFound
from hapi.hub.domain.registry import HubRegistry
from hapi.net.server.peers import Peer
from hapi.protocol.work import terminals as wire
from hapi.protocol.work.terminals import (
    CLOSED_UNEXPECTEDLY,
    SCROLLBACK,
    Close,
    Exit,
    OfSession,
    Open,
    Output,
    Problem,
    Resize,
    Running,
    TerminalEvent,
    Write,
    cells,
    create_problem,
    read,
)

MAX_TERMINALS = 4  # that one page, or all pages together in one session, are attached to
MAX_KEPT = 8  # of one session, those that no page is attached to included
IDLE_TIMEOUT = 900.0  # seconds without traffic after which one that no page is attached to is ended
IDLE_CHECK_INTERVAL = 30.0  # seconds
CREATE_BURST, CREATES_PER_SECOND = 10, 1.0  # new terminals of one session
ERROR_DELAY = 0.2  # seconds in which npm's session says how the shell ended
UNAVAILABLE = "Session is inactive or unavailable."
IN_USE = "Terminal ID is already in use."
IDLE = "Terminal closed due to inactivity."
TOO_FAST = "Too many terminals were opened at once. Try again in a moment."
REPLACED = "Terminal closed: too many were left open."
Key = tuple[str, str]  # ids of a session and of a terminal in it


@define(eq=False, repr=False)
class HubTerminal:
    """A terminal that a session has, or is asked to have. `peer`: the page that is attached."""

    id: str
    session: HubSession
    principal: Principal  # who opened it
    address: str
    remembers: bool  # whether the session itself replays
    last_traffic: float  # seconds of the clock
    peer: Peer | None = None
    cols: int = 80
    rows: int = 24
    is_ready: bool = False
    awaits_replay: bool = False  # output is not sent on before the replay that was asked for
    is_lagging: bool = False  # the page reads slowly: it gets a replay as soon as it can
    error_call: IDelayedCall | None = None
    _kept: deque[str] = field(factory=deque)
    _kept_size: int = 0  # characters

    def keep(self, text: str) -> None:
        """Remember output for a session that does not."""
        text = text[-SCROLLBACK:]
        self._kept.append(text)
        self._kept_size += len(text)
        while self._kept_size - len(self._kept[0]) >= SCROLLBACK:
            self._kept_size -= len(self._kept.popleft())

    @property
    def kept(self) -> str:
        return "".join(self._kept)[-SCROLLBACK:]


@define(eq=False, repr=False)
class Terminals:
    """Passes the events of terminals between pages and sessions."""

    _registry: HubRegistry
    _audit: AuditLog
    _terminals: dict[Key, HubTerminal] = field(factory=dict)
    _attached: dict[tuple[Peer, str], HubTerminal] = field(factory=dict)  # by page and id
    _created: dict[str, tuple[float, float]] = field(factory=dict)  # session: tokens left, since
    _idle_call: IDelayedCall | None = None
    log = Logger()

    def __len__(self) -> int:
        return len(self._terminals)

    # --- from pages -------------------------------------------------------------------------------

    def create(self, peer: Peer, payload: Any) -> None:
        """Open a terminal, or attach the page to one that exists.

        Ids are those of a session. A page names terminals by their ids alone, so that it cannot
        be attached to two of the same id.
        """
        asked = read(payload, Open)
        if asked is None:
            if (problem := create_problem(payload)) is not None:
                self._refuse(peer, payload, problem)
            return
        terminal = self._terminals.get((asked.session_id, asked.terminal_id))
        other = self._attached.get((peer, asked.terminal_id))
        session = self._reachable(asked.session_id, peer)
        if session is None:
            self._refuse(peer, payload, UNAVAILABLE)
        elif other is not None and other is not terminal:
            self._refuse(peer, payload, IN_USE)
        elif terminal is not None and terminal.peer is peer:
            self._set_size(terminal, asked)
            self._ask(terminal, wire.OPEN)
        elif (problem := self._refusal(peer, session, is_new=terminal is None)) is not None:
            self._refuse(peer, payload, problem)
        elif terminal is not None:
            self._attach(terminal, peer, asked)
        else:
            self._open(session, peer, asked)

    def write(self, peer: Peer, payload: Any) -> None:
        if (asked := read(payload, Write)) is not None:
            terminal = self._of(peer, asked)
            if terminal is not None:
                self._send(terminal, wire.WRITE, data=asked.data)

    def resize(self, peer: Peer, payload: Any) -> None:
        if (asked := read(payload, Resize)) is not None:
            terminal = self._of(peer, asked)
            if terminal is not None:
                self._set_size(terminal, asked)
                self._send(terminal, wire.RESIZE, cols=terminal.cols, rows=terminal.rows)

    def close(self, peer: Peer, payload: Any) -> None:
        """End a terminal of the page, or one of its namespace that no page is attached to.

        Nothing is ended if sessions have several of that id, and none is named.
        """
        if (asked := read(payload, Close)) is None:
            return
        attached = self._of(peer, asked)
        found = [
            each
            for each in ([attached] if attached else self._left_in(peer.principal.namespace))
            if each.id == asked.terminal_id and asked.session_id in (each.session.id, None)
        ]
        if len(found) == 1:
            self._end(found[0], "closed", peer)

    def listed(self, peer: Peer, session_id: str) -> list[dict[str, Any]]:
        """The terminals of a session, as the answer to `terminal:list`."""
        namespace = peer.principal.namespace
        return [
            {
                "terminalId": terminal.id,
                "attached": terminal.peer is not None,
                "mine": terminal.peer is peer,
            }
            for terminal in self._of_session(session_id)
            if terminal.session.namespace == namespace
        ]

    def page_left(self, peer: Peer) -> None:
        """The page is gone: its terminals go on without it."""
        for terminal in self._attached_to(peer):
            self._set_page(terminal, None)
            terminal.last_traffic = self._now
            terminal.is_lagging = terminal.awaits_replay = False

    def page_reads(self, peer: Peer) -> None:
        """The page has read what it was sent."""
        for terminal in self._attached_to(peer):
            if terminal.is_lagging:
                terminal.is_lagging = False
                self._replay(terminal)

    # --- from sessions ----------------------------------------------------------------------------

    def from_session(self, peer: Peer, name: str, payload: Any) -> None:
        """An event of a session process about its own terminals; others are ignored."""
        given = payload if isinstance(payload, dict) else {}
        session_id = given.get("sessionId")
        if peer.principal.owner != session_id or session_id not in self._registry.sessions:
            return
        session = self._registry.sessions[session_id]
        if session.namespace != peer.principal.namespace:
            return
        if name == wire.RUNNING:
            if (running := read(given, Running)) is not None:
                self._reconnected(session, running.terminal_ids)
            return
        handle = SESSION_EVENTS.get(name)
        terminal = self._terminals.get((session_id, str(given.get("terminalId"))))
        if handle is not None and terminal is not None:
            handle(self, terminal, given)

    def session_ended(self, session: HubSession) -> None:
        """The session is over, and its terminals with it. One that is only silent may come back."""
        if self._now - session.last_seen > SESSION_TIMEOUT:
            return
        for terminal in self._of_session(session.id):
            self._forget(terminal, wire.EXIT, code=None, signal="SIGHUP")

    def session_removed(self, session_id: str) -> None:
        for terminal in self._of_session(session_id):
            self._forget(terminal, wire.EXIT, code=None, signal="SIGHUP")

    def session_moved(self, session_id: str) -> None:
        """Another hub serves the session and its terminals from now on. A page that is attached
        connects again, and finds them there.
        """
        for terminal in self._of_session(session_id):
            peer = terminal.peer
            self._set_page(terminal, None)
            self._forget(terminal, wire.EXIT)
            if peer is not None:
                peer.hang_up("another hub serves the session now")

    def _reconnected(self, session: HubSession, running: list[str]) -> None:
        """The session is connected again, perhaps to a hub that was restarted."""
        for terminal in self._of_session(session.id):
            if terminal.id not in running and terminal.is_ready:
                self._forget(terminal, wire.EXIT, code=None, signal=None)
            elif terminal.peer is not None:
                self._replay(terminal)
        for terminal_id in running:
            if (session.id, terminal_id) not in self._terminals:
                self._add(
                    HubTerminal(
                        terminal_id,
                        session,
                        Principal(session.namespace),
                        "",
                        True,
                        self._now,
                        is_ready=True,
                    )
                )

    def _on_ready(self, terminal: HubTerminal, given: dict[str, Any]) -> None:
        terminal.is_ready = True
        terminal.last_traffic = self._now
        if not terminal.is_lagging:
            self._tell(terminal, wire.READY)

    def _on_output(self, terminal: HubTerminal, given: dict[str, Any]) -> None:
        output = read(given, Output)
        if output is None:
            return
        terminal.last_traffic = self._now
        if not terminal.remembers:
            terminal.keep(output.data)
        peer = terminal.peer
        if peer is None or (terminal.awaits_replay and not output.replay):
            return
        if not peer.is_reading:
            terminal.is_lagging = True
        elif not terminal.is_lagging:
            more = {"replay": True} if output.replay else {}
            terminal.awaits_replay = False
            self._tell(terminal, wire.OUTPUT, data=output.data, **more)

    def _on_exit(self, terminal: HubTerminal, given: dict[str, Any]) -> None:
        how = read(given, Exit)
        if how is not None:
            self._record("terminal-close", terminal, {"code": how.code, "signal": how.signal})
            self._forget(terminal, wire.EXIT, code=how.code, signal=how.signal)

    def _on_error(self, terminal: HubTerminal, given: dict[str, Any]) -> None:
        problem = read(given, Problem)
        if problem is None or terminal.error_call is not None:
            return
        message = problem.message
        if message != CLOSED_UNEXPECTEDLY:
            self._record("terminal-close", terminal, {"reason": message})
            self._forget(terminal, wire.ERROR, message=message)
            return
        terminal.error_call = self._registry.clock.callLater(
            ERROR_DELAY, self._forget, terminal, wire.ERROR, message=message
        )

    # --- inside -----------------------------------------------------------------------------------

    @property
    def _now(self) -> float:
        return float(self._registry.clock.seconds())

    def _reachable(self, session_id: str, peer: Peer) -> HubSession | None:
        try:
            session = self._registry.session(session_id, peer.principal.namespace)
        except (NotFound, AccessDenied):
            return None
        return session if session.active and self._registry.rooms.room(session.room) else None

    def _refusal(self, peer: Peer, session: HubSession, is_new: bool) -> str | None:
        if len(list(self._attached_to(peer))) >= MAX_TERMINALS:
            return f"Too many terminals open (max {MAX_TERMINALS})."
        attached = [each for each in self._of_session(session.id) if each.peer is not None]
        if len(attached) >= MAX_TERMINALS:
            return f"Too many terminals open for this session (max {MAX_TERMINALS})."
        return TOO_FAST if is_new and not self._may_create(session.id) else None

    def _may_create(self, session_id: str) -> bool:
        left, since = self._created.pop(session_id, (float(CREATE_BURST), self._now))
        left = min(CREATE_BURST, left + (self._now - since) * CREATES_PER_SECOND)
        self._created[session_id] = (max(left - 1, 0.0) if left >= 1 else left, self._now)
        while len(self._created) > 10_000:
            del self._created[next(iter(self._created))]
        return left >= 1

    def _open(self, session: HubSession, peer: Peer, asked: Open) -> None:
        capabilities = session.metadata.get("capabilities")
        remembers = isinstance(capabilities, dict) and capabilities.get("terminalAttach") is True
        terminal = HubTerminal(
            asked.terminal_id,
            session,
            peer.principal,
            peer.address or "",
            remembers,
            self._now,
        )
        left = [each for each in self._of_session(session.id) if each.peer is None]
        if len(self._of_session(session.id)) >= MAX_KEPT and left:
            self._end(min(left, key=lambda each: each.last_traffic), REPLACED)
        self._add(terminal)
        self._set_page(terminal, peer)
        self._set_size(terminal, asked)
        self._record("terminal-open", terminal, {})
        self._ask(terminal, wire.OPEN)

    def _attach(self, terminal: HubTerminal, peer: Peer, asked: Open) -> None:
        if terminal.peer is not None:
            self._tell(terminal, wire.DETACHED)
        self._set_page(terminal, peer)
        terminal.principal = peer.principal
        terminal.address = peer.address or ""
        terminal.is_lagging = False
        self._set_size(terminal, asked)
        self._record("terminal-attach", terminal, {})
        if terminal.remembers:
            self._replay(terminal)
            return
        if terminal.kept:
            peer.emit(wire.OUTPUT, {"terminalId": terminal.id, "data": terminal.kept})
        self._ask(terminal, wire.OPEN)

    def _replay(self, terminal: HubTerminal) -> None:
        """Have the page that is attached begin anew with what is remembered."""
        if terminal.remembers:
            terminal.awaits_replay = True
            self._ask(terminal, wire.ATTACH)
        else:
            self._tell(terminal, wire.OUTPUT, data=terminal.kept, replay=True)

    def _end(self, terminal: HubTerminal, reason: str, by: Peer | None = None) -> None:
        """Have the session end a terminal. The page that asked for it gets no answer."""
        self._send(terminal, wire.CLOSE)
        self._record("terminal-close", terminal, {"reason": reason})
        if terminal.peer is by:
            self._set_page(terminal, None)
        self._forget(terminal, wire.ERROR, message=reason)

    def _forget(self, terminal: HubTerminal, event: str, **values: Any) -> None:
        """Say how it ended to the page that is attached, and forget the terminal."""
        if terminal.error_call is not None and terminal.error_call.active():
            terminal.error_call.cancel()
        if self._terminals.pop((terminal.session.id, terminal.id), None) is not None:
            self._tell(terminal, event, **values)
            self._set_page(terminal, None)

    def _add(self, terminal: HubTerminal) -> None:
        self._terminals[(terminal.session.id, terminal.id)] = terminal
        if self._idle_call is None:
            self._idle_call = self._registry.clock.callLater(IDLE_CHECK_INTERVAL, self._check_idle)

    def _check_idle(self) -> None:
        """End what nobody has used for long. A page that looks on keeps its terminal."""
        self._idle_call = None
        for terminal in list(self._terminals.values()):
            if terminal.peer is None and self._now - terminal.last_traffic >= IDLE_TIMEOUT:
                self._end(terminal, IDLE)
        if self._terminals:
            self._idle_call = self._registry.clock.callLater(IDLE_CHECK_INTERVAL, self._check_idle)

    def stop(self) -> None:
        if self._idle_call is not None and self._idle_call.active():
            self._idle_call.cancel()

    def _of(self, peer: Peer, asked: TerminalEvent) -> HubTerminal | None:
        """The terminal of an event, if the page is attached to it."""
        return self._attached.get((peer, asked.terminal_id))

    def _set_page(self, terminal: HubTerminal, peer: Peer | None) -> None:
        """The page that is attached from now on."""
        if terminal.peer is not None:
            del self._attached[(terminal.peer, terminal.id)]
        terminal.peer = peer
        if peer is not None:
            self._attached[(peer, terminal.id)] = terminal

    def _attached_to(self, peer: Peer) -> Iterator[HubTerminal]:
        return (each for each in list(self._attached.values()) if each.peer is peer)

    def _left_in(self, namespace: str) -> list[HubTerminal]:
        """Those that no page is attached to."""
        return [
            each
            for each in self._terminals.values()
            if each.peer is None and each.session.namespace == namespace
        ]

    def _of_session(self, session_id: str) -> list[HubTerminal]:
        return [each for each in self._terminals.values() if each.session.id == session_id]

    def _set_size(self, terminal: HubTerminal, asked: Open | Resize) -> None:
        terminal.cols, terminal.rows = cells(asked.cols), cells(asked.rows)

    def _ask(self, terminal: HubTerminal, event: str) -> None:
        self._send(terminal, event, cols=terminal.cols, rows=terminal.rows)

    def _send(self, terminal: HubTerminal, event: str, **values: Any) -> None:
        terminal.last_traffic = self._now
        payload = {"sessionId": terminal.session.id, "terminalId": terminal.id, **values}
        self._registry.rooms.emit(terminal.session.room, event, payload)

    def _tell(self, terminal: HubTerminal, event: str, **values: Any) -> None:
        if terminal.peer is not None:
            facts = {"sessionId": terminal.session.id, "terminalId": terminal.id}
            terminal.peer.emit(event, {**facts, **values})

    def _refuse(self, peer: Peer, payload: dict[str, Any], message: str) -> None:
        """Answer a `terminal:create`, with those of its ids that are none of anything else."""
        facts: dict[str, Any] = {}
        if (session := read(payload, OfSession)) is not None:
            facts["sessionId"] = session.session_id
        if (terminal := read(payload, TerminalEvent)) is not None:
            facts["terminalId"] = terminal.terminal_id
        peer.emit(wire.ERROR, {**facts, "message": message})

    def _record(self, action: str, terminal: HubTerminal, facts: dict[str, Any]) -> None:
        self._audit.record(
            action,
            200,
            actor_of(terminal.principal),
            terminal.address,
            {"session": terminal.session.id},
            {"terminal": terminal.id, **facts},
        )


SESSION_EVENTS = {
    wire.READY: Terminals._on_ready,
    wire.OUTPUT: Terminals._on_output,
    wire.EXIT: Terminals._on_exit,
    wire.ERROR: Terminals._on_error,
}
