"""From build to build: watches what is installed, lets a replacement take over, or came up as one. One for each runner.

The old side's protocol is in handoff.py, the new side's proof in inherit.py; here both meet the runner.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Protocol

from attrs import define, field, frozen
from twisted.internet.defer import CancelledError, Deferred, TimeoutError
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure

from hapi.build import Build, Installation
from hapi.process import IProcesses
from hapi.protocol.spawn import SpawnRefused
from hapi.runner.inherit import Heirlooms, Inheritance, OwnStart, seen
from hapi.runner.options import RunnerOptions
from hapi.runner.state import identity
from hapi.runner.supervisor import Supervision, notify
from hapi.runner.watch import BuildWatch, Pace

if TYPE_CHECKING:
    from hapi.runner.handoff import Expected, Handoff, Outcome
    from hapi.runner.listening import ControlSite
    from hapi.runner.lock import RunnerLock
    from hapi.runner.machine import Machine
    from hapi.runner.replacement import IReplacement
    from hapi.runner.sockets import Listeners
    from hapi.runner.state import RunnerState, StateFile
    from hapi.runner.talk import Talk

TRY_AGAIN = "The runner is being replaced by a newer build; try again in a moment"
GLANCE = 0.01  # seconds between looks whether all is answered
LEARN_AFTER = 3.0  # seconds after the start at which the running build is looked at, unless somebody asks before
SEE_IT_GO = 1.0  # seconds until a predecessor whose socket closed is gone
RESTART = 75  # exit code: please start me again
EMBEDDED = Supervision("none", "the program that it is part of")


@frozen
class Parts:
    """What of a runner takes part in a hand-off."""

    lock: RunnerLock | None
    states: StateFile
    state: RunnerState | None
    listeners: Listeners | None
    site: ControlSite | None
    machine: Machine | None


class Runner(Protocol):
    """What is asked of the runner."""

    options: RunnerOptions
    children: Any
    spawner: Any

    @property
    def registered(self) -> bool: ...
    def parts(self) -> Parts: ...
    def take_over_sessions(self) -> None: ...
    def retire(self, source: Any, exit_code: int) -> None: ...
    def after(self, seconds: float, call: Callable[[], object]) -> None: ...
    def status(self) -> Mapping[str, Any]: ...


def fingerprint(options: RunnerOptions) -> str:
    """The identity at the hub, comparable and telling nothing: hub, machine, hashes of token and headers."""
    facts = json.dumps(identity(options.access, options.machine_id), sort_keys=True)
    return hashlib.sha256(facts.encode()).hexdigest()[:32]


@define(eq=False)
class Succession:
    """`start`: how to start this program again; without it nothing can. `made` stands in for the real replacement in tests."""

    _clock: Any
    _processes: IProcesses
    supervision: Supervision = EMBEDDED
    _start: OwnStart | None = None
    inheritance: Inheritance | None = None
    _watch: BuildWatch | None = None
    _make: Callable[[Heirlooms], IReplacement] | None = None
    _ask: Callable[[], Deferred[Mapping[str, Any]]] | None = None
    _now: Callable[[], float] = time.time
    pace: Pace = field(init=False)
    handed_over_to: int | None = None
    last_failure: dict[str, Any] | None = None
    waits_for: str | None = None  # why a build that is due does not run yet
    _runner: Runner = field(init=False)
    _handoff: Handoff | None = None
    _talk: Talk | None = None
    _confirmed: bool = False
    _leaving: bool = False
    log = Logger()

    def __attrs_post_init__(self) -> None:
        self.pace = Pace(self._clock)
        self._watch = self._watch or BuildWatch(self._clock, Installation())

    def attach(self, runner: Runner) -> None:
        self._runner = runner

    # --- the new side

    @property
    def on_probation(self) -> bool:
        """We are a replacement that has not been given the home yet: lock, state and socket files are not ours to remove."""
        return self.inheritance is not None and not self._confirmed

    @property
    def silent(self) -> bool:
        """Whether we leave without a word to the hub and without touching a file: another runner of this home goes on."""
        return self.on_probation or self.handed_over_to is not None

    async def inherit(self, lock: RunnerLock) -> None:
        """Nothing unless we are a replacement: say that we are ready, wait for our turn, take the lock over."""
        if self.inheritance is None:
            return
        from hapi.runner.talk import TalkEnded, talk_on

        found = self.inheritance
        lock.inherit(found.lock)
        self._talk = talk_on(self._clock, found.talk)
        self._talk.say("ready")
        try:
            message = await self._talk.hear()
        except TalkEnded:
            await self._see_it_go()
        else:
            token = message.get("token")
            found.token = token if isinstance(token, str) and token else None
            self.pace = Pace.after(self._clock, seen(message.get("ages")))
            waiting = Deferred.fromCoroutine(self._await_confirmation(self._talk))
            waiting.addErrback(lambda reason: self.log.failure("Waiting for the old runner failed", reason))
        lock.take_over()

    async def _await_confirmation(self, talk: Talk) -> None:
        from hapi.runner.talk import TalkEnded

        try:
            await talk.hear()
        except TalkEnded:
            if self._leaving:
                return
            try:
                await self._see_it_go()
            except PredecessorStays as error:
                self.log.error("{reason}", reason=str(error))
                self._runner.retire("exception", 1)
            return
        self._confirm("The old runner has given us this home")
        talk.say("mine")

    async def _see_it_go(self) -> None:
        """It closed without a word: killed in the middle. Then what we inherited is ours. Raises PredecessorStays."""
        assert self.inheritance is not None
        before = self._processes.identify(self.inheritance.predecessor)
        if before is not None and before.pid == os.getppid():  # if it were gone we had another parent
            try:
                await self._processes.when_exited(before).addTimeout(SEE_IT_GO, self._clock)
            except (TimeoutError, CancelledError):
                raise PredecessorStays(f"process {before.pid} did not hand this home over") from None
        self._confirm("The old runner died while it handed over; its home is ours")

    def _confirm(self, words: str) -> None:
        self._confirmed = True
        self.log.info(words)

    def could_not_come_up(self, reason: Failure) -> None:
        """Tell the old runner why we end."""
        if self._talk is not None and self.on_probation:
            self._talk.say("failed", reason=reason.getErrorMessage()[:500])

    # --- leaving

    async def leave(self, source: str) -> None:
        """First of all: a replacement that is coming up goes, or, when we are it, the old runner hears that we were stopped."""
        self._leaving = True
        if self._handoff is not None:
            await self._handoff.abandon()
        elif self._talk is not None and self.on_probation:
            if source != "exception":
                self._talk.say("leaving", reason=source)
            self._talk.end()

    def stopped_again(self) -> None:
        """A signal while we retire: whoever sent it meant the runner, and that is another process by now."""
        if self.handed_over_to is not None and self._handoff is not None and self._handoff.replacement is not None:
            self._handoff.replacement.terminate()

    # --- the old side

    @property
    def under_way(self) -> bool:
        """A hand-off is going on: files may be another's for a moment."""
        return self._handoff is not None

    def look(self) -> None:
        """See whether another build is installed, and do what is to be done then. Called by each beat."""
        if self._leaving or self._handoff is not None or self._runner.options.handoff_disabled or self._watch is None:
            return
        build = self._watch.look()
        if build is None:
            self.waits_for = None
            if self._watch.confirming and self.supervision.mode != "none":
                self._runner.after(self._watch.confirm, self.look)
            return
        before, self.waits_for = self.waits_for, self._hindrance()
        if self.waits_for is not None:
            if self.waits_for != before:
                self.log.warn("Another build is installed and does not run yet: {reason}", reason=self.waits_for)
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
            live = len(self._runner.children.live())
            if live:
                return f"{self.supervision.by} restarts this runner when its {live} live sessions have ended"
            return None
        machine = self._runner.parts().machine
        if not self._runner.registered or machine is None or machine.status().get("phase") != "connected":
            return "a replacement could not show that it works: the hub is away"
        admission = self._runner.spawner.admission
        if admission is not None and admission.draining is not None:
            return "this runner is drained, which a replacement would not know (`hapi runner resume` ends it)"
        return self.pace.hindrance()

    def _begin(self, build: Build) -> None:
        from hapi.runner.handoff import Handoff

        self.log.info(
            "Another build is installed ({version}, {digest}): handing over", version=build.version, digest=build.digest
        )
        self._handoff = Handoff(self._clock, self, self._start_it, lambda pid: self._expected(build, pid))
        running = Deferred.fromCoroutine(self._handoff.run())
        running.addCallback(self._came_out)
        running.addErrback(lambda reason: self.log.failure("Handing over failed", reason))

    def _start_it(self) -> IReplacement:
        from hapi.runner.replacement import CannotStart, start_replacement

        parts = self._runner.parts()
        if parts.lock is None or parts.listeners is None or self._start is None:
            raise CannotStart("the control port is closed")
        heirlooms = Heirlooms(parts.lock.descriptor, *parts.listeners.descriptors())
        if self._make is not None:
            return self._make(heirlooms)
        return start_replacement(self._clock, self._processes, self._start, heirlooms)

    def _expected(self, build: Build, pid: int) -> Expected:
        from hapi.runner.handoff import Expected

        options, listeners = self._runner.options, self._runner.parts().listeners
        return Expected(
            pid=pid,
            version=build.version,
            digest=build.digest,
            argv=tuple(options.argv),
            workspace_roots=tuple(options.workspace_roots),
            session_command=tuple(options.session_command),
            hub=options.access.url,
            machine_id=options.machine_id,
            identity=fingerprint(options),
            port=listeners.port if listeners is not None else 0,
        )

    def _came_out(self, outcome: Outcome) -> None:
        from hapi.runner.handoff import Done, Failed, Stopped

        match outcome:
            case Done(pid):
                self.log.info("Process {pid} has taken over", pid=pid)
                if self.supervision.mode == "notify" and not notify(self._runner.options.environ, f"MAINPID={pid}"):
                    self.log.warn("systemd could not be told that process {pid} is the main one now", pid=pid)
                self.handed_over_to = pid
                self._runner.retire("hapi-cli", 0)
            case Failed(reason):
                self._handoff = None
                self.pace.failed()
                self.last_failure = {"reason": reason, "at": int(self._now() * 1000)}
                if not self._leaving:
                    self.log.error("The hand-off failed and this runner serves on: {reason}", reason=reason)
            case Stopped(reason):
                self._handoff = None
                self.log.info("Leaving: the replacement was asked to stop ({reason})", reason=reason)
                self._runner.retire("hapi-cli", 0)

    # --- what the hand-off asks of us (handoff.Predecessor)

    async def fall_quiet(self) -> None:
        parts, spawner = self._runner.parts(), self._runner.spawner
        since = self._clock.seconds()
        while spawner.under_way:
            if self._clock.seconds() - since > 5.0:
                spawner.closed = TRY_AGAIN  # those that are begun are finished, and none more begins
                if spawner.admission is not None:
                    spawner.admission.refuse_all(SpawnRefused(TRY_AGAIN))
            await deferLater(self._clock, GLANCE)
        spawner.closed = TRY_AGAIN
        if parts.listeners is not None:
            parts.listeners.pause()
        if parts.site is not None:
            parts.site.parting = True
            while parts.site.busy:
                await deferLater(self._clock, GLANCE)

    def baton(self) -> Mapping[str, Any]:
        state = self._runner.parts().state
        return {"token": state.control_token if state is not None else None, "ages": self.pace.ages_for_successor()}

    async def ask(self) -> Mapping[str, Any]:
        if self._ask is not None:
            return await self._ask()
        from hapi.runner.client import ControlClient

        return await ControlClient(self._clock, self._runner.options.home, self._runner.options.environ).status()

    def serve_again(self, other: int) -> None:
        parts = self._runner.parts()
        if parts.lock is not None:
            parts.lock.take_back(other)
        if parts.state is not None:
            parts.states.write(parts.state)
        if self._leaving:
            return
        self._runner.spawner.closed = None
        self._catch_up()
        if parts.site is not None:
            parts.site.parting = False
        if parts.listeners is not None:
            parts.listeners.resume()
        if parts.machine is not None:
            parts.machine.claim_again()

    def _catch_up(self) -> None:
        """What the other one began or heard is ours to know."""
        self._runner.take_over_sessions()
        for child in self._runner.children.live():
            session = child.folder.session if child.session_id is None else None
            if session is not None and child.identity is not None:
                host = self._processes.identify(session.host_pid) if session.host_pid else None
                self._runner.children.reported(child, session.session_id, host or child.identity)
                child.life.announced(session.session_id)

    # --- telling

    @property
    def restarted_by_another(self) -> bool:
        """Whether somebody starts us again when we end with 75."""
        return self.supervision.mode in ("restart", "notify")

    def learn(self) -> None:
        """Read the running build while it is the installed one, and load from it what a hand-off needs: not from the next."""
        if self._watch is None:
            return
        self._watch.running()
        if self.supervision.mode in ("self", "notify"):
            import hapi.runner.client
            import hapi.runner.handoff
            import hapi.runner.replacement

            del hapi

    def status(self) -> dict[str, Any]:
        """The part of `/status` that is about builds. `current`: None while the installed one cannot be read."""
        options = self._runner.options
        running = self._watch.running() if self._watch is not None else None
        current = self._watch.is_current() if self._watch is not None else None
        return {
            "build": {"version": running.version, "digest": running.digest} if running is not None else None,
            "current": current,
            "identity": fingerprint(options),
            "handoff": {
                "mode": "disabled" if options.handoff_disabled else self.supervision.mode,
                "restartedBy": self.supervision.by,
                "underWay": self.under_way,
                "waitsFor": None if current else self._why_not(options.handoff_disabled),
                "lastFailure": self.last_failure,
                "nextTryIn": self.pace.next_try_in(),
                "off": self.pace.off,
            },
        }

    def _why_not(self, disabled: bool) -> str | None:
        if disabled:
            return "HAPI_DISABLE_VERSION_HANDOFF=1"
        if self.supervision.mode == "none":
            return f"restarts are the business of {self.supervision.by}"
        return self.waits_for


class PredecessorStays(Exception):
    """The old runner neither handed over nor went."""


def part_of(reactor: Any, owner: str, environ: Mapping[str, str] | None = None) -> Succession:
    """That of a runner in a program with other services or another start than ours: it never replaces itself.

    With `environ` the program has nothing but the runner in it, and a supervisor that the environment tells of may be asked
    for a restart.
    """
    from hapi.process import SystemProcesses
    from hapi.runner.supervisor import supervision

    found = supervision(environ) if environ is not None else Supervision()
    return Succession(
        reactor,
        SystemProcesses(reactor),
        Supervision("restart" if found.mode in ("notify", "restart") else "none", found.by or owner),
    )


def succession_of(
    reactor: Any, environ: Mapping[str, str], start: OwnStart, inheritance: Inheritance | None, detached: bool
) -> Succession:
    """That of a program that is a runner and nothing else."""
    from hapi.process import SystemProcesses
    from hapi.runner.supervisor import in_foreground, supervision

    found = supervision(environ, detached=detached, terminal=in_foreground())
    return Succession(reactor, SystemProcesses(reactor), found, start, inheritance)
