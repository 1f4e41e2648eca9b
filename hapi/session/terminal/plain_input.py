"""The lines of a person without a line editor, or all of a piped input, read in a thread: a reactor
cannot watch a file."""

from __future__ import annotations

import os
import threading
from typing import Any, Protocol

from hapi.session.terminal.text import typed_text


class Reader(Protocol):
    """Who gets what was read, in the reactor's thread. `interactive`: line by line."""

    interactive: bool

    def typed(self, text: str) -> None: ...
    def typed_line(self, line: bytes) -> None: ...
    def end_of_input(self) -> None: ...


def read_in_thread(reactor: Any, reader: Reader) -> None:
    """Read standard input to its end."""
    target = _read_lines if reader.interactive else _read_all
    threading.Thread(target=target, args=(reactor, reader), daemon=True).start()


def _read_lines(reactor: Any, reader: Reader) -> None:
    rest = b""
    while data := _read_some():
        *lines, rest = (rest + data).split(b"\n")
        for line in lines:
            reactor.callFromThread(reader.typed_line, line)
    if rest:
        reactor.callFromThread(reader.typed_line, rest)
    reactor.callFromThread(reader.end_of_input)


def _read_all(reactor: Any, reader: Reader) -> None:
    said = b""
    while data := _read_some():
        said += data
    text = typed_text(said).rstrip("\r\n")
    if text.strip():
        reactor.callFromThread(reader.typed, text)
    reactor.callFromThread(reader.end_of_input)


def _read_some() -> bytes:
    """Read from the descriptor: a thread that waits in sys.stdin would hold its lock at exit."""
    try:
        return os.read(0, 65536)
    except OSError:
        return b""
