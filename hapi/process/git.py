"""Running `git`: with a deadline, without questions, and without the variables that name another
repository."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attrs import define
from twisted.internet.task import deferLater

from hapi.process.command import CommandResult, run_command

RETRY_DELAY = 1.0  # seconds
NO_QUESTIONS = {"GIT_TERMINAL_PROMPT": "0", "GIT_OPTIONAL_LOCKS": "0", "LC_ALL": "C.UTF-8"}


@define
class Git:
    """Runs git commands with `environ`, less every `GIT_` variable of this process's own."""

    _reactor: Any  # IReactorProcess and IReactorTime
    _environ: Mapping[str, str]
    _timeout: float = 10.0  # seconds for one command; a hub waits 30 for a whole spawn

    async def run(self, directory: str, *arguments: str) -> CommandResult:
        """`git -C directory …`. Never raises."""
        inherited = {
            name: value for name, value in self._environ.items() if not name.startswith("GIT_")
        }
        argv = ["git", "-C", directory, *arguments]
        return await run_command(
            self._reactor, argv, inherited | NO_QUESTIONS, timeout=self._timeout
        )

    async def pause(self) -> None:
        """Wait until a command that another git process made fail may succeed."""
        await deferLater(self._reactor, RETRY_DELAY)
