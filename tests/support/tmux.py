"""A person at a terminal: programs in panes of a tmux server of our own, keys, and the screen."""

from __future__ import annotations

import re
import shlex
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from attrs import define, field

from tests.support.programs import Stage, until

# Runs a program and tells its end on the screen: tmux does not always see that of its own child.
RUN = """before=$(stty -g); "$@"; code=$?
[ "$(stty -g)" = "$before" ] || code="$code, with other settings of the terminal"
echo; echo "[exit code $code]"; exec cat"""
ENDED = re.compile(r"^\[(exit code .*)\]$", re.MULTILINE)


@define(eq=False)
class Terminal:
    """A tmux server that belongs to `stage`, which ends it with all that runs in it."""

    stage: Stage
    socket: Path = field(init=False)
    _count: int = 0

    def __attrs_post_init__(self) -> None:
        self.socket = self.stage.directory("t") / "s"  # short: a socket's path has a limit

    def tmux(self, *words: str, text: str | None = None) -> str:
        found = subprocess.run(
            ["tmux", "-S", str(self.socket), "-f", "/dev/null", *words],
            env={**self.stage.base, "TERM": "xterm-256color", "LC_ALL": "C.UTF-8"},
            input=text,
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        )
        return found.stdout

    def open(
        self,
        argv: Sequence[str],
        environment: Mapping[str, str],
        cwd: Path,
        columns: int = 90,
        rows: int = 30,
    ) -> Pane:
        """Run `argv` in a terminal of that size."""
        self._count += 1
        name = f"w{self._count}"
        variables = [f"{key}={value}" for key, value in environment.items()]
        command = ["env", *variables, "sh", "-c", RUN, "sh", *argv]
        self.tmux(
            *("new-session", "-d", "-s", name, "-x", str(columns), "-y", str(rows)),
            *("-c", str(cwd), shlex.join(command)),
            *(";", "set-option", "-t", name, "status", "off"),
        )
        return Pane(self, name)


@define(eq=False)
class Pane:
    terminal: Terminal
    name: str

    def keys(self, *names: str) -> None:
        """Press keys by tmux's names: Enter, Up, C-c, BTab, M-Enter; other words are typed."""
        self.terminal.tmux("send-keys", "-t", self.name, *names)

    def type(self, text: str) -> None:
        """Type `text`, without Enter."""
        self.terminal.tmux("send-keys", "-t", self.name, "-l", text)

    def paste(self, text: str) -> None:
        """Paste, with the brackets that a program has asked for."""
        self.terminal.tmux("load-buffer", "-", text=text)
        self.terminal.tmux("paste-buffer", "-p", "-t", self.name)

    def resize(self, columns: int, rows: int) -> None:
        size = ("-x", str(columns), "-y", str(rows))
        self.terminal.tmux("resize-window", "-t", self.name, *size)

    def screen(self, *more: str) -> str:
        """What is on the screen, without the empty lines below it."""
        return self.terminal.tmux("capture-pane", "-p", "-t", self.name, *more).rstrip()

    def everything(self) -> str:
        """The screen and what has scrolled out of it, with wrapped lines joined."""
        return self.screen("-J", "-S", "-2000")

    def wait(self, sight: str | Callable[[str], object], seconds: float = 60.0) -> str:
        """Wait until the screen shows that text, or satisfies that check; returns the screen."""

        def seen() -> str | None:
            screen = self.screen()
            found = sight in screen if isinstance(sight, str) else sight(screen)
            return screen if found else None

        try:
            return until(seen, seconds)
        except TimeoutError as late:
            raise TimeoutError(f"{sight!r} did not come; the screen:\n{self.screen()}") from late

    @property
    def line(self) -> str:
        """The line in which a person writes."""
        lines = [line for line in self.screen().splitlines() if line.startswith(">")]
        return lines[-1] if lines else ""

    def ending(self) -> str:
        """Wait for the end of the program: "exit code 0", and what it left of the terminal's
        settings if that is not what it found."""
        screen = self.wait(ENDED.search)
        found = ENDED.search(screen)
        assert found is not None
        return found[1]
