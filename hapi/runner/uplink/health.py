"""The load of this machine, for the keep-alive: read from /proc where there is one."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from attrs import define
from msgspec import UNSET, UnsetType

from hapi.protocol.machine import MachineHealth

Ticks = tuple[int, int]  # all, idle


@define
class HealthGauge:
    """`cpuPercent` is the busy share since the look before: the first look has none."""

    _now: Callable[[], float]
    _proc: Path = Path("/proc")
    _before: Ticks | None = None

    def read(self) -> MachineHealth:
        return MachineHealth(
            collected_at=int(self._now() * 1000),
            cpu_count=os.cpu_count() or 1,
            uptime_seconds=self._uptime(),
            load1m=self._load(),
            cpu_percent=self._busy(),
            memory_percent=self._memory(),
        )

    def _text(self, name: str) -> str:
        try:
            return (self._proc / name).read_text()
        except OSError:
            return ""

    def _uptime(self) -> int | UnsetType:
        words = self._text("uptime").split()
        return int(float(words[0])) if words else UNSET

    def _load(self) -> float | UnsetType:
        try:
            return round(os.getloadavg()[0], 2)
        except OSError:
            return UNSET

    def _busy(self) -> int | UnsetType:
        words = (
            self._text("stat").partition("\n")[0].split()[1:9]
        )  # user nice system idle iowait irq softirq steal
        if len(words) < 5:
            return UNSET
        ticks = [int(word) for word in words]
        now, before = (sum(ticks), ticks[3] + ticks[4]), self._before
        self._before = now
        if before is None or now[0] <= before[0]:
            return UNSET
        total, idle = now[0] - before[0], now[1] - before[1]
        return max(0, min(100, round(100 * (total - idle) / total)))

    def _memory(self) -> int | UnsetType:
        found = {}
        for line in self._text("meminfo").splitlines():
            name, _, rest = line.partition(":")
            if name in ("MemTotal", "MemAvailable"):
                found[name] = int(rest.split()[0])
        if len(found) < 2 or not found["MemTotal"]:
            return UNSET
        return max(
            0,
            min(100, round(100 * (found["MemTotal"] - found["MemAvailable"]) / found["MemTotal"])),
        )
