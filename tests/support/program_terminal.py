"""A program on a terminal of its own, with a person who reads its screen and types."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import termios
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.support.programs import until

ESCAPES = re.compile(
    r"\x1b(\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(\x07|\x1b\\)|[PX^_].*?\x1b\\|.)", re.S
)
ROWS, COLUMNS = 40, 120


class ProgramTerminal:
    """`shown` is all that the program has written so far, without control sequences."""

    def __init__(self, argv: Sequence[str], directory: Path, environ: Mapping[str, str]) -> None:
        self._written = bytearray()
        self.pid, self._terminal = pty.fork()
        if self.pid == 0:
            os.chdir(directory)
            os.execvpe(argv[0], list(argv), {**environ, "TERM": "xterm-256color"})
        size = struct.pack("HHHH", ROWS, COLUMNS, 0, 0)
        fcntl.ioctl(self._terminal, termios.TIOCSWINSZ, size)
        self._reading = threading.Thread(target=self._read, daemon=True)
        self._reading.start()

    def _read(self) -> None:
        while True:
            try:
                data = os.read(self._terminal, 65536)
            except OSError:
                return
            if not data:
                return
            self._written += data

    @property
    def shown(self) -> str:
        return ESCAPES.sub("", self._written.decode(errors="replace"))

    def type(self, text: str) -> None:
        os.write(self._terminal, text.encode())

    def wait_for(self, text: str, after: int = 0) -> None:
        """Wait until the screen was given `text`; `after`: characters that were there before."""
        until(
            lambda: text in self.shown[after:],
            what=f"{text!r} on the screen, which ends with {self.shown[-2000:]!r}",
        )

    def enter(self, text: str) -> None:
        """Type a line, and Enter once the program has shown the line: what comes together with a
        text may count as pasted."""
        before = len(self.shown)
        self.type(text)
        self.wait_for(text.rsplit(maxsplit=1)[-1], before)
        self.type("\r")

    def wait(self, seconds: float = 60.0) -> int:
        """The exit code of the program."""
        deadline = time.monotonic() + seconds
        while True:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                return os.waitstatus_to_exitcode(status)
            assert time.monotonic() < deadline, self.shown[-2000:]
            time.sleep(0.05)  # waitpid tells of no end by itself, and this is the only thread
