"""What the runner counts of itself, for /metrics: plain numbers, kept whether anybody asks or not."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any, Protocol

from attrs import define, field
from twisted.internet.interfaces import IReactorTime

from hapi.protocol.spawn import NeedsDirectory, Spawned, SpawnResult

LAG_EVERY = 5.0  # seconds between two looks


class Stated(Protocol):
    """A link that tells how it is (hapi.net.client.link.HubLink)."""

    def on_status(self, call: Callable[[Any], object]) -> None: ...


def outcome_of(result: SpawnResult) -> str:
    """`spawned`, `needs_directory`, or why not: the refusal's code, `failed` when it has none."""
    match result:
        case Spawned():
            return "spawned"
        case NeedsDirectory():
            return "needs_directory"
        case refused:
            return refused.code or "failed"


@define
class Counters:
    _clock: IReactorTime
    spawns: Counter[str] = field(factory=Counter)
    connects: int = 0  # how often the hub took the link in
    lag: float = 0.0  # seconds by which the last timer came late
    worst_lag: float = 0.0
    _watches_lag: bool = False

    def spawned(self, result: SpawnResult) -> SpawnResult:
        self.spawns[outcome_of(result)] += 1
        return result

    def follow(self, link: Stated) -> None:
        link.on_status(self._linked)

    def _linked(self, status: Any) -> None:
        if status.phase == "connected":
            self.connects += 1

    def measure_lag(self, after: Callable[[float, Callable[[], object]], object]) -> None:
        """Begin to measure how late timers come. `after(seconds, call)` must give up with the runner."""
        if self._watches_lag:
            return
        self._watches_lag = True

        def plan() -> None:
            due = self._clock.seconds() + LAG_EVERY

            def measure() -> None:
                self.lag = max(self._clock.seconds() - due, 0.0)
                self.worst_lag = max(self.worst_lag, self.lag)
                plan()

            after(LAG_EVERY, measure)

        plan()
