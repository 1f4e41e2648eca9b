"""What programs count about themselves while they run, without a library: `/metrics` turns it into
the format of Prometheus when it is asked for.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Sequence

from attrs import define, field
from twisted.internet.interfaces import IReactorTime

LAG_INTERVAL = 5.0  # seconds between two measurements
SHORT_TIMES = (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 30.0)  # seconds: requests, commits
LONG_TIMES = (1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 3600.0, 14400.0)  # seconds: turns of agents
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


@define(eq=False, repr=False)
class Histogram:
    """How often a value was at most each of `bounds`, which ascend, and the sum of all values."""

    bounds: Sequence[float] = SHORT_TIMES
    counts: list[int] = field(init=False)  # of each bucket alone; the last one is beyond all bounds
    sum: float = 0.0

    def __attrs_post_init__(self) -> None:
        self.counts = [0] * (len(self.bounds) + 1)

    @property
    def count(self) -> int:
        return sum(self.counts)

    def observe(self, value: float) -> None:
        self.counts[bisect_left(self.bounds, value)] += 1
        self.sum += value

    def buckets(self) -> list[tuple[str, float]]:
        """Bounds and cumulative counts, as Prometheus wants them; the last bound is `+Inf`."""
        found: list[tuple[str, float]] = []
        total = 0
        for bound, count in zip((*self.bounds, None), self.counts, strict=True):
            total += count
            found.append(("+Inf" if bound is None else str(float(bound)), total))
        return found


@define(eq=False, repr=False)
class RequestCounters:
    """The HTTP requests of one server: by method, route and status, and how long they took.

    A route is the pattern that the server's table has, never what a client sent, so that there are
    only so many.
    """

    answered: Counter[tuple[str, str, int]] = field(factory=Counter)
    seconds: Histogram = field(factory=Histogram)

    def record(self, method: bytes, route: str, status: int, seconds: float | None) -> None:
        """Count an answer. `seconds`: from the request's head to its end, None for one that is not
        comparable, such as an event stream.
        """
        name = method.decode("ascii", "replace")
        self.answered[(name if name in METHODS else "other", route, status)] += 1
        if seconds is not None:
            self.seconds.observe(seconds)


@define(eq=False, repr=False)
class LagMeter:
    """How late the timers of the reactor are, measured from the first call of `start` on."""

    _clock: IReactorTime
    last: float = 0.0  # seconds by which the last timer was late
    worst: float = 0.0
    _is_started: bool = False

    def start(self, after: Callable[[float, Callable[[], object]], object]) -> None:
        """`after(seconds, call)` must end with the program."""
        if not self._is_started:
            self._is_started = True
            self._schedule(after)

    def _schedule(self, after: Callable[[float, Callable[[], object]], object]) -> None:
        due = self._clock.seconds() + LAG_INTERVAL

        def measure() -> None:
            self.last = max(self._clock.seconds() - due, 0.0)
            self.worst = max(self.worst, self.last)
            self._schedule(after)

        after(LAG_INTERVAL, measure)
