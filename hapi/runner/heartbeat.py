"""The runner's beat: never two at once, and one that fails is logged while the next still comes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger


class Heartbeat(Service):
    """Calls `beat` every `interval` seconds; ticks that come while one runs are left out. The counts are for `status`."""

    log = Logger()

    def __init__(
        self, clock: IReactorTime, interval: float, beat: Callable[[], Awaitable[None]]
    ) -> None:
        self._interval, self._beat = interval, beat
        self._loop = LoopingCall(lambda: Deferred.fromCoroutine(self._guarded()))
        self._loop.clock = clock
        self.beats = self.failures = 0
        self.seconds: float | None = None  # what the last one took

    def startService(self) -> None:
        super().startService()  # type: ignore[no-untyped-call]
        self._loop.start(self._interval, now=False).addErrback(
            lambda reason: self.log.failure("The heartbeat ended", reason)
        )

    def stopService(self) -> None:
        super().stopService()  # type: ignore[no-untyped-call]
        if self._loop.running:
            self._loop.stop()

    async def _guarded(self) -> None:
        begun = self._loop.clock.seconds()
        try:
            await self._beat()
        except Exception:
            self.failures += 1
            self.log.failure("A heartbeat failed")
        finally:
            self.beats += 1
            self.seconds = self._loop.clock.seconds() - begun
