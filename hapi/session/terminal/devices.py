"""The person's terminal as prompt_toolkit's input and output."""

from __future__ import annotations

import os
import termios
from codecs import getincrementaldecoder
from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any, TextIO, cast

from prompt_toolkit.data_structures import Size
from prompt_toolkit.input.vt100 import Vt100Input
from prompt_toolkit.key_binding import KeyPress
from prompt_toolkit.keys import Keys
from prompt_toolkit.output.color_depth import ColorDepth
from prompt_toolkit.output.vt100 import Vt100_Output

from hapi.session.terminal.writer import TerminalStream, TerminalWriter

USUAL_SIZE = Size(rows=24, columns=80)  # of a terminal that does not say
MIN_COLUMNS, MIN_ROWS = 10, 4  # below, everything is drawn as if it had that many
READ_SIZE = 4096  # bytes
MAX_TYPED = 32  # characters in one read that are taken for typed ones
COLOURLESS_TERMS = ("vt100", "vt102", "vt220", "xterm-mono", "dumb")


class TerminalInput(Vt100Input):
    """Keys from the non-blocking descriptor `fd`. A terminal that is gone is closed."""

    def __init__(self, fd: int, encoding: str = "utf-8") -> None:
        self._file: TextIO = os.fdopen(fd, "r", encoding=encoding, closefd=False)
        super().__init__(self._file)
        self._decoder = getincrementaldecoder(encoding)(errors="replace")
        self._is_gone = False

    def read_keys(self) -> list[KeyPress]:
        try:
            data = os.read(self.fileno(), READ_SIZE)
        except BlockingIOError:
            return []
        except OSError:
            data = b""
        if not data:
            self._is_gone = True
            return []
        self.vt100_parser.feed(self._decoder.decode(data))
        keys, self._buffer = self._buffer, []
        return joined(keys)

    @property
    def closed(self) -> bool:
        return self._is_gone


def joined(keys: Sequence[KeyPress]) -> list[KeyPress]:
    """`keys` with runs of more characters than somebody types between two reads as one paste each:
    every key costs as much as the line is long. Ends of lines stay keys."""
    found: list[KeyPress] = []
    for is_text, group in groupby(keys, lambda key: key.key == key.data and key.data.isprintable()):
        run = list(group)
        if is_text and len(run) > MAX_TYPED:
            text = "".join(key.data for key in run)
            run = [KeyPress(Keys.BracketedPaste, text)]
        found += run
    return found


def terminal_output(writer: TerminalWriter, environ: Mapping[str, str]) -> Vt100_Output:
    """What draws through `writer`. It never asks the terminal for the position of its cursor: an
    answer may come late, or never."""

    def size() -> Size:
        try:
            columns, rows = os.get_terminal_size(writer.fileno())
        except OSError:
            columns = rows = 0
        if not columns or not rows:
            return USUAL_SIZE
        return Size(rows=max(rows, MIN_ROWS), columns=max(columns, MIN_COLUMNS))

    return Vt100_Output(
        cast(TextIO, TerminalStream(writer)),
        size,
        term=environ.get("TERM"),
        default_color_depth=colour_depth(environ),
        enable_cpr=False,
    )


def colour_depth(environ: Mapping[str, str]) -> ColorDepth:
    """How many colours the terminal shows: none with NO_COLOR (no-color.org) or an old TERM."""
    term = environ.get("TERM", "")
    if environ.get("NO_COLOR") or term in COLOURLESS_TERMS or term.endswith("-m"):
        return ColorDepth.DEPTH_1_BIT
    if environ.get("COLORTERM") in ("truecolor", "24bit"):
        return ColorDepth.DEPTH_24_BIT
    return ColorDepth.DEPTH_8_BIT if "256" in term else ColorDepth.DEPTH_4_BIT


class TerminalState:
    """The settings of the terminal (termios) when the session began, and the way back to them."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._settings: Any = None
        try:
            self._settings = termios.tcgetattr(fd)
        except termios.error:
            return

    def restore(self) -> None:
        if self._settings is not None:
            try:
                termios.tcsetattr(self._fd, termios.TCSADRAIN, self._settings)
            except termios.error:
                return
