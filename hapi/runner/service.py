"""The runner as a Twisted service: starts and shuts down cleanly. Its sessions outlive it."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from twisted.application.service import Service
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import CannotListenError
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.resource import IResource

from hapi import __version__
from hapi.deferreds import run_step
from hapi.home import MADE_PRIVATE
from hapi.net.common.rpc import RpcTable
from hapi.one_shot import OneShotObserver
from hapi.process import IProcesses
from hapi.protocol.control import ListedSession
from hapi.protocol.machine import RunnerFacts, ShutdownSource, runner_capabilities
from hapi.protocol.spawn import SpawnRequest, SpawnResult
from hapi.redaction import Secrets
from hapi.runner.api import RunnerApi
from hapi.runner.attempts.registry import SessionEnded
from hapi.runner.attempts.retention import Retention
from hapi.runner.config.options import RunnerOptions
from hapi.runner.control.peer_credentials import PeerLookup
from hapi.runner.endpoints import Endpoints
from hapi.runner.handoff.coordinator import EXIT_RESTART, LOAD_BUILD_DELAY, HandoffCoordinator
from hapi.runner.heartbeat import Heartbeat, HeartbeatTasks
from hapi.runner.lock.home_lock import HomeHeld, LockUnusable, RunnerLock, Superseded
from hapi.runner.reload import SettingsReloader
from hapi.runner.sessions import Sessions
from hapi.runner.status import runner_status
from hapi.runner.storage.counters import Counters
from hapi.runner.storage.disk import flush
from hapi.runner.storage.journal import Journal
from hapi.runner.storage.state_file import OwnState, StateFile, own_runner_state
from hapi.runner.storage.timers import ScheduledCalls
from hapi.runner.storage.write_retries import WriteRetries
from hapi.runner.supervision.systemd_scope_check import SystemdScopeCheck, make_scope_check
from hapi.runner.supervision.title import set_title
from hapi.runner.uplink.end_reports import EndReports
from hapi.runner.uplink.machine import Machine
from hapi.runner.uplink.rpc_methods import register_methods
from hapi.runner.uplink.session_access import SessionAccess
from hapi.runner.uplink.spool_delivery import SpoolDelivery
from hapi.runner.uplink.uplink import MakeMachine, Uplink, load_client

if TYPE_CHECKING:
    from hapi.runner.handoff.factories import MakeCoordinator
    from hapi.runner.handoff.outgoing import IQuiescable

# The exit codes of a program that is this service.
STOPPED, FAILED, HELD, SUPERSEDED, RESTART = 0, 1, 3, 4, EXIT_RESTART

# Seconds for the steps of leaving. With those of uplink.py less than 1.5: npm's programs kill a
# runner 2 s after they asked it to stop.
RETRY_WRITES_TIMEOUT = 0.2  # seconds, at the end of the runner
END_REPLACEMENT_TIMEOUT, CLOSE_PORTS_TIMEOUT, LAST_WRITES_TIMEOUT = 0.3, 0.2, 0.05
# Until then the ends of interrupted sessions are known.
REVIVE_DELAY = 2.0  # seconds from the registration
RETRY_DELIVERIES_INTERVAL = 30.0  # seconds
SCOPE_CHECK_DELAY = 3.0  # seconds from the start


class RunnerService(Service):
    """The runner of one home. `on_retired(exit_code)` is called when it leaves by itself.

    Start: lock, control port and socket, state file, adoption; then registration and link in the
    background. End, in less than 1.5 s whatever the hub does: report to the hub, close the link and
    the ports, remove state and lock. The reactor belongs to the host program.
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
        machine: MakeMachine = Machine,
        lock: RunnerLock | None = None,
        now: Callable[[], float] = time.time,
        retention: Retention | None = None,
        handoff: MakeCoordinator | None = None,
        scope_check: SystemdScopeCheck | None = None,
    ) -> None:
        self._clock, self._processes, self._now = reactor, processes, now
        self._on_retired, self._on_step = on_retired, on_step
        self.lock = lock
        self._coming_up: Deferred[None] | None = None
        self._left: OneShotObserver[None] | None = None
        self._source: ShutdownSource = "os-signal"
        self._keeps_files = False
        self._up: OneShotObserver[None] = OneShotObserver()
        self.phase = "new"
        self.started_at = now()
        self.after = ScheduledCalls(reactor)
        hidden = Secrets()
        hidden.add(options.access.token)
        self.write_retries = WriteRetries(self.after, self._owns_files)
        self.journal = Journal(options.home, hidden, now, on_write_error=self.write_retries.begin)
        self.record_event = self.journal.record
        self.counters = Counters(reactor)
        self.handoff = handoff(self) if handoff else HandoffCoordinator(reactor, processes, self)
        self.hub = Uplink(
            reactor,
            machine,
            self.counters,
            self._offer_methods,
            self.record_event,
            self.handoff.is_peer,
            self._is_registered,
            on_linked=self._is_linked,
            on_not_registered=self._is_not_registered,
        )
        on_spawned = self.hub.spawn_failed, self.hub.spawned
        self.sessions = Sessions(
            reactor,
            options,
            processes,
            now,
            self.record_event,
            self.after,
            self.counters,
            *on_spawned,
            self.write_retries.begin,
            self._why_not_findable,
            self._publish_agents,
        )
        self.children = self.sessions.children
        self.own_state = OwnState(StateFile(options.home), self.sessions.disk)
        for writer in (self.own_state, self.children, self.sessions.drain, self.journal):
            self.write_retries.add(writer)
        self.spool_delivery = SpoolDelivery(
            reactor,
            options.home,
            self.sessions.disk,
            lambda: self.options.access,
            lambda: self.hub.is_linked,
            now,
        )
        self.session_access = SessionAccess(
            self.children,
            self.sessions.reports,
            self.sessions.disk,
            lambda: self.options.access,
            lambda: self.hub.is_linked,
            self.after,
            now,
        )
        self.end_reports = EndReports(
            reactor,
            processes,
            self.children,
            lambda: self.options.machine_id,
            lambda: self.hub.machine,
            self.sessions.spawner.is_starting,
            now,
            self.spool_delivery.deliver,
        )
        self.children.subscribe(SessionEnded, lambda event: self.end_reports.ended(event.child))
        self.api = RunnerApi(
            self.sessions,
            self.counters,
            self.after,
            processes,
            self.record_event,
            self.status,
            self._asked_to_leave,
            self.handoff.begin_restart,
            self.handoff.keep_trial_failure,
            self.handoff.replace,
        )
        self._reloader = SettingsReloader(self)
        self.scope_check = scope_check
        self.lookup = lookup or PeerLookup()
        self.endpoints = Endpoints(reactor, self._control, self.lookup)
        beat = HeartbeatTasks(
            processes,
            self.children,
            self.sessions.reports,
            retention or Retention.read(options.settings),
            self.own_state,
            self.handoff,
            self.sessions.disk,
            lambda: self.lock,
            self._superseded,
            now,
        )
        self.heartbeat = Heartbeat(reactor, options.heartbeat, beat)

    # --- for the host

    @property
    def options(self) -> RunnerOptions:
        return self.sessions.options

    @property
    def port(self) -> int | None:
        """The TCP port of the control API, None while it is closed."""
        return self.endpoints.port

    @property
    def token(self) -> str:
        """The token of the control API."""
        return self.endpoints.token

    @property
    def registered(self) -> bool:
        return self.hub.registered

    def when_up(self) -> Deferred[None]:
        """Fire when the control API answers. Errs with the reason when it never will."""
        return self._up.when_fired()

    def when_registered(self) -> Deferred[None]:
        """Fire when the machine is registered at the hub."""
        return self.hub.first_registered.when_fired()

    def status(self) -> Mapping[str, Any]:
        """The answer to `/status`."""
        return runner_status(self, self._now())

    def list(self) -> list[ListedSession]:
        return self.api.list()

    async def spawn(self, request: SpawnRequest, asked_by: str) -> SpawnResult:
        return await self.api.spawn(request, asked_by)

    def startService(self) -> None:
        super().startService()  # type: ignore[no-untyped-call]
        if self.options.sets_title:
            set_title()
        for path in self.options.home.make_files_private():
            self.log.warn(MADE_PRIVATE, path=str(path))
        if self.lock is None:  # not before: a daemon is another process than the one that made us
            self.lock = RunnerLock(self.options.home, self._processes, self._clock, __version__)
        self._coming_up = Deferred.fromCoroutine(self._start(self.lock))
        self._coming_up.addErrback(self._start_failed)

    def stopService(self) -> Deferred[None]:
        """Shut down cleanly. Callers that ask again wait for the same end."""
        super().stopService()  # type: ignore[no-untyped-call]
        if self._left is not None:
            if not self._left.has_fired:
                self.handoff.stop_replacement()
        else:
            self._left = OneShotObserver()
            leaving = Deferred.fromCoroutine(self._leave())
            leaving.addErrback(
                lambda reason: self.log.failure("The runner did not shut down cleanly", reason)
            ).addCallback(self._left.fire)
        return self._left.when_fired()

    def retire(self, source: ShutdownSource, exit_code: int) -> None:
        """Leave without being stopped by the host program, then call `on_retired`."""
        self._source = source
        first = self._left is None
        left = self.stopService()
        if first and self._on_retired is not None:
            left.addCallback(self._notify_host, self._on_retired, exit_code)
            left.addErrback(lambda reason: self.log.failure("`on_retired` failed", reason))

    def _notify_host(self, _: None, on_retired: Callable[[int], object], exit_code: int) -> None:
        on_retired(exit_code)

    def _asked_to_leave(self, actor: str, restart: bool) -> None:
        code = RESTART if restart and self.handoff.restarted_by_supervisor else STOPPED
        self.retire("hapi-app" if actor == "hub" else "hapi-cli", code)

    def _superseded(self, pid: int | None) -> None:
        """Another runner owns this home."""
        self._keeps_files = True
        self.record_event("superseded", pid=pid)
        self.retire("exception", SUPERSEDED)

    async def _why_not_findable(self) -> str | None:
        """Why sessions cannot find this runner, None if they can."""
        return await self.own_state.ensure_saved()

    def _owns_files(self) -> bool:
        """Whether the files of this home are this runner's to write."""
        if self.lock is None or self.handoff.in_progress:
            return False
        return not isinstance(self.lock.verify_ownership(), Superseded)

    # --- settings read again (reload.py)

    def reload(self) -> None:
        """Read the settings again: another hub or token makes a new link.

        The hub is tried at once.
        """
        self._reloader.reload()

    def try_hub(self) -> None:
        self.hub.retry_now()

    def use(self, options: RunnerOptions) -> None:
        """Use these options as far as a running runner can: hub, token, headers, agents."""
        self.sessions.reconfigure(options)
        self._publish_agents()
        self.own_state.use(options.access, options.machine_id)

    def _publish_agents(self) -> None:
        """Tell the hub of the agents that `settings.json` names now."""
        if self.hub.machine is not None and self._left is None:
            self.hub.machine.publish_capabilities(self._capabilities())

    def _capabilities(self) -> dict[str, Any]:
        return runner_capabilities(self.sessions.availability.local_agents())

    async def unlink(self) -> None:
        await self.hub.disconnect(self._source)

    def link_again(self) -> None:
        if self.hub.machine is not None and self._left is None:
            self._link()

    # --- coming up

    async def _start(self, lock: RunnerLock) -> None:
        self._step("locking")
        await self.handoff.take_over(lock)
        if lock.try_acquire():
            self.after(0.0, load_client)  # while the lock settles
        await lock.acquire()
        self._step("lock held")
        self.endpoints.open(self.options, self.handoff.inherited)
        self._step("control open")
        self._write_state()
        self._step("state written")
        self.record_event(
            "runner-started", pid=os.getpid(), version=__version__, argv=list(self.options.argv)
        )
        self.sessions.recover()
        self._step("adopted")
        self.heartbeat.startService()
        if self.write_retries.write_error is not None:
            self.write_retries.begin()
        if self.scope_check is not None:
            self.after(SCOPE_CHECK_DELAY, self.scope_check.start)
        self._link()
        self._retry_deliveries()
        self.session_access.start()
        self._step("serving")
        self._up.fire(None)

    def _step(self, name: str) -> None:
        """Name the current step, for `status` and for tests that end the process there."""
        self.phase = name
        if self._on_step is not None:
            self._on_step(name)

    def _write_state(self) -> None:
        options = self.options
        state = own_runner_state(
            access=options.access,
            machine_id=options.machine_id,
            port=self.port or 0,
            argv=options.argv,
            now=self._now(),
            version=__version__,
            token=self.token,
            log_path=options.log_path,
            handoff_disabled=options.handoff_disabled,
        )
        self.own_state.create(state, self._now())

    def _control(self) -> IResource:
        from hapi.runner.control.api import control_resource

        return control_resource(self.api)

    def _link(self) -> None:
        started_at = int(self.started_at * 1000)
        facts = RunnerFacts(os.getpid(), self.port or 0, started_at, self._capabilities())
        self.hub.connect(self.options, facts)

    def _offer_methods(self, rpc: RpcTable) -> None:
        from hapi.runner.spawn.offer_inquiry import OfferInquiry

        inquiry = OfferInquiry(self._clock, self.options.home, self.options.environ)
        register_methods(rpc, self.api, inquiry.ask)

    def _retry_deliveries(self) -> None:
        """What the hub did not accept, and what nobody reported, is tried again now and then.

        So is the list of agents.
        """
        self.sessions.availability.refresh()
        self.end_reports.send_pending()
        self.spool_delivery.deliver_soon()
        self.after(RETRY_DELIVERIES_INTERVAL, self._retry_deliveries)

    def _is_linked(self) -> None:
        self.end_reports.send_pending()
        self.spool_delivery.deliver_soon()
        self.session_access.check()

    def _is_registered(self) -> None:
        if not self.hub.first_registered.has_fired:
            self.after(
                REVIVE_DELAY, lambda: self.sessions.reviver.offer(self.options.revive == "auto")
            )
        self.hub.first_registered.fire(None)
        self.after(LOAD_BUILD_DELAY, self.handoff.load_running_build)
        self.after(1.0, self.endpoints.resource)  # the first caller need not wait for its modules

    def _is_not_registered(self) -> None:
        self.after(0.0, self._reloader.reload_if_moved)

    def _start_failed(self, reason: Failure) -> None:
        if reason.check(CancelledError) is not None:
            return
        self._up.fire(reason)
        self.handoff.startup_failed(reason)
        exit_code = FAILED
        if reason.check(HomeHeld, LockUnusable, CannotListenError, OSError) is not None:
            exit_code = HELD if reason.check(HomeHeld) is not None else FAILED
            self.log.error("The runner cannot start: {reason}", reason=reason.getErrorMessage())
        else:
            self.log.failure("The runner cannot start", reason)
        self.retire("exception", exit_code)

    # --- leaving

    async def _leave(self) -> None:
        """Each step has its own deadline, and the later ones run whatever the earlier did."""
        self._step("leaving")
        if self.own_state.value is not None:
            self.record_event("runner-left", pid=os.getpid(), reason=self._source)
        if self.write_retries.write_error is not None and not self._keeps_files:
            await run_step(
                self._clock,
                RETRY_WRITES_TIMEOUT,
                "Writing what the disk refused",
                self.write_retries.finish,
                self.log,
            )
        self.hub.left = True
        self.sessions.close()
        self.after.cancel_all()
        if self._coming_up is not None:
            self._coming_up.cancel()
        self.heartbeat.stopService()
        await run_step(
            self._clock,
            END_REPLACEMENT_TIMEOUT,
            "Ending the replacement",
            lambda: self.handoff.leave(self._source),
            self.log,
        )
        silent = self.handoff.leaves_silently
        await self.hub.disconnect(self._source, silently=silent)
        if silent:
            self.endpoints.leave_open()
        await run_step(
            self._clock,
            CLOSE_PORTS_TIMEOUT,
            "Closing the control port",
            self.endpoints.close,
            self.log,
        )
        self.children.detach()
        await run_step(
            self._clock, LAST_WRITES_TIMEOUT, "The last write", self._last_writes, self.log
        )
        if not self._keeps_files and not silent:
            self.own_state.remove()
            if self.lock is not None:
                self.lock.release()
        elif silent and self.lock is not None:
            self.lock.abandon()
        self._step("left")

    async def _last_writes(self) -> None:
        await self.children.retry_writes()
        await flush(self.sessions.disk)

    @property
    def quiescables(self) -> tuple[IQuiescable, ...]:
        """The parts that pause for a hand-off, in the order in which they quiesce."""
        return self.hub, self.sessions, self.endpoints, self.children, self.own_state


def runner_service(
    reactor: Any,
    options: RunnerOptions,
    on_retired: Callable[[int], object] | None = None,
    **more: Any,
) -> RunnerService:
    """A runner with these options on this machine.

    Start it with `startService`, or by adding it to a parent service.
    """
    from hapi.process.local import local_processes

    around = make_scope_check(reactor, options.environ, options.session_limits)
    processes = local_processes(reactor, around.scopes)
    return RunnerService(
        reactor, options, processes, on_retired=on_retired, scope_check=around, **more
    )
