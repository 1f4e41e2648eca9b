"""A start as one frozen value: what was asked, by whom, and everything that was resolved from
it."""

from __future__ import annotations

import shutil

import attrs
import msgspec
from attrs import frozen

from hapi.attempts import ATTEMPT_VARIABLE, AttemptFolder
from hapi.process import LaunchPlan
from hapi.protocol.attempt import AttemptRequest
from hapi.protocol.spawn import SpawnRequest, Worktree, environment_for, session_arguments
from hapi.runner.attempts.child import ChildSpec
from hapi.runner.config.options import RunnerOptions
from hapi.runner.spawn.codex_home import create_codex_home

# Fields of a request that request.json holds elsewhere, or must not hold at all.
NOT_SAVED = ("directory", "agent", "token")


@frozen
class StartRequest:
    """One start of a session. A check that learns more (a worktree, say) evolves a copy."""

    wanted: SpawnRequest  # with the default agent filled in
    asked_by: str  # `hub`, or `control` and what is known of the caller
    directory: str  # absolute
    options: RunnerOptions  # roots, limits, start lease and environment that apply to it
    worktree: Worktree | None = None  # the worktree it runs in, if this runner made one for it
    keeps_worktree: bool = False  # the worktree was made for an earlier process of the session
    in_linked_worktree: bool = False  # `directory` is a worktree already, so Cursor makes none

    @property
    def session_id(self) -> str | None:
        """The hub's id of the session to go on with. Starts with the same id are one start."""
        return self.wanted.requested_id

    @property
    def cwd(self) -> str:
        """The directory in which the session runs."""
        return self.directory if self.worktree is None else self.worktree.path

    @property
    def repository(self) -> str | None:
        """The top directory of the repository whose worktree it runs in."""
        return None if self.worktree is None else self.worktree.base_path

    @property
    def argv(self) -> tuple[str, ...]:
        """The command line of the session."""
        arguments = session_arguments(
            self.wanted, self.in_linked_worktree, self.options.uses_own_sessions
        )
        return (*self.options.session_command, *arguments)

    def prepare(self, now: float) -> PreparedStart:
        """Put the attempt on the disk at the epoch second `now`. Blocks; raises OSError."""
        folder = AttemptFolder.create(self.options.home, self._record(now))
        codex_home = None
        if self.wanted.token and self.wanted.flavor == "codex":
            try:
                codex_home = create_codex_home(self.options, self.wanted.token)
            except OSError:
                folder.remove()
                raise
        return PreparedStart(self, folder, now, codex_home)

    def _record(self, now: float) -> AttemptRequest:
        fields = msgspec.to_builtins(self.wanted)
        worktree = None
        if self.worktree is not None:
            worktree = {**attrs.asdict(self.worktree), "made_by_us": True}
            if self.keeps_worktree:
                worktree["kept"] = True
        return AttemptRequest(
            argv=self.argv,
            cwd=self.cwd,
            at=now,
            asked_by=self.asked_by,
            agent=self.wanted.flavor,
            existing_session_id=self.session_id,
            resume_session_id=self.wanted.resume_session_id,
            worktree=worktree,
            options={key: value for key, value in fields.items() if key not in NOT_SAVED},
        )


@frozen
class PreparedStart:
    """A start whose attempt is on the disk and whose process is not launched yet."""

    request: StartRequest
    folder: AttemptFolder
    started_at: float  # epoch seconds
    codex_home: str | None = None  # a private directory with the token of a Codex session

    @property
    def spec(self) -> ChildSpec:
        """What the registry is to know of the attempt."""
        request = self.request
        return ChildSpec(
            folder=self.folder,
            agent=request.wanted.flavor,
            directory=request.cwd,
            started_at=self.started_at,
            requested_id=request.session_id,
            announce_timeout=request.options.announce_timeout,
            start_timeout=request.options.start_timeout,
            worktree=request.worktree,
            keeps_worktree=request.keeps_worktree,
            private_directory=self.codex_home,
        )

    def launch_plan(self, directory: str) -> LaunchPlan:
        """What to launch; `directory` is a name of `cwd` that no symlink can turn elsewhere."""
        request = self.request
        environment = environment_for(
            request.wanted,
            request.options.environ,
            identity={**request.options.session_environment(), ATTEMPT_VARIABLE: self.folder.id},
            worktree=request.worktree,
            codex_home=self.codex_home,
        )
        environment["PWD"] = request.cwd
        return LaunchPlan(
            request.argv, directory, environment, self.folder, request.options.session_limits
        )

    def discard(self) -> None:
        """Remove everything that `prepare` made. Blocks."""
        self.folder.remove()
        if self.codex_home is not None:
            shutil.rmtree(self.codex_home, ignore_errors=True)
