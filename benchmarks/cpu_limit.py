"""Limits the processor time of programs by a control group of Linux, so that a machine with few
processors shows how several of them would share the work of many.

https://www.kernel.org/doc/html/latest/admin-guide/cgroup-v2.html#cpu-interface-files (version 2),
https://www.kernel.org/doc/html/latest/scheduler/sched-bwc.html (version 1).
"""

from __future__ import annotations

import errno
import os
import time
from pathlib import Path

from attrs import define, field

ROOT = Path("/sys/fs/cgroup")
PERIOD = 10_000  # microseconds
REMOVE_TIMEOUT = 10.0  # seconds


class Unlimited(Exception):
    """This machine, or this user, cannot limit processor time."""


@define(eq=False)
class CpuLimit:
    """`processors` is how much of them the programs that were added may use together."""

    processors: float
    _path: Path | None = field(default=None, init=False)

    def add(self, pid: int) -> None:
        """Raises Unlimited."""
        try:
            if self._path is None:
                self._path = self._make()
            (self._path / "cgroup.procs").write_text(str(pid))
        except OSError as error:
            raise Unlimited(f"processor time cannot be limited here: {error}") from error

    def _make(self) -> Path:
        is_second = (ROOT / "cgroup.controllers").exists()
        quota = round(self.processors * PERIOD)
        path = (ROOT if is_second else ROOT / "cpu") / f"hapi-bench-{os.getpid()}-{id(self):x}"
        if is_second:
            (ROOT / "cgroup.subtree_control").write_text("+cpu")
        path.mkdir()
        if is_second:
            (path / "cpu.max").write_text(f"{quota} {PERIOD}")
        else:
            (path / "cpu.cfs_period_us").write_text(str(PERIOD))
            (path / "cpu.cfs_quota_us").write_text(str(quota))
        return path

    def close(self) -> None:
        """Remove the group; its programs have ended, and the system notices that soon."""
        if self._path is None:
            return
        end = time.monotonic() + REMOVE_TIMEOUT
        while True:
            try:
                self._path.rmdir()
                break
            except OSError as error:
                if error.errno != errno.EBUSY or time.monotonic() > end:
                    raise
                time.sleep(0.05)
        self._path = None
