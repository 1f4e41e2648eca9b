"""Running `git`: with a deadline, without questions, and without the variables that name another
repository."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from attrs import define
from twisted.internet.task import deferLater

from hapi.process.command import CommandResult, run_command

RETRY_DELAY = 1.0  # seconds
NO_QUESTIONS = {"GIT_TERMINAL_PROMPT": "0", "GIT_OPTIONAL_LOCKS": "0", "LC_ALL": "C.UTF-8"}
NO_SURPRISES = ("-c", f"core.hooksPath={os.devnull}", "-c", "core.fsmonitor=false")


@define
class Git:
    """Runs git commands with `environ`, less every `GIT_` variable of this process's own."""

    _reactor: Any  # IReactorProcess and IReactorTime
    _environ: Mapping[str, str]
    _timeout: float = 10.0  # seconds for one command; a hub waits 30 for a whole spawn

    async def run(
        self,
        directory: str,
        *arguments: str,
        environ: Mapping[str, str] | None = None,
        stdin: bytes = b"",
    ) -> CommandResult:
        """`git -C directory …` with `environ` added and `stdin` as its input. Never raises.

        No hook and no file system monitor runs. Other programs that the repository's configuration
        names do, where the command needs them: filters when files are checked out.
        """
        inherited = {
            name: value for name, value in self._environ.items() if not name.startswith("GIT_")
        }
        argv = ["git", "-C", directory, *NO_SURPRISES, *arguments]
        variables = inherited | NO_QUESTIONS | dict(environ or {})
        return await run_command(self._reactor, argv, variables, timeout=self._timeout, stdin=stdin)

    async def pause(self) -> None:
        """Wait until a command that another git process made fail may succeed."""
        await deferLater(self._reactor, RETRY_DELAY)
