"""The load of this machine, for the keep-alive: psutil reads it on every platform."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, TypeVar

from attrs import define
from msgspec import UNSET, UnsetType

from hapi.protocol.machine import MachineHealth

T = TypeVar("T")
CpuSeconds = tuple[float, float]  # of all processors since boot: in total, and of it idle
UNREADABLE = (OSError, RuntimeError, ValueError, KeyError, IndexError)  # what psutil raises


@define
class HealthGauge:
    """Reads the machine's health. What cannot be read is left out.

    `cpuPercent` is the busy share of the time since the previous reading; the first has none.
    """

    _now: Callable[[], float]  # seconds since the epoch
    _previous: CpuSeconds | None = None

    def read(self) -> MachineHealth:
        # psutil costs 18 ms and 0.7 MB: it is imported with the first keep-alive, not at the start.
        import psutil

        return MachineHealth(
            collected_at=int(self._now() * 1000),
            cpu_count=psutil.cpu_count() or 1,
            uptime_seconds=_readable(lambda: max(int(self._now() - psutil.boot_time()), 0)),
            load1m=_readable(lambda: round(os.getloadavg()[0], 2)),
            cpu_percent=self._cpu_percent(psutil.cpu_times),
            memory_percent=_readable(lambda: round(psutil.virtual_memory().percent)),
        )

    def _cpu_percent(self, cpu_times: Callable[[], Any]) -> int | UnsetType:
        """Not `psutil.cpu_percent`, whose previous reading belongs to the whole program."""
        try:
            times: dict[str, float] = cpu_times()._asdict()
        except UNREADABLE:
            return UNSET
        for counted_twice in ("guest", "guest_nice"):  # Linux has them in `user` and `nice` too
            times.pop(counted_twice, None)
        now = sum(times.values()), times["idle"] + times.get("iowait", 0.0)
        previous, self._previous = self._previous, now
        if previous is None or now[0] <= previous[0]:
            return UNSET
        total, idle = now[0] - previous[0], now[1] - previous[1]
        return max(0, min(100, round(100 * (total - idle) / total)))


def _readable(read: Callable[[], T]) -> T | UnsetType:
    try:
        return read()
    except UNREADABLE:
        return UNSET
