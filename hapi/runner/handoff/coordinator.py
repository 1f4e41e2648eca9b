"""The hand-offs of one runner: when one is due, and the runner's own start as a replacement.

One coordinator for each runner. It checks whether another build is installed (`upgrade.py`), has it
take over (`handoffs.py`), and, in a runner that was itself started as a replacement, takes the home
over from the outgoing runner (`incoming.py`).
"""

from __future__ import annotations

import os
import time
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from attrs import Factory, define, field
from twisted.logger import Logger
from twisted.python.failure import Failure

from hapi.build import Build, Installation
from hapi.deferreds import run_in_background
from hapi.process import IProcesses
from hapi.protocol.control import HandoffBegan, LeavesForSupervisor, Restart, RestartRefused
from hapi.runner.handoff.descriptors import HandoverDescriptors, InheritedDescriptors, StartCommand
from hapi.runner.handoff.handoffs import Handoffs
from hapi.runner.handoff.incoming import IncomingHandoff
from hapi.runner.handoff.interfaces import HandoffRunner
from hapi.runner.handoff.upgrade import BuildWatch, UpgradeThrottle, reason_to_postpone
from hapi.runner.storage.state_file import identity_digest
from hapi.runner.supervision.supervisor import Supervision

if TYPE_CHECKING:
    from hapi.protocol.control import ReplaceRunner
    from hapi.runner.handoff.replacement import IReplacement
    from hapi.runner.handoff.trial import ITrial, TrialFailed, TrialRuns
    from hapi.runner.handoff.verification import ExpectedStatus
    from hapi.runner.lock.home_lock import RunnerLock

# The running build is read so many seconds after the start, unless a caller asks for it before.
LOAD_BUILD_DELAY = 3.0
EXIT_RESTART = 75  # exit code: the supervisor is to start this runner again
EMBEDDED = Supervision("none", "the program that it is part of", is_replaceable=False)


@define(eq=False, repr=False)
class HandoffCoordinator:
    """Decides on hand-offs and restarts.

    `start` is the command line that starts this program again; without it no hand-off is possible.
    """

    _clock: Any
    _processes: IProcesses
    _runner: HandoffRunner
    supervision: Supervision = EMBEDDED
    _start: StartCommand | None = None
    inherited: InheritedDescriptors | None = None
    _watch: BuildWatch = Factory(
        lambda self: BuildWatch(self._clock, Installation()), takes_self=True
    )
    _make_replacement: Callable[[HandoverDescriptors], IReplacement] | None = None
    _query_status: Callable[[], Awaitable[Mapping[str, Any]]] | None = None
    _make_trial: Callable[[Build | None], ITrial] | None = None
    _now: Callable[[], float] = time.time
    throttle: UpgradeThrottle = field(init=False)
    _handoffs: Handoffs = field(init=False)
    last_failure: dict[str, Any] | None = None
    failures: int = 0  # hand-offs and trial starts that failed
    postponed_because: str | None = None  # why an installed build does not run yet
    _incoming: IncomingHandoff | None = None
    _trials: TrialRuns | None = None
    log = Logger()

    def __attrs_post_init__(self) -> None:
        self.throttle = UpgradeThrottle(self._clock)
        self._handoffs = Handoffs(
            self._clock,
            self._processes,
            self._runner,
            self.supervision,
            self._record_failure,
            self._make_replacement,
            self._query_status,
        )
        if self.inherited is not None:
            self._handoffs.add_peer(self.inherited.outgoing_pid)
            self._incoming = IncomingHandoff(
                self._clock,
                self._processes,
                self.inherited,
                self._abandoned,
                self._outgoing_left,
            )

    def is_peer(self, pid: int) -> bool:
        """Whether that process is, or was, the other runner of a hand-off."""
        return self._handoffs.is_peer(pid)

    # --- this runner as the replacement

    @property
    def leaves_silently(self) -> bool:
        """Whether this runner must leave without telling the hub or touching a file.

        That is so while another runner serves this home.
        """
        return self._is_on_probation or self.handed_over_to is not None

    @property
    def _is_on_probation(self) -> bool:
        return self._incoming is not None and not self._incoming.confirmed

    async def take_over(self, lock: RunnerLock) -> None:
        """In a replacement: report ready, wait for the outgoing runner, take the lock over."""
        if self._incoming is not None:
            ages = await self._incoming.take_over(lock)
            self.throttle = UpgradeThrottle.after(self._clock, ages)

    def _abandoned(self) -> None:
        self._runner.retire("exception", 1)

    def _outgoing_left(self) -> None:
        """When the hub restarted during the hand-off, the outgoing runner may have connected after
        this one. npm's hub then took its methods away with its link, and gave them to nobody.
        """
        self._runner.hub.resume()

    def startup_failed(self, reason: Failure) -> None:
        """In a replacement: tell the outgoing runner why this one cannot start."""
        if self._incoming is not None:
            self._incoming.startup_failed(reason)

    # --- leaving

    async def leave(self, source: str) -> None:
        """Before this runner leaves: end a replacement that is coming up.

        In a replacement: tell the outgoing runner that this one was stopped.
        """
        self._handoffs.is_leaving = True
        if self._incoming is not None:
            self._incoming.leave(source)
        if self._trials is not None:
            await self._trials.cancel()
        await self._handoffs.abandon()

    def stop_replacement(self) -> None:
        """Pass on a signal that arrives after the hand-off: the replacement is meant."""
        self._handoffs.stop_replacement()

    # --- this runner as the outgoing one

    @property
    def in_progress(self) -> bool:
        """Whether a hand-off is going on, in which the files may belong to another runner."""
        return self._handoffs.in_progress

    @property
    def handed_over_to(self) -> int | None:
        """The pid of the replacement that has taken over."""
        return self._handoffs.handed_over_to

    def check_for_upgrade(self) -> None:
        """Check whether another build is installed, and start a hand-off to it when possible.

        Called by each heartbeat.
        """
        if self._handoffs.is_leaving or self._handoffs.in_progress or self.is_trying:
            return
        if self._runner.options.handoff_disabled:
            return
        build = self._watch.check()
        if build is None:
            self.postponed_because = None
            if self._watch.confirming and self.supervision.mode != "none":
                self._runner.after(self._watch.confirm, self.check_for_upgrade)
            return
        before, self.postponed_because = self.postponed_because, self._reason_to_postpone()
        if self.postponed_because is not None:
            if self.postponed_because != before:
                self.log.warn(
                    "Another build is installed but does not run yet: {reason}",
                    reason=self.postponed_because,
                )
        elif self.supervision.mode == "restart":
            run_in_background(self._leave_for(build), self.log, "Leaving for another build failed")
        else:
            self._hand_over_to(build)

    def _reason_to_postpone(self) -> str | None:
        has_command = self._start is not None
        return reason_to_postpone(self._runner, self.supervision, self.throttle, has_command)

    # --- restarts by a supervisor

    @property
    def is_trying(self) -> bool:
        """Whether a trial start is going on. It touches no file of this home."""
        return self._trials is not None and self._trials.in_progress

    async def _leave_for(self, build: Build) -> None:
        """Have the supervisor start `build`, after a trial start of it."""
        if await self._failure_of_trial(build) is not None or self._handoffs.is_leaving:
            return
        self.postponed_because = self._reason_to_postpone()
        if self.postponed_because is None:  # no session has been started meanwhile
            self.log.info(
                "Another build is installed and starts: leaving, so that {supervisor} starts it",
                supervisor=self.supervision.by,
            )
            self._runner.retire("hapi-cli", EXIT_RESTART)

    async def begin_restart(self, actor: str) -> Restart:
        """Have the installed build run in this runner's place, as `actor` asks.

        A supervised runner must leave for its supervisor to start it again, once a trial start has
        shown that the build starts. Another one begins a hand-off to its own command line.
        """
        from hapi.protocol.control import ReplacementRefused
        from hapi.runner.handoff.requested import expected_status

        if self.restarted_by_supervisor:
            failed = await self._failure_of_trial(None)
            return LeavesForSupervisor() if failed is None else RestartRefused(failed.clause)
        if self.supervision.mode == "none" or self._start is None:
            return RestartRefused(f"only {self.supervision.by} may restart it")
        if self._handoffs.is_leaving:
            return RestartRefused("it is stopping")
        if (
            under_way := self._handoffs.replacement
        ) is not None:  # asked twice, or another build is being started by itself
            return HandoffBegan(under_way.pid)
        try:
            pid = self._begin_requested(
                self._start,
                lambda pid: expected_status(self._runner, self._runner.options.argv, pid),
                actor,
                moves_output=True,
            )
        except ReplacementRefused as error:
            return RestartRefused(str(error))
        return HandoffBegan(pid)

    def keep_trial_failure(self, reason: str, output: str | None, actor: str) -> None:
        """Keep why a trial start of the installed build that `actor` made has failed."""
        if not self._handoffs.is_leaving:
            where = None if output is None else Path(output)
            self._record_failure("trial-start-failed", reason, where, actor=actor)

    async def _failure_of_trial(self, build: Build | None) -> TrialFailed | None:
        from hapi.runner.handoff.trial import TrialRuns

        if self._start is None and self._make_trial is None:
            return None  # how this program is started is not known
        if self._trials is None:
            self._trials = TrialRuns(self._make_trial or self._new_trial)
        failed = await self._trials.failure_of(build)
        if failed is not None and not self._handoffs.is_leaving:
            self._record_failure("trial-start-failed", str(failed), failed.output, build=build)
        return failed

    def _new_trial(self, build: Build | None) -> ITrial:
        from hapi.runner.handoff.trial import Trial

        assert self._start is not None
        return Trial(
            self._clock, self._processes, self._start, self._runner.options.home, expected=build
        )

    def _record_failure(
        self,
        event: str,
        reason: str,
        output: Path | None,
        build: Build | None = None,
        **facts: Any,
    ) -> None:
        """Keep why the installed build does not run, for the status, the journal and the log."""
        where = None if output is None else str(output)
        facts |= {"version": build.version, "digest": build.digest} if build is not None else {}
        self._runner.record_event(event, reason=reason, output=where, **facts)
        self.throttle.failed()
        self.failures += 1
        self.last_failure = {
            "reason": reason,
            "at": int(self._now() * 1000),
            "output": where,
            "replacement": facts.get("replacement"),
        }
        self.log.error(
            "The installed build does not start, so this runner keeps serving: {reason}",
            reason=reason,
            output=where,
        )

    def _hand_over_to(self, build: Build) -> None:
        from hapi.runner.handoff.verification import ExpectedStatus

        runner = self._runner
        self.log.info(
            "Another build is installed ({version}, {digest}): handing over",
            version=build.version,
            digest=build.digest,
        )
        runner.record_event(
            "handoff-began", pid=os.getpid(), version=build.version, digest=build.digest
        )
        self._handoffs.begin(
            self._start,
            lambda pid: ExpectedStatus.of(runner.options, build, pid, runner.endpoints.port or 0),
            self.throttle.success_ages,
            moves_output=True,
        )

    def replace(self, asked: ReplaceRunner, actor: str) -> int:
        """Hand over to the program that `actor` asks for; the pid of the replacement.

        The outcome is that of any hand-off, and so is what `status` tells of it. Raises
        ReplacementRefused if the hand-off cannot begin.
        """
        from hapi.protocol.control import ReplacementRefused
        from hapi.runner.handoff.requested import expected_status, start_command

        if (under_way := self._handoffs.replacement) is not None:
            raise ReplacementRefused("a hand-off is going on already", under_way.pid)
        if asked.pid != os.getpid() or self._handoffs.is_leaving:
            raise ReplacementRefused("another command has stopped or replaced the runner")
        if not self.supervision.is_replaceable:
            raise ReplacementRefused(f"only {self.supervision.by} may restart this runner")
        return self._begin_requested(
            start_command(asked),
            lambda pid: expected_status(self._runner, asked.words, pid),
            actor,
            moves_output=False,
        )

    def _begin_requested(
        self,
        start: StartCommand,
        expect: Callable[[int], ExpectedStatus],
        actor: str,
        *,
        moves_output: bool,
    ) -> int:
        """Begin a hand-off that `actor` asks for; the pid of the replacement.

        Raises ReplacementRefused.
        """
        from hapi.protocol.control import ReplacementRefused

        self._runner.record_event("handoff-began", pid=os.getpid(), actor=actor)
        self.log.info("Handing over on request of {actor}", actor=actor)
        outgoing = self._handoffs.begin(start, expect, list, moves_output=moves_output)
        if outgoing.replacement is None:
            raise ReplacementRefused(str((self.last_failure or {}).get("reason")))
        return outgoing.replacement.pid

    # --- status

    @property
    def restarted_by_supervisor(self) -> bool:
        """Whether a supervisor starts this runner again when it exits with code 75."""
        return self.supervision.mode in ("restart", "notify")

    def load_running_build(self) -> None:
        """Read the running build and load the modules of a hand-off while that build is installed.

        Later the files may be those of the next build.
        """
        self._watch.running()
        if self.supervision.mode == "notify" or self.supervision.is_replaceable:
            import hapi.runner.control.client
            import hapi.runner.handoff.outgoing
            import hapi.runner.handoff.replacement
            import hapi.runner.handoff.requested
            import hapi.runner.handoff.verification

            del hapi
        elif self.supervision.mode == "restart":
            import hapi.runner.control.client
            import hapi.runner.handoff.trial

            del hapi

    def status(self) -> dict[str, Any]:
        """The part of `/status` about builds. `current` is None while no build can be read."""
        options = self._runner.options
        running = self._watch.running()
        current = self._watch.is_current()
        return {
            "build": {"version": running.version, "digest": running.digest}
            if running is not None
            else None,
            "buildModifiedAt": self._watch.modified_at(),
            "current": current,
            "identity": identity_digest(options.access, options.machine_id),
            "handoff": {
                "mode": "disabled" if options.handoff_disabled else self.supervision.mode,
                "restartedBy": self.supervision.by,
                "replaceable": self.supervision.is_replaceable,
                "underWay": self._handoffs.in_progress or self.is_trying or self._is_on_probation,
                "waitsFor": None if current else self._why_not(options.handoff_disabled),
                "lastFailure": self.last_failure,
                "failures": self.failures,
                "nextTryIn": self.throttle.next_try_in(),
                "off": self.throttle.off,
            },
        }

    def _why_not(self, disabled: bool) -> str | None:
        if disabled:
            return "HAPI_DISABLE_VERSION_HANDOFF=1"
        if self.supervision.mode == "none":
            return f"only {self.supervision.by} may restart this runner"
        return self.postponed_because
