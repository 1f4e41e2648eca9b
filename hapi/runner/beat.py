"""What a runner looks after once a minute: that the home is still its own, ends nobody told, old folders, another build."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from attrs import define
from twisted.logger import Logger

from hapi.process import IProcesses
from hapi.runner.attempts.child import Child
from hapi.runner.attempts.registry import ChildRegistry
from hapi.runner.attempts.reports import ReportMonitor
from hapi.runner.attempts.retention import Retention
from hapi.runner.lock.home_lock import RunnerLock, Superseded
from hapi.runner.storage.disk import Disk
from hapi.runner.storage.state_file import OwnState


class Builds(Protocol):
    """From build to build (succession.py)."""

    @property
    def under_way(self) -> bool: ...
    def look(self) -> None: ...


@define(eq=False)
class Beat:
    """`superseded(pid)` hears that the home is another's by now."""

    _processes: IProcesses
    _children: ChildRegistry
    _reports: ReportMonitor
    _retention: Retention
    _state: OwnState
    _builds: Builds
    _disk: Disk
    _lock: Callable[[], RunnerLock | None]
    _superseded: Callable[[int | None], object]
    _now: Callable[[], float]
    log = Logger()

    async def __call__(self) -> None:
        if self._builds.under_way:
            return  # whose the files are is being settled
        lock = self._lock()
        verdict = lock.fence() if lock is not None else "ours"
        if isinstance(verdict, Superseded):
            self.log.error(
                "Process {pid} has taken this home over; its sessions stay as they are",
                pid=verdict.pid,
            )
            self._superseded(verdict.pid)
            return
        for child in self._unwatched():
            if child.identity is not None and self._processes.is_running(child.identity) is False:
                await self._children.process_vanished(child)
        await self._children.retry_writes()
        await self._state.beat(self._now())
        self._reports.refresh(self._children.live())
        for child in self._retention.outdated(list(self._children), self._now()):
            await self._disk.do(child.folder.remove)
            self._children.forget(child)
            self._reports.forget(child)
        self._builds.look()

    def _unwatched(self) -> list[Child]:
        """Those whose end nobody would tell us: watching them has failed. The kernel tells of all others."""
        return [
            child
            for child in self._children.live()
            if child.watching is None or child.watching.called
        ]
