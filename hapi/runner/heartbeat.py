"""The runner's heartbeat: a loop that never overlaps itself, and what each beat checks."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol

from attrs import define
from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from hapi.process import IProcesses
from hapi.runner.attempts.registry import ChildRegistry
from hapi.runner.attempts.reports import ReportMonitor
from hapi.runner.attempts.retention import Retention
from hapi.runner.lock.home_lock import RunnerLock, Superseded
from hapi.runner.storage.disk import Disk
from hapi.runner.storage.state_file import OwnState


class Heartbeat(Service):
    """Call `beat` every `interval` seconds.

    A beat that fails is logged and the next one still comes; ticks that fall into a running beat
    are skipped. The counts are shown by `status`.
    """

    log = Logger()

    def __init__(
        self, clock: IReactorTime, interval: float, beat: Callable[[], Awaitable[None]]
    ) -> None:
        self._interval, self._beat = interval, beat
        self._loop = LoopingCall(lambda: Deferred.fromCoroutine(self._guarded()))
        self._loop.clock = clock
        self.beats = self.failures = 0
        self.seconds: float | None = None  # duration of the last beat
        self._ended: float | None = None  # seconds of the clock

    def startService(self) -> None:
        super().startService()  # type: ignore[no-untyped-call]
        self._loop.start(self._interval, now=False).addErrback(
            lambda reason: self.log.failure("The heartbeat ended", reason)
        )

    def stopService(self) -> None:
        super().stopService()  # type: ignore[no-untyped-call]
        if self._loop.running:
            self._loop.stop()

    @property
    def last_ago(self) -> float | None:
        """Seconds since the last beat ended; None before the first one."""
        return None if self._ended is None else self._loop.clock.seconds() - self._ended

    @property
    def next_in(self) -> float | None:
        """Seconds until the next beat; None while one runs, and after the end."""
        call = self._loop.call
        return None if call is None else max(call.getTime() - self._loop.clock.seconds(), 0.0)

    async def _guarded(self) -> None:
        begun = self._loop.clock.seconds()
        try:
            await self._beat()
        except Exception:
            self.failures += 1
            self.log.failure("A heartbeat failed")
        finally:
            self.beats += 1
            self._ended = self._loop.clock.seconds()
            self.seconds = self._ended - begun


class UpgradeCheck(Protocol):
    """The hand-off coordinator, as far as the heartbeat needs it."""

    @property
    def in_progress(self) -> bool: ...
    def check_for_upgrade(self) -> None: ...


@define(eq=False, repr=False)
class HeartbeatTasks:
    """Everything one heartbeat does.

    `superseded(pid)` is called when another process owns the home.
    """

    _processes: IProcesses
    _children: ChildRegistry
    _reports: ReportMonitor
    _retention: Retention
    _state: OwnState
    _handoff: UpgradeCheck
    _disk: Disk
    _lock: Callable[[], RunnerLock | None]
    _superseded: Callable[[int | None], object]
    _now: Callable[[], float]
    log = Logger()

    async def __call__(self) -> None:
        if self._handoff.in_progress:
            return  # the files may belong to the other runner of the hand-off
        lock = self._lock()
        verdict = lock.verify_ownership() if lock is not None else "ours"
        if isinstance(verdict, Superseded):
            self.log.error(
                "Process {pid} has taken this home over; its sessions stay as they are",
                pid=verdict.pid,
            )
            self._superseded(verdict.pid)
            return
        for child in self._children.unwatched():
            if child.identity is not None and self._processes.is_running(child.identity) is False:
                await self._children.process_vanished(child)
        await self._children.retry_writes()
        await self._state.record_heartbeat(self._now())
        self._reports.refresh(self._children.live())
        for child in self._retention.outdated(list(self._children), self._now()):
            await self._disk.do(child.folder.remove)
            self._children.forget(child)
            self._reports.forget(child)
        self._handoff.check_for_upgrade()
