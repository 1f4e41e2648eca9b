"""What a start is given before there is a process: its folder on the disk, its child, its environment."""

from __future__ import annotations

import shutil
from collections.abc import Callable

import attrs
import msgspec
from attrs import frozen
from twisted.internet.interfaces import IReactorTime

from hapi.attempts import ATTEMPT_VARIABLE, AttemptFolder
from hapi.protocol.attempt import AttemptRequest
from hapi.protocol.spawn import SpawnRequest, Worktree, environment_for, session_arguments
from hapi.runner.attempts.child import Child
from hapi.runner.config.options import RunnerOptions
from hapi.runner.spawn.codex_home import private_codex_home

NOT_KEPT = (
    "directory",
    "agent",
    "token",
)  # of a request: said elsewhere in request.json, and not to be said at all


@frozen
class Prepared:
    """A start that was judged: `cwd` is where it is to run. `goes_on`: the worktree is an earlier process's, and stays."""

    request: SpawnRequest
    options: RunnerOptions
    cwd: str
    asked_by: str
    at: float  # epoch seconds
    linked: bool = False  # its directory is a worktree already, which this agent wants to be told
    worktree: Worktree | None = None
    goes_on: bool = False

    @property
    def argv(self) -> tuple[str, ...]:
        return (*self.options.session_command, *session_arguments(self.request, self.linked))

    @property
    def top(self) -> str | None:
        """Of the repository whose worktree it is to run in."""
        return None if self.worktree is None else self.worktree.base_path

    def open_folder(self) -> AttemptFolder:
        """Raises OSError."""
        request = self.request
        kept = {
            key: value for key, value in msgspec.to_builtins(request).items() if key not in NOT_KEPT
        }
        worktree = None
        if self.worktree is not None:
            worktree = {**attrs.asdict(self.worktree), "made_by_us": True} | (
                {"kept": True} if self.goes_on else {}
            )
        asked = AttemptRequest(
            argv=self.argv,
            cwd=self.cwd,
            at=self.at,
            asked_by=self.asked_by,
            agent=request.flavor,
            existing_session_id=request.requested_id,
            resume_session_id=request.resume_session_id,
            worktree=worktree,
            options=kept,
        )
        return AttemptFolder.create(self.options.home, asked)

    def child(
        self, folder: AttemptFolder, clock: IReactorTime, give_up: Callable[[Child], object]
    ) -> Child:
        return Child(
            attempt=folder.id,
            folder=folder,
            clock=clock,
            give_up=give_up,
            agent=self.request.flavor,
            directory=self.cwd,
            started_at=self.at,
            requested_id=self.request.requested_id,
            announce_within=self.options.announce_within,
            start_within=self.options.start_within,
            worktree=self.worktree,
            keeps_worktree=self.goes_on,
        )

    def environment(self, child: Child) -> dict[str, str]:
        """What is made for it goes with the child."""
        codex_home = None
        if self.request.token and self.request.flavor == "codex":
            codex_home = made = private_codex_home(self.options, self.request.token)
            child.cleanup = lambda: shutil.rmtree(made, ignore_errors=True)
        identity = {**self.options.for_children(), ATTEMPT_VARIABLE: child.attempt}
        found = environment_for(
            self.request,
            self.options.environ,
            identity=identity,
            worktree=self.worktree,
            codex_home=codex_home,
        )
        return {**found, "PWD": self.cwd}
