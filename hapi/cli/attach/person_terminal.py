"""The terminal in which a command runs, in raw mode: keys come as they are, text goes as it is."""

from __future__ import annotations

import os
import signal
import sys
import termios
import tty
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from attrs import define
from twisted.internet import fdesc
from twisted.internet.abstract import FileDescriptor
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReadDescriptor
from twisted.internet.main import CONNECTION_DONE
from twisted.python.failure import Failure
from zope.interface import implementer

PIECE_SIZE = 64 * 1024  # bytes read at a time
DRAIN_TIMEOUT = 2.0  # seconds that the terminal may take for the last of the output


class NoTerminal(Exception):
    """Standard input or output is no terminal."""


class _Output(FileDescriptor):
    """Writes to the terminal as fast as it takes the text."""

    def __init__(self, reactor: Any, descriptor: int) -> None:
        super().__init__(reactor)
        self._descriptor = descriptor
        self.connected = 1
        self.when_closed: Deferred[None] = Deferred()

    def fileno(self) -> int:
        return self._descriptor

    def writeSomeData(self, data: bytes) -> Any:
        return fdesc.writeToFD(self._descriptor, data)

    def connectionLost(self, reason: Failure) -> None:
        super().connectionLost(reason)  # type: ignore[no-untyped-call]
        self.when_closed.callback(None)


@implementer(IReadDescriptor)
@define(eq=False, repr=False)
class PersonTerminal:
    """`on_data` gets what is typed, b"" at the end of the input; `on_resize` is called when the
    size has changed. Both may be set at any time.

    The output has an open file of its own, so that no other program of the terminal finds it in
    non-blocking mode.
    """

    _reactor: Any
    on_data: Callable[[bytes], object] = lambda _: None
    on_resize: Callable[[], object] = lambda: None
    _before: list[Any] | None = None  # the first state of the terminal
    _is_raw: bool = False
    _output: _Output | None = None
    _descriptor: int | None = None

    def open(self) -> None:
        """Raises NoTerminal."""
        for stream, name in ((sys.stdin, "input"), (sys.stdout, "output")):
            try:
                is_terminal = stream.isatty()
            except (AttributeError, ValueError):  # closed
                is_terminal = False
            if not is_terminal:
                raise NoTerminal(f"standard {name} is not a terminal")
        self._before = termios.tcgetattr(self.fileno())
        try:
            path = os.ttyname(sys.stdout.fileno())
            flags = os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
            self._descriptor = os.open(path, flags)
        except OSError:  # as in a container that does not show the terminal's device
            self._descriptor = os.dup(sys.stdout.fileno())
        self._output = _Output(self._reactor, self._descriptor)

    def make_raw(self) -> None:
        self._is_raw = True
        tty.setraw(self.fileno(), termios.TCSANOW)
        self._reactor.addReader(self)  # what was typed before is still there
        signal.signal(signal.SIGWINCH, lambda *_: self._reactor.callFromThread(self._resized))
        signal.signal(signal.SIGCONT, lambda *_: self._reactor.callFromThread(self._continued))

    def restore(self) -> None:
        """Put the terminal into its first state; can be called at any time, again too."""
        if self._before is not None:
            with suppress(termios.error, OSError):  # it has gone
                termios.tcsetattr(self.fileno(), termios.TCSANOW, self._before)
        self._is_raw = False

    async def close(self, last: str) -> None:
        """Write `last` after everything else, and let go of the terminal."""
        self._reactor.removeReader(self)
        signal.signal(signal.SIGWINCH, signal.SIG_DFL)
        signal.signal(signal.SIGCONT, signal.SIG_DFL)
        output, self._output = self._output, None
        if output is not None:
            output.unregisterProducer()
            output.write(last.encode())
            output.loseConnection()  # type: ignore[no-untyped-call]
            with suppress(Exception):
                await output.when_closed.addTimeout(DRAIN_TIMEOUT, self._reactor)
            output.stopReading()  # type: ignore[no-untyped-call]
            output.stopWriting()  # type: ignore[no-untyped-call]
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
        self.restore()

    async def read_line(self) -> str | None:
        """The next line of the person, before the terminal is raw; None at the end of the input."""
        line: Deferred[bytes] = Deferred()
        self.on_data = line.callback
        self._reactor.addReader(self)
        data = await line
        self._reactor.removeReader(self)
        return data.decode("utf-8", "replace") if data else None

    def size(self) -> tuple[int, int]:
        """Columns and rows."""
        try:
            size = os.get_terminal_size(self.fileno())
        except OSError:
            return 80, 24
        return size.columns or 80, size.lines or 24

    def write(self, text: str) -> None:
        if self._output is not None:
            self._output.write(text.encode("utf-8", "replace"))

    def pace(self, producer: Any) -> None:
        """Have `producer`, a push producer, pause while the terminal is slower than it."""
        if self._output is not None:
            self._output.unregisterProducer()
            self._output.registerProducer(producer, True)

    # --- IReadDescriptor
    def fileno(self) -> int:
        return sys.stdin.fileno()

    def logPrefix(self) -> str:
        return "terminal"

    def doRead(self) -> None:
        try:
            data = os.read(self.fileno(), PIECE_SIZE)
        except OSError:
            data = b""
        if not data:
            self._reactor.removeReader(self)
        self.on_data(data)

    def connectionLost(self, reason: Failure = Failure(CONNECTION_DONE)) -> None:
        """Twisted's name for the end of a descriptor."""

    # --- inside
    def _resized(self) -> None:
        self.on_resize()

    def _continued(self) -> None:
        """The process was stopped, and the person's shell has had the terminal meanwhile."""
        if self._is_raw:
            tty.setraw(self.fileno(), termios.TCSANOW)
            self.on_resize()
