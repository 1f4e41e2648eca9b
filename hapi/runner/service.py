"""The runner as a service: comes up in order, beats, leaves in order. Its sessions outlive it."""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Callable, Coroutine, Mapping
from typing import Any

import msgspec
from twisted.application.service import Service
from twisted.internet.defer import CancelledError, Deferred, TimeoutError, maybeDeferred
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.resource import IResource

from hapi import __version__
from hapi.attempts import sweep
from hapi.net.rpc import RpcTable
from hapi.once import Once
from hapi.process import IProcesses
from hapi.protocol.control import Listed, SessionStarted
from hapi.protocol.machine import AGENT_CONFIGS, RunnerFacts, ShutdownSource, runner_capabilities, spawn_error
from hapi.protocol.spawn import SpawnRefused, SpawnRequest, SpawnResult
from hapi.runner.admission import Admission
from hapi.runner.adoption import Adoption
from hapi.runner.announcements import Announcements, Verdict
from hapi.runner.availability import Availability
from hapi.runner.child import LEFT, Child
from hapi.runner.children import Children
from hapi.runner.git import Git
from hapi.runner.guard import Door
from hapi.runner.heartbeat import Heartbeat
from hapi.runner.inherit import NONE
from hapi.runner.journal import Journal
from hapi.runner.listening import ControlSite, Guarded
from hapi.runner.lock import HomeHeld, LockUnusable, RunnerLock, Superseded
from hapi.runner.machine import Machine
from hapi.runner.methods import offer_methods
from hapi.runner.options import RunnerOptions
from hapi.runner.peers import PeerLookup, find_holder
from hapi.runner.reloading import Reloading
from hapi.runner.reports import Reports
from hapi.runner.retention import Retention
from hapi.runner.revive import Reviver
from hapi.runner.sockets import Listeners
from hapi.runner.spawning import Spawner
from hapi.runner.state import RunnerState, StateFile, as_npm_writes_it, identity, state_of_this_run
from hapi.runner.stuck import Thresholds
from hapi.runner.succession import LEARN_AFTER, Parts, Succession
from hapi.runner.surroundings import Surroundings, surroundings
from hapi.runner.tally import Tally
from hapi.runner.work import work_of
from hapi.runner.worktrees import Worktrees
from hapi.shown import Secrets

STOPPED, FAILED, HELD, SUPERSEDED, RESTART = 0, 1, 3, 4, 75  # exit codes of a program that is this service

END_REPLACEMENT, FAREWELL, CLOSE_LINK, CLOSE_PORTS = 0.3, 0.5, 0.4, 0.2  # seconds; npm's `runner stop` sends SIGKILL after 2.0
REVIVE_AFTER = 2.0  # seconds from registration: until then the ends of what died meanwhile are known
LOOK_AROUND_AFTER = 3.0  # seconds: nobody waits for it
DRAINED = "This runner is being drained and starts no sessions (`hapi runner resume` ends that)"


class RunnerService(Service):
    """One runner of one home. `on_retired(exit_code)` is called when it has left by itself; the reactor is the host's.

    Coming up: lock, control port and socket, state file, adoption, then registration and link in the background.
    Leaving, in less than 1.5 s whatever the hub does: hub told, link closed, ports closed, state and lock removed.
    """

    log = Logger()

    def __init__(
        self,
        reactor: Any,
        options: RunnerOptions,
        processes: IProcesses,
        *,
        on_retired: Callable[[int], object] | None = None,
        on_step: Callable[[str], object] | None = None,
        lookup: PeerLookup | None = None,
        machine: Callable[[Any, RunnerOptions, RunnerFacts, RpcTable], Machine] = Machine,
        lock: RunnerLock | None = None,
        now: Callable[[], float] = time.time,
        retention: Retention | None = None,
        succession: Succession | None = None,
        surroundings: Surroundings | None = None,
    ) -> None:
        self.options, self._clock, self._processes, self._now = options, reactor, processes, now
        self._on_retired, self._on_step = on_retired, on_step
        self._lookup = lookup or PeerLookup()
        self._make_machine = machine
        self._lock = lock
        self._retention = retention or Retention()
        self._states = StateFile(options.home)
        self.succession = succession or Succession(reactor, processes)
        self.succession.attach(self)
        self._state: RunnerState | None = None
        self._listeners: Listeners | None = None
        self._site: ControlSite | None = None
        self._machine: Machine | None = None
        self._control: IResource | None = None
        self._coming_up: Deferred[None] | None = None
        self._left: Once[None] | None = None
        self._source: ShutdownSource = "os-signal"
        self._keeps_files = False
        self._up: Once[None] = Once()
        self._registered: Once[None] = Once()
        self._soon: list[IDelayedCall] = []
        self.token = secrets.token_urlsafe(32)
        self.phase = "new"
        self.started_at = now()
        git = Git(reactor, options.environ)
        self.children = Children(reactor, processes, Worktrees(git), now)
        self.reports = Reports(reactor, self.after)
        self.children.thresholds = Thresholds.read(options.settings)
        self.children.on_reported = self.reports.follow
        self.availability = Availability.of(options)
        self.spawner = Spawner(
            reactor,
            options,
            processes,
            self.children,
            Worktrees(git),
            self.availability,
            self._spawn_failed,
            self._spawned,
            now=now,
        )
        self.admission = Admission(reactor, options.limits, lambda: len(self.children.live()), self.after)
        self.spawner.admission = self.admission
        self.children.on_ended = lambda child: self.admission.look()
        self._announcements = Announcements(reactor, options.home, processes, self.children, now=now)
        hidden = Secrets()
        hidden.add(options.access.token)
        self.journal = Journal(options.home, hidden, now)
        self.note = self.children.note = self.spawner.note = self._announcements.note = self.journal.note
        self.reports.on_ready = lambda child: child.adopted or self.note("ready", child)
        self.reviver = Reviver(self.children, self.spawn, self.after, now, self.note)
        self._reloading = Reloading(self)
        self.tally = Tally(reactor)
        self._surroundings = surroundings
        self._heartbeat = Heartbeat(reactor, options.heartbeat, self._beat)

    # --- for the host

    @property
    def port(self) -> int | None:
        """The TCP port of the control API, None while it is closed."""
        return self._listeners.port if self._listeners is not None else None

    @property
    def registered(self) -> bool:
        return self._machine is not None and self._machine.registered

    def when_up(self) -> Deferred[None]:
        """Fires when the control API answers; errs with HomeHeld, LockUnusable … when it never will."""
        return self._up.when()

    def when_registered(self) -> Deferred[None]:
        """Fires when the hub knows this machine."""
        return self._registered.when()

    def reload(self) -> None:
        """Read the settings again: another hub or token makes a new link. The hub is tried at once."""
        self._reloading.ask()

    def try_hub(self) -> None:
        if self._machine is not None:
            self._machine.try_now()

    def use(self, options: RunnerOptions) -> None:
        """Go on with these options, as far as a running runner can: hub, token, headers, agents."""
        self.options = options
        self.availability = Availability.of(options)
        self.spawner.use(options, self.availability)
        if self._state is not None:
            known = identity(options.access, options.machine_id)
            self._state = msgspec.structs.replace(self._state, **{"started_with_extra_headers_hash": None, **known})
            self._states.write(self._state)

    async def unlink(self) -> None:
        """Take leave of the hub, in a bounded time. The machine it was stays our `_machine` until the next one comes."""
        machine = self._machine
        if machine is not None:
            await self._within(FAREWELL, "telling the hub", lambda: machine.farewell(self._source, FAREWELL - 0.05))
            await self._within(CLOSE_LINK, "closing the link", machine.close)
            maybeDeferred(machine.link.stopService).addErrback(lambda _: None)

    def link_again(self) -> None:
        if self._machine is not None and self._left is None:
            self._link()

    def startService(self) -> None:
        super().startService()  # type: ignore[no-untyped-call]
        if self.options.titled:
            take_title()
        if self._lock is None:  # not before: a daemon is another process than the one that made us
            self._lock = RunnerLock(self.options.home, self._processes, self._clock, __version__)
        self._coming_up = Deferred.fromCoroutine(self._come_up(self._lock))
        self._coming_up.addErrback(self._could_not_come_up)

    def stopService(self) -> Deferred[None]:
        """Leave in order; whoever asks while we do waits for the same leaving."""
        super().stopService()  # type: ignore[no-untyped-call]
        if self._left is not None:
            if not self._left.happened:
                self.succession.stopped_again()
        else:
            self._left = Once()
            leaving = Deferred.fromCoroutine(self._leave())
            leaving.addErrback(lambda reason: self.log.failure("Leaving failed", reason)).addCallback(self._left.happen)
        return self._left.when()

    def retire(self, source: ShutdownSource, exit_code: int) -> None:
        """End of our own accord, then tell the host."""
        self._source = source
        first = self._left is None
        left = self.stopService()
        if first and self._on_retired is not None:
            left.addCallback(self._tell_host, self._on_retired, exit_code)
            left.addErrback(lambda reason: self.log.failure("The host did not take our leave", reason))

    def _tell_host(self, _: None, on_retired: Callable[[int], object], exit_code: int) -> None:
        on_retired(exit_code)

    # --- coming up

    async def _come_up(self, lock: RunnerLock) -> None:
        self._step("locking")
        await self.succession.inherit(lock)
        if lock.begin():
            self.after(0.0, load_client)  # while the lock settles
        await lock.acquire()
        self._step("lock held")
        self._listen()
        self._step("control open")
        self._states.set_aside_if_broken(self._now())
        self._state = self._first_state()
        self._states.write(self._state)
        self._step("state written")
        self.note("runner-started", pid=os.getpid(), version=__version__, argv=list(self.options.argv))
        self._adopt()
        self._step("adopted")
        self._heartbeat.startService()
        if self._surroundings is not None:
            self.after(LOOK_AROUND_AFTER, self._surroundings.look)
        self._link()
        self._step("serving")
        self._up.happen(None)

    def _step(self, name: str) -> None:
        """Where we are: for `status`, and for tests that end the process right there."""
        self.phase = name
        if self._on_step is not None:
            self._on_step(name)

    def _listen(self) -> None:
        inherited = self.succession.inheritance
        if inherited is not None and inherited.token:
            self.token = inherited.token
        guarded = Guarded(os.geteuid(), lambda: self.port, self.token, self._resource)
        self._site = site = ControlSite(self._clock, guarded, self._lookup)
        if inherited is not None:
            unix = inherited.unix if inherited.unix != NONE else None
            self._listeners = Listeners.adopt(self._clock, self.options.home.runner_socket, site, inherited.tcp, unix)
            return
        self._listeners = Listeners.open(self._clock, self.options.control_port, self.options.home.runner_socket, site)
        try:
            self._listeners.open_unix(site)
        except (OSError, CannotListenError) as error:
            path = str(self.options.home.runner_socket)
            self.log.warn("{path} cannot be opened, callers have the port alone: {reason}", path=path, reason=str(error))

    def _resource(self) -> IResource:
        if self._control is None:
            from hapi.runner.control import control_resource

            self._control = control_resource(self)
        return self._control

    def _first_state(self) -> RunnerState:
        return state_of_this_run(
            access=self.options.access,
            machine_id=self.options.machine_id,
            port=self.port or 0,
            argv=self.options.argv,
            now=self._now(),
            version=__version__,
            token=self.token,
            log_path=self.options.log_path,
            handoff_disabled=self.options.handoff_disabled,
        )

    def _adopt(self) -> None:
        sweep(self.options.home)
        self.take_over_sessions()

    def take_over_sessions(self) -> None:
        """Make children of what the folders tell of and we do not know."""
        known = {child.attempt for child in self.children}
        us = self._processes.identify(os.getpid())
        adoption = Adoption(
            self._clock,
            self.options.home,
            self._processes,
            self.children,
            us.boot_id if us is not None else "",
            self.spawner.give_up,
            self.options.announce_within,
            self._now,
            self.options.start_within,
        )
        if count := adoption.run():
            self.log.info("{count} live sessions taken over", count=count)
        for child in self.children.live():
            if child.adopted and child.attempt not in known:
                self.note("adopted", child)

    def _link(self) -> None:
        facts = RunnerFacts(
            os.getpid(),
            self.port or 0,
            int(self.started_at * 1000),
            runner_capabilities([*AGENT_CONFIGS, *self.availability.more_configs()]),
        )
        rpc = RpcTable(self.options.machine_id)
        offer_methods(rpc, self)
        self._machine = self._make_machine(self._clock, self.options, facts, rpc)
        self.tally.follow(self._machine.link)
        self._machine.on_registered = self._is_registered
        self._machine.start()

    def _is_registered(self) -> None:
        if not self._registered.happened:
            self.after(REVIVE_AFTER, self._look_for_interrupted)
        self._registered.happen(None)
        self.after(LEARN_AFTER, self.succession.learn)
        self.after(1.0, self._resource)  # the first caller need not wait for its modules

    def _could_not_come_up(self, reason: Failure) -> None:
        if reason.check(CancelledError) is not None:
            return
        self._up.happen(reason)
        self.succession.could_not_come_up(reason)
        exit_code = FAILED
        if reason.check(HomeHeld, LockUnusable, CannotListenError, OSError) is not None:
            exit_code = HELD if reason.check(HomeHeld) is not None else FAILED
            self.log.error("The runner cannot start: {reason}", reason=reason.getErrorMessage())
        else:
            self.log.failure("The runner cannot start", reason)
        self.retire("exception", exit_code)

    # --- leaving

    async def _leave(self) -> None:
        """Each step has its own time, and later ones come whatever the earlier did."""
        self._step("leaving")
        if self._state is not None:
            self.note("runner-left", pid=os.getpid(), reason=self._source)
        self.spawner.closed = LEFT
        self.admission.refuse_all(SpawnRefused(LEFT))
        for call in self._soon:
            if call.active():
                call.cancel()
        if self._coming_up is not None:
            self._coming_up.cancel()
        self._heartbeat.stopService()
        machine, listeners = self._machine, self._listeners
        await self._within(END_REPLACEMENT, "ending the replacement", lambda: self.succession.leave(self._source))
        silent = self.succession.silent
        if machine is not None and not silent:
            await self._within(FAREWELL, "telling the hub", lambda: machine.farewell(self._source, FAREWELL - 0.05))
        if machine is not None:
            await self._within(CLOSE_LINK, "closing the link", machine.close)
            maybeDeferred(machine.link.stopService).addErrback(lambda _: None)
        if listeners is not None:
            if silent:
                listeners.leave_open()
            await self._within(CLOSE_PORTS, "closing the control port", listeners.close)
            self._listeners = None
        self.children.leave()
        if not self._keeps_files and not silent:
            if self._state is not None:
                self._states.remove_if(self._state.pid)
            if self._lock is not None:
                self._lock.release()
        elif silent and self._lock is not None:
            self._lock.let_go()
        self._step("left")

    async def _within(self, seconds: float, step: str, leave: Callable[[], Coroutine[Any, Any, None]]) -> None:
        try:
            await Deferred.fromCoroutine(leave()).addTimeout(seconds, self._clock)
        except (TimeoutError, CancelledError):
            self.log.warn("{step} did not finish within {seconds} s", step=step.capitalize(), seconds=seconds)
        except Exception:
            self.log.failure("{step} failed", step=step.capitalize())

    # --- the beat

    async def _beat(self) -> None:
        if self.succession.under_way:
            return  # whose the files are is being settled
        verdict = self._lock.fence() if self._lock is not None else "ours"
        if isinstance(verdict, Superseded):
            self.log.error("Process {pid} has taken this home over; its sessions stay as they are", pid=verdict.pid)
            self._keeps_files = True
            self.note("superseded", pid=verdict.pid)
            self.retire("exception", SUPERSEDED)
            return
        for child in self.children.live():
            if child.identity is not None and self._processes.is_running(child.identity) is False:
                await self.children.ended_unseen(child)
        if self._state is not None:
            self._state = msgspec.structs.replace(self._state, last_heartbeat=as_npm_writes_it(self._now()))
            self._states.write(self._state)
        self.reports.look_at(self.children.live())
        for child in self._retention.outdated(list(self.children), self._now()):
            child.folder.remove()
            self.children.forget(child)
            self.reports.forget(child)
        self.succession.look()

    def parts(self) -> Parts:
        """What of us takes part in a hand-off."""
        return Parts(self._lock, self._states, self._state, self._listeners, self._site, self._machine)

    # --- what callers ask for

    def status(self) -> Mapping[str, Any]:
        """For /status: everything a person wants to know first."""
        hub = self._machine.status() if self._machine else {"url": self.options.access.url, "phase": "connecting", "reason": None}
        return {
            "pid": os.getpid(),
            "version": __version__,
            "machineId": self.options.machine_id,
            "hub": hub,
            "registered": self.registered,
            "workspaceRoots": list(self.options.workspace_roots),
            "startedAt": int(self.started_at * 1000),
            "uptimeSeconds": round(self._now() - self.started_at, 3),
            "argv": list(self.options.argv),
            "children": len(self.children.listed()),
            "admission": self.admission.status(),
            "revive": self.options.revive,
            "stuck": self._stuck(),
            "phase": self.phase,
            "home": str(self.options.home.path),
            "httpPort": self.port,
            "sessionCommand": list(self.options.session_command),
            "handoffDisabled": self.options.handoff_disabled,
            **self.succession.status(),
            "callersKnownBy": self._lookup.means,
            "trouble": self._states.trouble or self.journal.trouble,
            "warnings": self._surroundings.warnings if self._surroundings is not None else [],
            "failedBeats": self._heartbeat.failures,
            "beats": self._heartbeat.beats,
            "lastBeatSeconds": self._heartbeat.seconds,
        }

    def _stuck(self) -> dict[str, str]:
        """Session id → what it is stuck in."""
        found = {listed.happy_session_id: (listed.activity or {}).get("stuck") for listed in self.list()}
        return {name: reason for name, reason in found.items() if reason}

    def work(self) -> dict[str, Any]:
        """What runs, and whether more is accepted."""
        self.reports.look_at(self.children.live())
        return work_of(self.children.live(), self.spawner.under_way, self.admission.draining is None)

    def interrupted(self) -> Any:
        return [one.told() for one in self.reviver.offered()]

    async def revive(self, session_id: str, actor: str) -> SpawnResult:
        return await self.reviver.revive(session_id, actor)

    def _look_for_interrupted(self) -> None:
        if offered := self.reviver.offered():
            self.log.info("{count} sessions were interrupted: `hapi runner revive` brings them back", count=len(offered))
            if self.options.revive == "auto":
                reviving = Deferred.fromCoroutine(self.reviver.revive_all())
                reviving.addErrback(lambda reason: self.log.failure("Reviving failed", reason))

    def drain(self, actor: str) -> dict[str, Any]:
        """Start no more sessions until `resume`; those that run go on."""
        if self.admission.draining is None:
            self.note("drain", actor=actor)
            self.admission.drain(DRAINED)
        return self.work()

    def resume(self, actor: str) -> dict[str, Any]:
        if self.admission.draining is not None:
            self.note("resume", actor=actor)
            self.admission.resume()
        return self.work()

    def list(self) -> list[Listed]:
        self.reports.look_at(self.children.live())
        return self.children.listed()

    async def announce(self, message: SessionStarted, door: Door) -> Verdict:
        return await self._announcements.hear(message, door)

    async def spawn(self, request: SpawnRequest, asked_by: str) -> SpawnResult:
        return self.tally.spawned(await self.spawner.spawn(request, asked_by))

    async def stop_session(self, name: str, actor: str) -> str:
        method = "hub" if actor == "hub" else "control"
        return await self.children.stop(name, reason="Stopped by runner", actor=actor, method=method)

    def stop_soon(self, actor: str) -> None:
        """Leave a moment after the answer is out."""
        self.log.info("Leaving: asked by {actor}", actor=actor)
        self.note("stop-runner-asked", actor=actor)
        from_hub = actor == "hub"
        code = RESTART if from_hub and self.succession.restarted_by_another else STOPPED  # the page's button means "restart"
        self.after(0.1 if from_hub else 0.05, lambda: self.retire("hapi-app" if from_hub else "hapi-cli", code))

    def describe_caller(self, door: Door) -> str:
        """Who calls, for the record: the pid where the kernel tells it, and the session it belongs to."""
        caller = door.caller
        if caller is None:
            return "control: somebody unknown"
        pid = caller.pid or find_holder(caller.inode)
        if pid is None:
            return f"control: uid {caller.uid}"
        identity = self._processes.identify(pid)
        child = self.children.of_process(identity) if identity is not None else None
        child = child or self.children.of_tree(self._processes.environment(pid))
        session = f", session {child.session_id}" if child is not None else ""
        return f"control: pid {pid}{session}"

    def after(self, seconds: float, call: Callable[[], object]) -> None:
        """Do `call` later, unless we have left by then."""
        self._soon = [other for other in self._soon if other.active()]
        self._soon.append(self._clock.callLater(seconds, call))

    def _spawn_failed(self, refusal: SpawnRefused, child: Child | None) -> None:
        if self._machine is None or self._left is not None:
            return
        how = child.exit if child is not None else None
        error = spawn_error(
            refusal.message,
            int(self._now() * 1000),
            child.pid if child is not None else None,
            how.exit_code if how is not None else None,
            how.signal if how is not None else None,
        )
        self._machine.note_spawn(error)

    def _spawned(self, child: Child) -> None:
        if self._machine is not None:
            self._machine.note_spawn(None)


def load_client() -> None:
    """The module that is needed a moment later, to register."""
    import treq

    del treq


def take_title() -> None:
    """npm's programs look for the words `runner` and `start-sync` in our command line, and delete our files without them."""
    try:
        with open("/proc/self/cmdline", "rb") as file:
            words = file.read().replace(b"\0", b" ").split()
    except OSError:
        words = []
    if not {b"runner", b"start-sync"} <= set(words):
        os.environ["SPT_NOENV"] = "1"  # the title goes over the arguments alone: our environment stays readable in /proc
        from setproctitle import setproctitle

        setproctitle("hapi runner start-sync")
        del os.environ["SPT_NOENV"]


def runner_service(
    reactor: Any, options: RunnerOptions, on_retired: Callable[[int], object] | None = None, **more: Any
) -> RunnerService:
    """The runner that `options` describe, on the processes of this machine. Start it by `startService` or a parent service."""
    from hapi.process import SystemProcesses

    around = surroundings(reactor, options.environ)
    return RunnerService(reactor, options, SystemProcesses(reactor), on_retired=on_retired, surroundings=around, **more)
