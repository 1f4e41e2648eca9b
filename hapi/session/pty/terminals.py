"""The terminals of a session: shells in its directory that people open on the page."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from attrs import define, field
from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger

from hapi.deferreds import run_in_background
from hapi.protocol.work import terminals as wire
from hapi.protocol.work.terminals import Open, Resize, TerminalEvent, Write, cells, read
from hapi.session.pty.terminal import Terminal

MAX_TERMINALS = 16  # at once; the hub allows fewer
AWAY_TIMEOUT = 3600.0  # seconds without a hub after which the terminals are ended
MAX_LEFT = 32  # ended shells whose background programs are looked for
MAX_ENDED = 32  # terminals whose exit is remembered for a hub that was away


class Link(Protocol):
    """The part of `hapi.net.client.link.HubLink` that is used."""

    @property
    def connected(self) -> bool: ...
    @property
    def writable(self) -> bool: ...
    def on_connect(self, call: Callable[[], object]) -> None: ...
    def on_event(self, name: str, handle: Callable[..., object]) -> None: ...
    def on_status(self, call: Callable[[Any], object]) -> None: ...
    def send(self, event: str, *args: Any) -> None: ...


@define(eq=False, repr=False)
class Terminals:
    """Does what the hub asks for with the terminals of one session.

    `is_allowed` False: nothing can be opened.
    """

    _reactor: Any
    _link: Link
    _session_id: str
    _directory: str
    _environ: Mapping[str, str] = field(repr=False)
    is_allowed: bool = True
    _terminals: dict[str, Terminal] = field(factory=dict)
    _ended: dict[str, tuple[int | None, str | None]] = field(factory=dict)  # not told to the hub
    # Those whose shell has ended by itself: what it left running goes on until the session ends.
    _left: deque[Terminal] = field(factory=lambda: deque(maxlen=MAX_LEFT))
    _closing: set[Terminal] = field(factory=set)
    _away_call: IDelayedCall | None = None
    _is_stopped: bool = False
    log = Logger()

    def start(self) -> None:
        """Serve the hub's events from now on."""
        for name, handle in (
            (wire.OPEN, self._open),
            (wire.ATTACH, self._attach),
            (wire.WRITE, self._write),
            (wire.RESIZE, self._resize),
            (wire.CLOSE, self._close),
        ):
            self._link.on_event(name, handle)
        self._link.on_connect(self._connected)
        self._link.on_status(self._status_changed)

    def __len__(self) -> int:
        return len(self._terminals)

    async def stop(self) -> None:
        """End all terminals with everything that was started in them."""
        self._is_stopped = True
        self._cancel_away()
        steps = [each.close() for each in {*self._terminals.values(), *self._closing}]
        steps += [each.clear() for each in self._left]
        self._left.clear()
        await DeferredList([Deferred.fromCoroutine(step) for step in steps])

    # --- from the hub
    def _connected(self) -> None:
        self._cancel_away()
        ended, self._ended = self._ended, {}
        for terminal_id, how in ended.items():
            self._tell_exit(terminal_id, how)
        for terminal in self._terminals.values():
            terminal.has_gap = True
        self._emit(wire.RUNNING, terminalIds=list(self._terminals))

    def _open(self, payload: Any = None, *_: Any) -> None:
        asked = self._read(payload, Open)
        if asked is None or self._is_stopped:
            return
        terminal = self._terminals.get(asked.terminal_id)
        if terminal is not None:
            if terminal.has_gap:
                self._emit(wire.OUTPUT, terminalId=terminal.id, data=terminal.replay())
            terminal.resize(cells(asked.cols), cells(asked.rows))
            self._emit(wire.READY, terminalId=terminal.id)
            return
        if not self.is_allowed:
            self._refuse(asked, "Terminals are turned off on this machine.")
        elif len(self._terminals) >= MAX_TERMINALS:
            self._refuse(asked, f"Too many terminals open in this session (max {MAX_TERMINALS}).")
        else:
            self._start(asked)

    def _start(self, asked: Open) -> None:
        terminal_id = asked.terminal_id
        self._ended.pop(terminal_id, None)
        terminal = Terminal(
            terminal_id,
            self._reactor,
            lambda text: self._send(terminal_id, text),
            lambda: not self._link.connected,
        )
        try:
            terminal.start(self._directory, self._environ, cells(asked.cols), cells(asked.rows))
        except OSError as problem:
            self._refuse(asked, f"The shell could not be started: {problem.strerror or problem}.")
            return
        self._terminals[terminal_id] = terminal
        terminal.exited.when_fired().addCallback(self._exited, terminal)
        self._emit(wire.READY, terminalId=terminal_id)

    def _attach(self, payload: Any = None, *_: Any) -> None:
        asked = self._read(payload, Open)
        if asked is None:
            return
        terminal = self._terminals.get(asked.terminal_id)
        if terminal is None:
            self._tell_exit(asked.terminal_id, self._ended.pop(asked.terminal_id, (None, None)))
            return
        self._emit(wire.OUTPUT, terminalId=terminal.id, data=terminal.replay(), replay=True)
        terminal.resize(cells(asked.cols), cells(asked.rows))
        self._emit(wire.READY, terminalId=terminal.id)

    def _write(self, payload: Any = None, *_: Any) -> None:
        asked = self._read(payload, Write)
        if asked is not None and (terminal := self._terminals.get(asked.terminal_id)) is not None:
            terminal.write(asked.data)

    def _resize(self, payload: Any = None, *_: Any) -> None:
        asked = self._read(payload, Resize)
        if asked is not None and (terminal := self._terminals.get(asked.terminal_id)) is not None:
            terminal.resize(cells(asked.cols), cells(asked.rows))

    def _close(self, payload: Any = None, *_: Any) -> None:
        asked = self._read(payload, TerminalEvent)
        if asked is not None and (terminal := self._terminals.get(asked.terminal_id)) is not None:
            self._close_soon(terminal)

    def _close_soon(self, terminal: Terminal) -> None:
        async def close() -> None:
            try:
                await terminal.close()
            finally:
                self._closing.discard(terminal)

        self._closing.add(terminal)
        run_in_background(close(), self.log, "A terminal could not be closed")

    # --- to the hub
    def _send(self, terminal_id: str, text: str) -> bool:
        if not self._link.writable:
            return False
        self._emit(wire.OUTPUT, terminalId=terminal_id, data=text)
        return True

    def _exited(self, how: tuple[int | None, str | None], terminal: Terminal) -> None:
        del self._terminals[terminal.id]
        if not terminal.is_closing:
            self._left.append(terminal)
        if self._link.connected:
            self._tell_exit(terminal.id, how)
        else:
            self._ended[terminal.id] = how
            while len(self._ended) > MAX_ENDED:
                del self._ended[next(iter(self._ended))]

    def _tell_exit(self, terminal_id: str, how: tuple[int | None, str | None]) -> None:
        code, signal = how
        self._emit(wire.EXIT, terminalId=terminal_id, code=code, signal=signal)

    def _refuse(self, asked: Open, message: str) -> None:
        self._emit(wire.ERROR, terminalId=asked.terminal_id, message=message)

    def _emit(self, event: str, **values: Any) -> None:
        self._link.send(event, {"sessionId": self._session_id, **values})

    # --- a hub that is away
    def _status_changed(self, _: Any) -> None:
        """Without a hub the shells go on for AWAY_TIMEOUT."""
        if self._link.connected:
            return
        if self._terminals and self._away_call is None and not self._is_stopped:
            self._away_call = self._reactor.callLater(AWAY_TIMEOUT, self._give_up)

    def _give_up(self) -> None:
        self._away_call = None
        for terminal in list(self._terminals.values()):
            self.log.info("A terminal is ended: the hub has been away for too long")
            self._close_soon(terminal)

    def _cancel_away(self) -> None:
        if self._away_call is not None:
            self._away_call.cancel()
            self._away_call = None

    def _read(self, payload: Any, kind: type[Any]) -> Any:
        if not isinstance(payload, Mapping) or payload.get("sessionId") != self._session_id:
            return None
        return read(payload, kind)
