"""The old side of a hand-off, inside the runner: what it starts, what it expects, how it makes room, and how it serves again."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Protocol

from attrs import define, frozen
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater

from hapi.process import IProcesses
from hapi.protocol.spawn import SpawnRefused
from hapi.runner.config.options import RunnerOptions
from hapi.runner.handoff.descriptors import HandoverDescriptors, StartCommand
from hapi.runner.handoff.upgrade import UpgradeThrottle
from hapi.runner.storage.disk import flush
from hapi.runner.storage.journal import read_journal
from hapi.runner.storage.state_file import identity_digest

if TYPE_CHECKING:
    from hapi.build import Build
    from hapi.runner.control.listeners import Listeners
    from hapi.runner.control.site import ControlSite
    from hapi.runner.handoff.outgoing import Expected
    from hapi.runner.handoff.replacement import IReplacement
    from hapi.runner.lock.home_lock import RunnerLock
    from hapi.runner.sessions import Sessions
    from hapi.runner.storage.state_file import OwnState
    from hapi.runner.uplink.machine import Machine

TRY_AGAIN = "The runner is being replaced by a newer build; try again in a moment"
GLANCE = 0.01  # seconds between looks whether all is answered


@frozen
class Parts:
    """What of a runner takes part in a hand-off."""

    lock: RunnerLock | None
    state: OwnState
    listeners: Listeners | None
    site: ControlSite | None
    machine: Machine | None


class Runner(Protocol):
    """What is asked of the runner."""

    sessions: Sessions

    @property
    def options(self) -> RunnerOptions: ...
    def parts(self) -> Parts: ...


@define(eq=False)
class Predecessor:
    """This runner, as handoff.py sees it. `_make` and `_ask` stand in for real ones in tests."""

    _clock: Any
    _processes: IProcesses
    _runner: Runner
    _start: StartCommand | None
    _pace: Callable[[], UpgradeThrottle]
    _make: Callable[[HandoverDescriptors], IReplacement] | None = None
    _ask: Callable[[], Deferred[Mapping[str, Any]]] | None = None
    leaving: bool = False

    def start_replacement(self) -> IReplacement:
        """Raises ReplacementNotStarted."""
        from hapi.runner.handoff.replacement import ReplacementNotStarted, start_replacement

        parts = self._runner.parts()
        if parts.lock is None or parts.listeners is None or self._start is None:
            raise ReplacementNotStarted("the control port is closed")
        descriptors = HandoverDescriptors(parts.lock.descriptor, *parts.listeners.descriptors())
        if self._make is not None:
            return self._make(descriptors)
        return start_replacement(self._clock, self._processes, self._start, descriptors)

    def expected(self, build: Build, pid: int) -> Expected:
        from hapi.runner.handoff.outgoing import Expected

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
            identity=identity_digest(options.access, options.machine_id),
            port=listeners.port if listeners is not None else 0,
        )

    # --- what the hand-off asks of us

    async def quiesce(self) -> None:
        parts, spawner, admission = (
            self._runner.parts(),
            self._runner.sessions.spawner,
            self._runner.sessions.admission,
        )
        since = self._clock.seconds()
        while spawner.pending:
            if self._clock.seconds() - since > 5.0:
                spawner.closed_reason = (
                    TRY_AGAIN  # those that are begun are finished, and none more begins
                )
                admission.refuse_all(SpawnRefused(TRY_AGAIN))
            await deferLater(self._clock, GLANCE)
        spawner.closed_reason = TRY_AGAIN
        if parts.listeners is not None:
            parts.listeners.pause()
        if parts.site is not None:
            parts.site.parting = True
            while parts.site.busy:
                await deferLater(self._clock, GLANCE)
        await flush(self._runner.sessions.disk)
        self._runner.sessions.children.deferred_ends = []  # from here on the replacement tells of ends

    def handover_data(self) -> Mapping[str, Any]:
        state = self._runner.parts().state.value
        return {
            "token": state.control_token if state is not None else None,
            "ages": self._pace().success_ages(),
        }

    async def ask(self) -> Mapping[str, Any]:
        if self._ask is not None:
            return await self._ask()
        from hapi.runner.control.client import ControlClient

        options = self._runner.options
        return await ControlClient(self._clock, options.home, options.environ).status()

    def resume(self, other: int) -> None:
        parts, sessions = self._runner.parts(), self._runner.sessions
        if parts.lock is not None:
            parts.lock.reclaim(other)
        parts.state.rewrite()
        sessions.children.record_deferred_ends(read_journal(sessions.options.home).tells)
        if self.leaving:
            return
        sessions.spawner.closed_reason = None
        sessions.resynchronize()
        if parts.site is not None:
            parts.site.parting = False
        if parts.listeners is not None:
            parts.listeners.resume()
        if parts.machine is not None:
            parts.machine.republish()
