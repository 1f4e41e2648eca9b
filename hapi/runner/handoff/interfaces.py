"""What a hand-off uses of the runner that it belongs to."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from hapi.runner.config.options import RunnerOptions
from hapi.runner.storage.journal import RecordEvent

if TYPE_CHECKING:
    from hapi.runner.attempts.registry import ChildRegistry
    from hapi.runner.control.listeners import Listeners
    from hapi.runner.handoff.outgoing import IQuiescable
    from hapi.runner.lock.home_lock import RunnerLock
    from hapi.runner.spawn.drain import Drain
    from hapi.runner.uplink.uplink import Uplink


class ControlEndpoints(Protocol):
    """The runner's control endpoints, as its hand-off uses them."""

    token: str
    listeners: Listeners | None

    @property
    def port(self) -> int | None: ...


class RunnerSessions(Protocol):
    """The runner's sessions, as its hand-off uses them."""

    @property
    def children(self) -> ChildRegistry: ...
    @property
    def drain(self) -> Drain: ...


class HandoffRunner(Protocol):
    """The runner, as its hand-off uses it."""

    hub: Uplink
    lock: RunnerLock | None

    @property
    def endpoints(self) -> ControlEndpoints: ...
    @property
    def sessions(self) -> RunnerSessions: ...
    @property
    def options(self) -> RunnerOptions: ...
    @property
    def after(self) -> Callable[[float, Callable[[], object]], object]: ...
    @property
    def record_event(self) -> RecordEvent: ...
    @property
    def quiescables(self) -> Sequence[IQuiescable]:
        """The parts that pause for a hand-off, in the order in which they quiesce."""

    def retire(self, source: Any, exit_code: int) -> None: ...
