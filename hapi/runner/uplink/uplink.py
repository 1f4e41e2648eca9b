"""The runner's connection to its hub: the registered machine and its link."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from attrs import define, field
from twisted.internet.defer import maybeDeferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from hapi.deferreds import run_step
from hapi.net.common.rpc import RpcTable
from hapi.one_shot import OneShotObserver
from hapi.protocol.machine import RunnerFacts, ShutdownSource, spawn_error
from hapi.protocol.spawn import SpawnRefused
from hapi.runner.attempts.child import Child
from hapi.runner.config.options import RunnerOptions
from hapi.runner.storage.counters import Counters
from hapi.runner.storage.journal import RecordEvent
from hapi.runner.uplink.machine import Machine

# npm's `runner stop` sends SIGKILL after 2 seconds.
LEAVE_TIMEOUT, CLOSE_TIMEOUT = 0.5, 0.4  # seconds

MakeMachine = Callable[[Any, RunnerOptions, RunnerFacts, RpcTable], Machine]


@define(eq=False, repr=False)
class Uplink:
    """`_register_methods` adds the methods of this machine to a table.

    `on_registered` is called after each registration, `on_not_registered` after each one that
    failed, `on_linked` when the link is up.
    """

    log = Logger()

    _clock: IReactorTime
    _make: MakeMachine
    _counters: Counters
    _register_methods: Callable[[RpcTable], object]
    _record_event: RecordEvent
    _is_ours: Callable[[int], bool]  # whether a process is the other side of a hand-off
    on_registered: Callable[[], object] = field(default=lambda: None)
    machine: Machine | None = None
    first_registered: OneShotObserver[None] = field(factory=OneShotObserver)
    left: bool = False  # this runner shuts down and does not register again
    on_linked: Callable[[], object] = field(default=lambda: None)
    on_not_registered: Callable[[], object] = field(default=lambda: None)

    @property
    def registered(self) -> bool:
        return self.machine is not None and self.machine.registered

    @property
    def is_linked(self) -> bool:
        return self.machine is not None and bool(self.machine.link.connected)

    def connect(self, options: RunnerOptions, facts: RunnerFacts) -> None:
        """Register the machine and keep the link up, in the background."""
        rpc = RpcTable(options.machine_id)
        self._register_methods(rpc)
        self.machine = self._make(self._clock, options, facts, rpc)
        self._counters.follow(self.machine.link)
        self.machine.link.on_status(self._linked)
        self.machine.on_registered = self.on_registered
        self.machine.on_not_registered = self.on_not_registered
        self.machine.duplicates.record_event, self.machine.duplicates.is_ours = (
            self._record_event,
            self._is_ours,
        )
        self.machine.start()

    async def quiesce(self) -> None:
        """Nothing to do: the link stays until this runner leaves."""

    def resume(self) -> None:
        """Claim the machine again after another runner used it. Does nothing after leaving."""
        if self.machine is not None and not self.left:
            self.machine.republish()

    def warnings(self) -> list[str]:
        return self.machine.duplicates.warnings() if self.machine is not None else []

    def _linked(self, status: Any) -> None:
        if status.phase == "connected":
            self.on_linked()

    def retry_now(self) -> None:
        if self.machine is not None:
            self.machine.retry_now()

    async def disconnect(self, source: ShutdownSource, *, silently: bool = False) -> None:
        """Tell the hub that the runner leaves, unless `silently`, and close the link.

        The time is bounded. `machine` stays set until the next `connect`.
        """
        machine = self.machine
        if machine is None:
            return
        if not silently:
            await run_step(
                self._clock,
                LEAVE_TIMEOUT,
                "Telling the hub that the runner leaves",
                lambda: machine.leave(source, LEAVE_TIMEOUT - 0.05),
                self.log,
            )
        await run_step(self._clock, CLOSE_TIMEOUT, "Closing the link", machine.close, self.log)
        maybeDeferred(machine.link.stopService).addErrback(lambda _: None)

    def status(self, options: RunnerOptions) -> dict[str, Any]:
        return (
            self.machine.status()
            if self.machine
            else {"url": options.access.url, "phase": "connecting", "reason": None}
        )

    # --- results of spawns

    def spawn_failed(self, refusal: SpawnRefused, child: Child | None) -> None:
        if self.machine is None or self.left:
            return
        how = child.exit if child is not None else None
        error = spawn_error(
            refusal.message,
            self.machine.hub_clock.milliseconds(),
            child.pid if child is not None else None,
            how.exit_code if how is not None else None,
            how.signal if how is not None else None,
        )
        self.machine.publish_spawn_error(error)

    def spawned(self, child: Child) -> None:
        if self.machine is not None:
            self.machine.publish_spawn_error(None)


def load_client() -> None:
    """Import the HTTP client in advance: registration needs it a moment later."""
    import treq

    del treq
