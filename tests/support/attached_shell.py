"""`hapi attach` in a terminal of its own."""

from __future__ import annotations

import fcntl
import os
import select
import struct
import subprocess
import termios
from typing import Any

from attrs import define

from tests.support.peers import OUR_HAPI, Cast, User
from tests.support.programs import until


@define(eq=False)
class AttachedShell:
    """`shown` is what the program has written into its terminal."""

    process: subprocess.Popen[bytes]
    _ours: int
    _theirs: int
    before: list[Any]  # the first state of the terminal
    shown: str = ""

    @classmethod
    def start(
        cls, cast: Cast, user: User, *words: str, cols: int = 100, rows: int = 30
    ) -> AttachedShell:
        ours, theirs = os.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", rows, cols, 0, 0))
        before = termios.tcgetattr(theirs)
        # its own session, whose terminal tells it about another size
        take = "import fcntl, os, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); "
        argv = [OUR_HAPI[0], "-c", take + "os.execv(sys.argv[1], sys.argv[1:])"]
        settings = cast.settings(user, cast.home("ours", "person"), "")
        process = subprocess.Popen(
            [*argv, *OUR_HAPI, "attach", *words],
            env={**cast.base, **settings},
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
        )
        return cls(process, ours, theirs, before)

    def type(self, text: str) -> None:
        os.write(self._ours, text.encode())

    def shows(self, text: str, since: int = 0) -> None:
        """Wait until the terminal has shown `text`."""

        def look() -> bool:
            self._read()
            return text in self.shown[since:]

        try:
            until(look)
        except TimeoutError:
            raise TimeoutError(f"{text!r} not in {self.shown[-4000:]!r}") from None

    def resize(self, cols: int, rows: int) -> None:
        fcntl.ioctl(self._ours, termios.TIOCSWINSZ, struct.pack("HHHH", rows, cols, 0, 0))

    def exit_code(self) -> int:
        """Wait for the end of the program."""
        until(lambda: self._read() or self.process.poll() is not None, what="the end of attach")
        self._read()
        return self.process.returncode

    @property
    def is_restored(self) -> bool:
        """Whether the terminal is in its first state."""
        return termios.tcgetattr(self._theirs) == self.before

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.close(self._ours)
        os.close(self._theirs)

    def _read(self) -> None:
        while select.select([self._ours], [], [], 0)[0]:
            self.shown += os.read(self._ours, 65536).decode("utf-8", "replace")
