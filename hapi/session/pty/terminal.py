"""One shell in a pseudo-terminal."""

from __future__ import annotations

import codecs
import fcntl
import struct
import termios
from collections import deque
from collections.abc import Callable, Mapping
from signal import Signals
from typing import Any, cast

from attrs import define, field
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IDelayedCall, IPushProducer
from twisted.internet.protocol import ProcessProtocol
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from hapi.one_shot import OneShotObserver
from hapi.process.kernel import kernel
from hapi.process.shell import MARK, shell_environment, shell_program
from hapi.protocol.work.terminals import SCROLLBACK
from hapi.session.pty.scrollback import Scrollback

MAX_INPUT = 1024 * 1024  # bytes that wait for a shell that does not read
FLUSH_INTERVAL = 0.016  # seconds between two pieces of output
FLUSH_SIZE = 64 * 1024  # characters of one piece: about 4 MB a second at most
DRAIN_TIMEOUT = 0.2  # seconds for what an ended shell has left to be read
HANGUP_TIMEOUT = 0.4  # seconds that a shell has to end when its terminal is closed
END_TIMEOUT = 1.0  # seconds that its processes have to end after SIGTERM


@implementer(IPushProducer)
@define(eq=False, repr=False)
class Terminal(ProcessProtocol):
    """`send(text)` gets the output and returns whether it was taken; while it is not, the shell has
    to wait, as with any full terminal. `is_away()` tells that nobody can be sent anything: the
    output then only goes into the scrollback, and the shell goes on.

    `exited` fires with the exit code and the name of the signal that ended the shell, one of them
    None, once all of its output has been sent.
    """

    id: str
    _reactor: Any
    _send: Callable[[str], bool]
    _is_away: Callable[[], bool]
    exited: OneShotObserver[tuple[int | None, str | None]] = field(factory=OneShotObserver)
    scrollback: Scrollback = field(factory=lambda: Scrollback(SCROLLBACK))
    _identity: Any = None
    _decoder: Any = field(factory=lambda: codecs.getincrementaldecoder("utf-8")("replace"))
    _unsent: deque[str] = field(factory=deque)
    _unsent_size: int = 0  # characters
    _flush_call: IDelayedCall | None = None
    _input: deque[bytes] = field(factory=deque)
    _input_size: int = 0  # bytes
    _is_input_paused: bool = False
    _is_paused: bool = False  # whether its output is not read
    _end: tuple[int | None, str | None] | None = None
    _drain_call: IDelayedCall | None = None
    is_closing: bool = False
    _closed: OneShotObserver[None] = field(factory=OneShotObserver)
    _started: list[Any] = field(factory=list)  # what ran in it when it was closed
    has_gap: bool = False  # whether output may not have arrived
    log = Logger()

    def start(self, directory: str, environ: Mapping[str, str], cols: int, rows: int) -> None:
        """Start the shell. Raises OSError."""
        program = shell_program(environ)
        self._reactor.spawnProcess(
            self,
            program,
            (program,),
            shell_environment(environ, self.id),
            directory,
            usePTY=True,
        )
        self.resize(cols, rows)

    def replay(self) -> str:
        """All that is remembered of its output. What is sent next comes after it."""
        self._forget_unsent()
        self.has_gap = False
        return self.scrollback.text

    @property
    def is_running(self) -> bool:
        return self._identity is not None and self._end is None

    def write(self, text: str) -> None:
        """Type `text`. What is beyond MAX_INPUT for a shell that does not read is dropped."""
        data = text.encode("utf-8", "replace")
        if not self.is_running or self.is_closing:
            return
        if self._input_size + len(data) > MAX_INPUT:
            self.log.info("Input of a terminal was dropped: its program does not read")
            return
        self._input.append(data)
        self._input_size += len(data)
        self._write_input()

    def resize(self, cols: int, rows: int) -> None:
        """Set the size; the programs in the terminal are told by SIGWINCH."""
        if self.is_running and not self.is_closing:
            size = struct.pack("HHHH", rows, cols, 0, 0)
            fcntl.ioctl(cast(Any, self.transport).fileno(), termios.TIOCSWINSZ, size)

    async def close(self) -> None:
        """Hang up, and end everything that was started in the terminal."""
        if self.is_closing:
            await self._closed.when_fired()
            return
        self.is_closing = True
        from hapi.session.agent.tree import descendants_of, end_agent

        self._started = [self._identity, *descendants_of(self._identity)]
        self._forget_unsent()
        self._hang_up()
        await self.exited.when_fired().addTimeout(
            HANGUP_TIMEOUT, self._reactor, lambda _, seconds: None
        )
        if self.is_running:
            await end_agent(self._reactor, self._identity, END_TIMEOUT)
        try:
            await self.clear()
            await self.exited.when_fired()
        finally:
            self._closed.fire(None)

    async def clear(self) -> None:
        """End what the shell has left running."""
        from hapi.session.agent.tree import end_left_behind

        mark = f"{MARK}={self.id}"
        await end_left_behind(self._reactor, self._identity, self._started, mark, END_TIMEOUT)

    # --- ProcessProtocol
    def connectionMade(self) -> None:
        transport = cast(Any, self.transport)
        self._identity = kernel().identify(transport.pid)
        transport.registerProducer(self, True)

    def childDataReceived(self, childFD: int, data: bytes) -> None:
        self._received(self._decoder.decode(data))

    def processExited(self, reason: Failure) -> None:
        """A program in the background may keep the terminal open: what is there now is sent."""
        self._end = _end_of(reason)
        self._resume()
        self._drain_call = self._reactor.callLater(DRAIN_TIMEOUT, self._drained)

    def processEnded(self, reason: Failure) -> None:
        self._end = self._end or _end_of(reason)
        self._drained()

    # --- IPushProducer: what is typed waits while the shell does not read
    def pauseProducing(self) -> None:
        self._is_input_paused = True

    def resumeProducing(self) -> None:
        self._is_input_paused = False
        self._write_input()

    def stopProducing(self) -> None:
        self._input.clear()

    # --- inside
    def _write_input(self) -> None:
        while self._input and not self._is_input_paused:
            data = self._input.popleft()
            self._input_size -= len(data)
            cast(Any, self.transport).write(data)

    def _received(self, text: str) -> None:
        if not text:
            return
        self.scrollback.add(text)
        if self.is_closing or self._is_away():
            self._forget_unsent()
            return
        self._unsent.append(text)
        self._unsent_size += len(text)
        if self._unsent_size >= FLUSH_SIZE and not self._is_paused:
            self._is_paused = True
            cast(Any, self.transport).stopReading()
        if self._flush_call is None:
            self._flush_call = self._reactor.callLater(0, self._flush)

    def _flush(self) -> None:
        """Send one piece, and the rest later."""
        self._flush_call = None
        if self._is_away():
            self._forget_unsent()
        elif self._unsent:
            text = "".join(self._unsent)
            piece, rest = text[:FLUSH_SIZE], text[FLUSH_SIZE:]
            if not self._send(piece):
                rest = text
            self._unsent = deque([rest] if rest else [])
            self._unsent_size = len(rest)
            self._flush_call = self._reactor.callLater(FLUSH_INTERVAL, self._flush)
        if self._unsent_size < FLUSH_SIZE:
            self._resume()
        self._tell_exit()

    def _forget_unsent(self) -> None:
        self._unsent.clear()
        self._unsent_size = 0
        self._resume()

    def _resume(self) -> None:
        if self._is_paused:
            self._is_paused = False
            if cast(Any, self.transport).connected:
                cast(Any, self.transport).startReading()

    def _drained(self) -> None:
        if self._drain_call is not None and self._drain_call.active():
            self._drain_call.cancel()
        self._drain_call = None
        self._received(self._decoder.decode(b"", True))
        self._tell_exit()

    def _tell_exit(self) -> None:
        if self._end is None or self._unsent or self._drain_call is not None:
            return
        if not self.exited.has_fired:
            if self._flush_call is not None:
                self._flush_call.cancel()
                self._flush_call = None
            self._hang_up()
            self.exited.fire(self._end)

    def _hang_up(self) -> None:
        """Close the terminal, whatever waits to be written: the kernel sends SIGHUP to the shell
        and to what runs in the foreground."""
        transport = cast(Any, self.transport)
        if transport.connected:
            transport.connectionLost(Failure(ConnectionDone()))


def _end_of(reason: Failure) -> tuple[int | None, str | None]:
    number = getattr(reason.value, "signal", None)
    if number is not None:
        try:
            return None, Signals(number).name
        except ValueError:  # a real-time signal
            return None, f"signal {number}"
    return getattr(reason.value, "exitCode", None) or 0, None
