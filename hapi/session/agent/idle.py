"""Rest of an idle agent: its processes are ended while the session stays, and the next prompt
starts them again with the agent's memory (`session/load`)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from attrs import define, field
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from hapi.deferreds import run_in_background

CHECK_INTERVAL = 2.0  # seconds
MIN_IDLE_TIME = 30.0  # seconds before the runner may ask for the agent's memory


@define(eq=False, repr=False)
class IdleAgent:
    """Puts the agent of one session to rest.

    `limit`: seconds of idleness after which it rests, or earlier when `is_wanted()` says that the
    machine needs its memory; None: never. `may_rest()` tells whether the agent runs, can be resumed
    and has nothing to do now; `has_background_processes()` whether it has started programs that
    still run, and is asked only before the rest. `rest()` ends its processes.
    """

    _clock: IReactorTime
    limit: float | None
    _may_rest: Callable[[], bool]
    _has_background_processes: Callable[[], Awaitable[bool]]
    _is_wanted: Callable[[], bool]
    _rest: Callable[[], Awaitable[object]]
    changed: Callable[[], object] = field(default=lambda: None)
    idle_for_since: float | None = None  # seconds of the clock; None while it may not rest
    _loop: LoopingCall = field(init=False)
    _is_resting: bool = False
    log = Logger()

    def __attrs_post_init__(self) -> None:
        self._loop = LoopingCall(self._guarded)
        self._loop.clock = self._clock

    def start(self) -> None:
        if self.limit is None:
            return
        self._loop.start(CHECK_INTERVAL, now=False)

    def stop(self) -> None:
        if self._loop.running:
            self._loop.stop()

    def seen(self, *_: Any) -> None:
        """The agent did something, or was asked to."""
        self.idle_for_since = None

    @property
    def idle_time(self) -> float | None:
        """The seconds for which the agent has had nothing to do; None if it may not rest."""
        if self.idle_for_since is None:
            return None
        return self._clock.seconds() - self.idle_for_since

    def _guarded(self) -> None:
        try:
            self._check()
        except Exception:
            self.log.failure("Whether the agent is idle could not be found out")

    def _check(self) -> None:
        if self._is_resting or not self._may_rest():
            self.idle_for_since = None
            return
        if self.idle_for_since is None:
            self.idle_for_since = self._clock.seconds()
            self.changed()
        idle = self._clock.seconds() - self.idle_for_since
        if idle >= (self.limit or 0.0) or (idle >= MIN_IDLE_TIME and self._is_wanted()):
            self._is_resting = True
            run_in_background(self._try(), self.log, "The agent could not be put to rest")

    async def _try(self) -> None:
        try:
            if await self._has_background_processes():
                self.idle_for_since = None  # looked at again after the same time
            elif self._may_rest():  # nothing has come meanwhile
                await self._rest()
        finally:
            self._is_resting = False
