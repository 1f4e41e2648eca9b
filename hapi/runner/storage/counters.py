"""What the runner counts about itself, for `/metrics`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any, Protocol

from attrs import define, field
from twisted.internet.interfaces import IReactorTime

from hapi.protocol.spawn import NeedsDirectory, Spawned, SpawnResult

LAG_INTERVAL = 5.0  # seconds between two measurements


class LinkStatusSource(Protocol):
    """A link that reports its status (hapi.net.client.link.HubLink)."""

    def on_status(self, call: Callable[[Any], object]) -> None: ...


def outcome_of(result: SpawnResult) -> str:
    """`spawned`, `needs_directory`, or the code of the refusal, `failed` when it has none."""
    match result:
        case Spawned():
            return "spawned"
        case NeedsDirectory():
            return "needs_directory"
        case refused:
            return refused.code or "failed"


@define
class Counters:
    """The counters of one runner; they count whether or not `/metrics` is asked for."""

    _clock: IReactorTime
    spawns: Counter[str] = field(factory=Counter)
    connects: int = 0  # how often the link was connected
    lag: float = 0.0  # seconds by which the last timer was late
    worst_lag: float = 0.0
    _measures_lag: bool = False

    def spawned(self, result: SpawnResult) -> SpawnResult:
        self.spawns[outcome_of(result)] += 1
        return result

    def follow(self, link: LinkStatusSource) -> None:
        link.on_status(self._linked)

    def _linked(self, status: Any) -> None:
        if status.phase == "connected":
            self.connects += 1

    def measure_lag(self, after: Callable[[float, Callable[[], object]], object]) -> None:
        """Begin to measure how late timers are. `after(seconds, call)` must end with the runner."""
        if self._measures_lag:
            return
        self._measures_lag = True

        def schedule() -> None:
            due = self._clock.seconds() + LAG_INTERVAL

            def measure() -> None:
                self.lag = max(self._clock.seconds() - due, 0.0)
                self.worst_lag = max(self.worst_lag, self.lag)
                schedule()

            after(LAG_INTERVAL, measure)

        schedule()
