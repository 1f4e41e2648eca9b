"""Writes to a terminal without ever waiting for it.

A terminal that does not read (Ctrl+S, a slow line, a window that hangs) fills its buffer; the
reactor must not wait for it. What is written goes to a description of the terminal of our own that
does not block: the flags of the one that we share with the shell stay as they are.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, TextIO

from attrs import define, field
from twisted.internet.interfaces import IDelayedCall, IWriteDescriptor
from twisted.logger import Logger
from zope.interface import implementer

MAX_WAITING = 256 * 1024  # bytes that wait for the terminal; then all of them are dropped


def open_terminal(stream: TextIO) -> int | None:
    """A non-blocking descriptor of the terminal behind `stream`; None if it cannot be opened, for
    example after `su`."""
    try:
        return os.open(os.ttyname(stream.fileno()), os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
    except (OSError, ValueError):
        return None


@define
class TerminalStream:
    """What prompt_toolkit writes to: a text stream without a descriptor, whose mode it could set.

    It is written at the end of a turn of the reactor, so that what is erased and drawn again in one
    turn does not flicker.
    """

    _writer: TerminalWriter

    @property
    def encoding(self) -> str:
        return self._writer.encoding

    def write(self, text: str) -> int:
        self._writer.write(text)
        return len(text)

    def flush(self) -> None:
        """Nothing to do."""

    def isatty(self) -> bool:
        return True


@implementer(IWriteDescriptor)
@define(eq=False, repr=False)
class TerminalWriter:
    """Writes to the non-blocking descriptor `fd`.

    `encoding`: of the terminal; what it lacks is written as escapes. `on_drained` is called when
    nothing waits any more, with whether something was dropped meanwhile.
    """

    _reactor: Any
    _fd: int
    encoding: str = "utf-8"
    on_drained: Callable[[bool], object] = field(default=lambda dropped: None)
    _waiting: bytearray = field(factory=bytearray)
    _call: IDelayedCall | None = None
    _is_watched: bool = False
    _has_dropped: bool = False
    is_gone: bool = False
    log = Logger()

    @property
    def is_behind(self) -> bool:
        """Whether the terminal has not taken what was written before."""
        return self._is_watched

    def write(self, text: str) -> None:
        """Write `text` as soon as the terminal takes it."""
        self._waiting += text.encode(self.encoding, "backslashreplace")
        if len(self._waiting) > MAX_WAITING and self._is_watched:
            self._waiting.clear()
            self._has_dropped = True
        elif self._call is None and not self._is_watched:
            self._call = self._reactor.callLater(0, self._begin)

    def _begin(self) -> None:
        self._call = None
        self.doWrite()

    def write_now(self) -> None:
        """Write what waits, as far as the terminal takes it: the program ends."""
        if self._call is not None:
            self._call.cancel()
            self._call = None
        self.doWrite()

    def doWrite(self) -> None:
        try:
            while self._waiting:
                written = os.write(self._fd, self._waiting)
                del self._waiting[:written]
        except BlockingIOError:
            if not self._is_watched:
                self._is_watched = True
                self._reactor.addWriter(self)
            return
        except OSError:  # the terminal is gone; the session goes on
            self.log.debug("The terminal accepts no output")
            self._waiting.clear()
            self.is_gone = True
        if self._is_watched:
            self._is_watched = False
            self._reactor.removeWriter(self)
            dropped, self._has_dropped = self._has_dropped, False
            self.on_drained(dropped)

    def fileno(self) -> int:
        return self._fd

    def logPrefix(self) -> str:
        return "terminal"

    def connectionLost(self, reason: object) -> None:
        self.is_gone = True
        self._waiting.clear()
