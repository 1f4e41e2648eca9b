"""Shells with the completion of `hapi`, as people use them: with a terminal and a Tab key."""

from __future__ import annotations

import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

BIN = Path(sys.executable).parent
TIMEOUT = 60.0  # seconds
# What is typed ends up in the arguments of this function, not of the program.
PRINT = "hapi() { printf '<%s>' \"$@\"; echo; }"
SETUP = {
    "bash": f"PS1='R''EADY> '; eval \"$(command hapi completion bash)\"; {PRINT}",
    "zsh": "PS1='R''EADY> '; autoload -U compinit; compinit -u -d \"$HOME/dump\"; "
    f'eval "$(command hapi completion zsh)"; {PRINT}',
}
COMMANDS = {"bash": ["bash", "--norc", "--noprofile", "-i"], "zsh": ["zsh", "-f", "-i"]}
PROMPT = "READY> "


class TerminalShell:
    """A bash or zsh on a terminal of its own."""

    def __init__(self, kind: str, directory: Path, environ: dict[str, str]) -> None:
        self.output = ""
        self.pid, self._terminal = pty.fork()
        if self.pid == 0:
            os.chdir(directory)
            path = f"{BIN}{os.pathsep}{os.environ['PATH']}"
            own = {"PATH": path, "TERM": "dumb", "HOME": str(directory), "INPUTRC": "/dev/null"}
            os.execvpe(COMMANDS[kind][0], COMMANDS[kind], {**environ, **own})
        self._type(SETUP[kind] + "\r")
        self._wait_for(PROMPT)

    def arguments_after_tab(self, line: str) -> list[str]:
        """The arguments of `hapi` when a person types `line`, Tab and Enter."""
        self.output = ""
        self._type(line + "\t")
        time.sleep(0.2)  # some shells complete less while input waits
        self._type("\r")
        self._wait_for(PROMPT)
        # zsh takes the slash that it added off the last argument
        return [word.rstrip("/") for word in re.findall(r"<([^>]*)>", self.output)]

    def end(self) -> None:
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        os.close(self._terminal)

    def _type(self, text: str) -> None:
        os.write(self._terminal, text.encode())

    def _wait_for(self, text: str) -> None:
        deadline = time.monotonic() + TIMEOUT
        while text not in self.output:
            assert time.monotonic() < deadline, self.output
            if select.select([self._terminal], [], [], 1.0)[0]:
                self.output += os.read(self._terminal, 65536).decode(errors="replace")


def fish_completions(line: str, directory: Path, environ: dict[str, str]) -> list[str]:
    """What fish offers after `line`."""
    path = f"{BIN}{os.pathsep}{os.environ['PATH']}"
    script = f"hapi completion fish | source; complete -C '{line}'"
    done = subprocess.run(
        ["fish", "--no-config", "-c", script],
        env={**environ, "PATH": path, "HOME": str(directory)},
        cwd=directory,
        capture_output=True,
        text=True,
        check=True,
        timeout=TIMEOUT,
    )
    return [offered.partition("\t")[0] for offered in done.stdout.splitlines()]
