"""From build to build: watches what is installed, lets a replacement take over, or came up as one. One for each runner.

The old side's protocol is in handoff.py and what it does to the runner in predecessor.py; the new side is incoming.py.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Protocol

from attrs import Factory, define, field
from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from hapi.build import Build, Installation
from hapi.process import IProcesses
from hapi.runner.handoff.descriptors import HandoverDescriptors, InheritedDescriptors, StartCommand
from hapi.runner.handoff.incoming import IncomingHandoff
from hapi.runner.handoff.predecessor import Predecessor
from hapi.runner.handoff.predecessor import Runner as Replaced
from hapi.runner.handoff.upgrade import BuildWatch, UpgradeThrottle
from hapi.runner.storage.journal import RecordEvent
from hapi.runner.storage.state_file import identity_digest
from hapi.runner.supervision.supervisor import Supervision, notify

if TYPE_CHECKING:
    from hapi.runner.handoff.outgoing import Outcome, OutgoingHandoff
    from hapi.runner.handoff.replacement import IReplacement
    from hapi.runner.lock.home_lock import RunnerLock

LOAD_BUILD_DELAY = 3.0  # seconds after the start at which the running build is looked at, unless somebody asks before
RESTART = 75  # exit code: please start me again
EMBEDDED = Supervision("none", "the program that it is part of")


class Runner(Replaced, Protocol):
    """What is asked of the runner."""

    @property
    def registered(self) -> bool: ...
    @property
    def after(self) -> Callable[[float, Callable[[], object]], object]: ...
    @property
    def record_event(self) -> RecordEvent: ...
    def retire(self, source: Any, exit_code: int) -> None: ...


@define(eq=False)
class HandoffCoordinator:
    """`start`: how to start this program again; without it nothing can. `made` stands in for the real replacement in tests."""

    _clock: Any
    _processes: IProcesses
    supervision: Supervision = EMBEDDED
    _start: StartCommand | None = None
    inherited: InheritedDescriptors | None = None
    _watch: BuildWatch = Factory(
        lambda self: BuildWatch(self._clock, Installation()), takes_self=True
    )
    _make: Callable[[HandoverDescriptors], IReplacement] | None = None
    _ask: Callable[[], Deferred[Mapping[str, Any]]] | None = None
    _now: Callable[[], float] = time.time
    throttle: UpgradeThrottle = field(init=False)
    handed_over_to: int | None = None
    last_failure: dict[str, Any] | None = None
    postponed_because: str | None = None  # why a build that is due does not run yet
    _runner: Runner = field(init=False)
    _old: Predecessor = field(init=False)
    _incoming: IncomingHandoff | None = None
    _handoff: OutgoingHandoff | None = None
    _leaving: bool = False
    _others: set[int] = field(factory=set)
    log = Logger()

    def __attrs_post_init__(self) -> None:
        self.throttle = UpgradeThrottle(self._clock)
        if self.inherited is not None:
            self._others.add(self.inherited.predecessor)
            self._incoming = IncomingHandoff(
                self._clock, self._processes, self.inherited, self._on_abandoned
            )

    def attach(self, runner: Runner) -> None:
        self._runner = runner
        self._old = Predecessor(
            self._clock,
            self._processes,
            runner,
            self._start,
            lambda: self.throttle,
            self._make,
            self._ask,
        )

    def is_peer(self, pid: int) -> bool:
        """Whether that process is, or was, the other side of a hand-off."""
        return pid in self._others

    # --- as the one that replaces

    @property
    def leaves_silently(self) -> bool:
        """Whether we leave without a word to the hub and without touching a file: another runner of this home goes on."""
        on_probation = self._incoming is not None and not self._incoming.confirmed
        return on_probation or self.handed_over_to is not None

    async def take_over(self, lock: RunnerLock) -> None:
        """Nothing unless we are a replacement: say that we are ready, wait for our turn, take the lock over."""
        if self._incoming is not None:
            self.throttle = UpgradeThrottle.after(self._clock, await self._incoming.take_over(lock))

    def _on_abandoned(self) -> None:
        self._runner.retire("exception", 1)

    def startup_failed(self, reason: Failure) -> None:
        if self._incoming is not None:
            self._incoming.startup_failed(reason)

    # --- leaving

    async def leave(self, source: str) -> None:
        """First of all: a replacement that is coming up goes, or, when we are it, the old runner hears that we were stopped."""
        self._leaving = self._old.leaving = True
        if self._incoming is not None:
            self._incoming.leave(source)
        if self._handoff is not None:
            await self._handoff.abandon()

    def stop_replacement(self) -> None:
        """A signal while we retire: whoever sent it meant the runner, and that is another process by now."""
        if (
            self.handed_over_to is not None
            and self._handoff is not None
            and self._handoff.replacement is not None
        ):
            self._handoff.replacement.terminate()

    # --- as the one that is replaced

    @property
    def in_progress(self) -> bool:
        """A hand-off is going on: files may be another's for a moment."""
        return self._handoff is not None

    def check_for_upgrade(self) -> None:
        """See whether another build is installed, and do what is to be done then. Called by each beat."""
        if self._leaving or self._handoff is not None or self._runner.options.handoff_disabled:
            return
        build = self._watch.check()
        if build is None:
            self.postponed_because = None
            if self._watch.confirming and self.supervision.mode != "none":
                self._runner.after(self._watch.confirm, self.check_for_upgrade)
            return
        before, self.postponed_because = self.postponed_because, self._hindrance()
        if self.postponed_because is not None:
            if self.postponed_because != before:
                self.log.warn(
                    "Another build is installed and does not run yet: {reason}",
                    reason=self.postponed_because,
                )
        elif self.supervision.mode == "restart":
            self.log.info("Another build is installed: {by} is to start it", by=self.supervision.by)
            self._runner.retire("hapi-cli", RESTART)
        else:
            self._begin(build)

    def _hindrance(self) -> str | None:
        """Why the build that is due cannot be started now."""
        mode = self.supervision.mode
        if mode == "none" or (mode != "restart" and self._start is None):
            return f"restarts are the business of {self.supervision.by}"
        if mode == "restart":
            live = len(self._runner.sessions.children.live())
            if live:
                return f"{self.supervision.by} restarts this runner when its {live} live sessions have ended"
            return None
        machine = self._runner.parts().machine
        if (
            not self._runner.registered
            or machine is None
            or machine.status().get("phase") != "connected"
        ):
            return "a replacement could not show that it works: the hub is away"
        if self._runner.sessions.drain.is_temporary:
            return "this runner is drained for a restart (`hapi runner resume` ends it)"
        return self.throttle.hindrance()

    def _begin(self, build: Build) -> None:
        from hapi.runner.handoff.outgoing import OutgoingHandoff

        self.log.info(
            "Another build is installed ({version}, {digest}): handing over",
            version=build.version,
            digest=build.digest,
        )
        self._runner.record_event(
            "handoff-began", pid=os.getpid(), version=build.version, digest=build.digest
        )
        self._handoff = OutgoingHandoff(
            self._clock,
            self._old,
            self._old.start_replacement,
            lambda pid: self._old.expected(build, pid),
        )
        running = Deferred.fromCoroutine(self._handoff.run())
        if self._handoff is not None and self._handoff.replacement is not None:
            self._others.add(self._handoff.replacement.pid)
        running.addCallback(self._came_out)
        running.addErrback(lambda reason: self.log.failure("Handing over failed", reason))

    def _came_out(self, outcome: Outcome) -> None:
        from hapi.runner.handoff.outgoing import Done, Failed, Stopped

        replacement = self._handoff.replacement if self._handoff is not None else None
        pids: dict[str, Any] = {
            "pid": os.getpid(),
            "replacement": replacement.pid if replacement is not None else None,
        }
        match outcome:
            case Done(pid):
                self._runner.record_event("handoff-done", **pids)
                self.log.info("Process {pid} has taken over", pid=pid)
                if self.supervision.mode == "notify" and not notify(
                    self._runner.options.environ, f"MAINPID={pid}"
                ):
                    self.log.warn(
                        "systemd could not be told that process {pid} is the main one now", pid=pid
                    )
                self.handed_over_to = pid
                self._runner.retire("hapi-cli", 0)
            case Failed(_) if self._leaving:
                self._runner.record_event(
                    "handoff-stopped", reason="the old runner was asked to stop", **pids
                )
                self._handoff = None
            case Failed(reason):
                self._runner.record_event("handoff-failed", reason=reason, **pids)
                self._handoff = None
                self.throttle.failed()
                self.last_failure = {"reason": reason, "at": int(self._now() * 1000)}
                self.log.error(
                    "The hand-off failed and this runner serves on: {reason}", reason=reason
                )
            case Stopped(reason):
                self._runner.record_event("handoff-stopped", reason=reason, **pids)
                self._handoff = None
                self.log.info(
                    "Leaving: the replacement was asked to stop ({reason})", reason=reason
                )
                self._runner.retire("hapi-cli", 0)

    # --- telling

    @property
    def restarted_by_supervisor(self) -> bool:
        """Whether somebody starts us again when we end with 75."""
        return self.supervision.mode in ("restart", "notify")

    def load_running_build(self) -> None:
        """Read the running build while it is the installed one, and load from it what a hand-off needs: not from the next."""
        self._watch.running()
        if self.supervision.mode in ("self", "notify"):
            import hapi.runner.control.client
            import hapi.runner.handoff.outgoing
            import hapi.runner.handoff.replacement

            del hapi

    def status(self) -> dict[str, Any]:
        """The part of `/status` that is about builds. `current`: None while the installed one cannot be read."""
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
                "underWay": self.in_progress,
                "waitsFor": None if current else self._why_not(options.handoff_disabled),
                "lastFailure": self.last_failure,
                "nextTryIn": self.throttle.next_try_in(),
                "off": self.throttle.off,
            },
        }

    def _why_not(self, disabled: bool) -> str | None:
        if disabled:
            return "HAPI_DISABLE_VERSION_HANDOFF=1"
        if self.supervision.mode == "none":
            return f"restarts are the business of {self.supervision.by}"
        return self.postponed_because


def embedded_coordinator(
    reactor: Any, owner: str, environ: Mapping[str, str] | None = None
) -> HandoffCoordinator:
    """That of a runner in a program with other services or another start than ours: it never replaces itself.

    With `environ` the program has nothing but the runner in it, and a supervisor that the environment tells of may be asked
    for a restart.
    """
    from hapi.process.kernel import local_processes
    from hapi.runner.supervision.supervisor import supervision

    found = supervision(environ) if environ is not None else Supervision()
    return HandoffCoordinator(
        reactor,
        local_processes(reactor),
        Supervision(
            "restart" if found.mode in ("notify", "restart") else "none", found.by or owner
        ),
    )


def program_coordinator(
    reactor: Any,
    environ: Mapping[str, str],
    start: StartCommand,
    inherited: InheritedDescriptors | None,
    detached: bool,
) -> HandoffCoordinator:
    """That of a program that is a runner and nothing else."""
    from hapi.process.kernel import local_processes
    from hapi.runner.supervision.supervisor import in_foreground, supervision

    found = supervision(environ, detached=detached, terminal=in_foreground())
    return HandoffCoordinator(reactor, local_processes(reactor), found, start, inherited)
