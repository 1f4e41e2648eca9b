"""What the runner counts about itself, for `/metrics`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any, Protocol

from attrs import define, field
from twisted.internet.interfaces import IReactorTime

from hapi.metrics import LagMeter
from hapi.protocol.spawn import NeedsDirectory, Spawned, SpawnResult


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
    lag_meter: LagMeter = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.lag_meter = LagMeter(self._clock)

    @property
    def lag(self) -> float:
        """Seconds by which the last timer was late."""
        return self.lag_meter.last

    @property
    def worst_lag(self) -> float:
        return self.lag_meter.worst

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
        self.lag_meter.start(after)
