"""Admission of starts: a session limit, memory that must stay free, a bounded queue, and
draining."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from hapi.protocol.spawn import RefusalCode, SpawnRefused
from hapi.runner.config.admission_limits import AdmissionLimits
from hapi.runner.spawn.memory import available_memory
from hapi.units import format_size, plural

QUEUE_TIMEOUT = 20.0  # seconds; a hub waits 30 s for its answer, and the start itself takes time
MEMORY_POLL_INTERVAL = 1.0  # seconds between readings of the free memory while a start waits


def capacity_refusal(limits: AdmissionLimits, live: int, free: int | None) -> SpawnRefused | None:
    """Why one more session does not fit, None if it does.

    `live` sessions run, and `free` bytes of memory are available. If that number is unknown (None),
    no start is refused for lack of memory.
    """
    if limits.sessions is not None and live >= limits.sessions:
        return SpawnRefused(
            f"This machine runs {live} of at most {plural(limits.sessions, 'session')} "
            "(--max-sessions)",
            RefusalCode.SESSION_LIMIT,
        )
    if limits.free_memory is not None and free is not None and free < limits.free_memory:
        return SpawnRefused(
            f"This machine has {format_size(free)} of free memory, less than the required "
            f"{format_size(limits.free_memory)} (--min-free-memory)",
            RefusalCode.MEMORY_LIMIT,
        )
    return None


@define(eq=False, repr=False)
class Slot:
    """Permission to start one session.

    A slot counts as one session until it is released: when the session is in the registry and
    counts by itself, or when its start has failed.
    """

    _admission: Admission
    _released: bool = False

    def release(self) -> None:
        """Give the slot back. A second call changes nothing."""
        if not self._released:
            self._released = True
            self._admission.slot_released()


@define(eq=False, repr=False)
class QueuedStart:
    """A start that waits for a slot; `is_wanted()` turns false when the start was cancelled."""

    since: float  # seconds of the reactor's clock
    is_wanted: Callable[[], bool]
    answer: Deferred[Slot | SpawnRefused] = field(factory=Deferred)


@define(eq=False, repr=False)
class Admission:
    """Admits starts one by one, in the order in which they came.

    `relieve()` asks for the memory of an idle agent and returns whether there is one: a start for
    which memory is short then waits, whatever the length of the queue.
    """

    _clock: IReactorTime
    limits: AdmissionLimits
    _live_count: Callable[[], int]  # sessions that run
    _call_later: Callable[[float, Callable[[], object]], object]
    _available_memory: Callable[[], int | None] = available_memory
    _relieve: Callable[[], bool] = lambda: False
    draining: str | None = None  # why every start is refused; None while starts are admitted
    _entering: int = 0  # slots that are not released yet
    _queue: deque[QueuedStart] = field(factory=deque)
    _poll_scheduled: bool = False
    _is_processing: bool = False
    log = Logger()

    async def admit(self, is_wanted: Callable[[], bool] = lambda: True) -> Slot | SpawnRefused:
        """Give a slot, after a wait in the queue if necessary, or the reason why there is none."""
        if self.draining is not None:
            return SpawnRefused(self.draining, RefusalCode.DRAINING)
        refusal = self._refusal()
        if refusal is None and not self._queue:
            return self._take_slot()
        if len(self._queue) >= self.limits.queue and not self._is_relieved(refusal):
            return self._queue_full(refusal)
        queued = QueuedStart(self._clock.seconds(), is_wanted)
        self._queue.append(queued)
        self._schedule_poll()
        return await queued.answer

    def _queue_full(self, refusal: SpawnRefused | None) -> SpawnRefused:
        reason = refusal.message if refusal is not None else "Other starts are waiting"
        if not self.limits.queue:
            return refusal or SpawnRefused(reason, RefusalCode.QUEUE_FULL)
        return SpawnRefused(
            f"{reason}, and the queue is full: "
            f"{plural(len(self._queue), 'start')} waiting (--queue)",
            RefusalCode.QUEUE_FULL,
        )

    def _refusal(self) -> SpawnRefused | None:
        free = self._available_memory() if self.limits.free_memory is not None else None
        return capacity_refusal(self.limits, self._live_count() + self._entering, free)

    def _is_relieved(self, refusal: SpawnRefused | None) -> bool:
        """Whether an idle agent gives its memory to the start that was refused."""
        return (
            refusal is not None
            and refusal.code == RefusalCode.MEMORY_LIMIT
            and len(self._queue) <= max(self.limits.queue, 1)
            and self._relieve()
        )

    def _take_slot(self) -> Slot:
        self._entering += 1
        return Slot(self)

    def slot_released(self) -> None:
        """Called by a slot when it is released."""
        self._entering -= 1
        self.process_queue()

    # --- the queue

    def process_queue(self) -> None:
        """Admit the waiting starts that fit by now, and refuse those that have waited too long."""
        if self._is_processing:  # called again by a slot released below: the loop goes on anyway
            return
        self._is_processing = True
        try:
            self._drop_cancelled()
            self._admit_waiting()
        finally:
            self._is_processing = False

    def _drop_cancelled(self) -> None:
        for cancelled in [queued for queued in self._queue if not queued.is_wanted()]:
            self._queue.remove(cancelled)
            cancelled.answer.callback(SpawnRefused("The start was cancelled"))

    def _admit_waiting(self) -> None:
        while self._queue:
            refusal = self._refusal()
            if refusal is None:
                self._queue.popleft().answer.callback(self._take_slot())
            elif self._clock.seconds() - self._queue[0].since >= QUEUE_TIMEOUT:
                message = f"{refusal.message}; no slot became free within {QUEUE_TIMEOUT:.0f} s"
                self._queue.popleft().answer.callback(SpawnRefused(message, refusal.code))
            else:
                self._is_relieved(refusal)
                break

    def _schedule_poll(self) -> None:
        if not self._poll_scheduled:
            self._poll_scheduled = True
            self._call_later(MEMORY_POLL_INTERVAL, self._poll)

    def _poll(self) -> None:
        self._poll_scheduled = False
        self.process_queue()
        if self._queue:
            self._schedule_poll()

    # --- draining

    def drain(self, reason: str) -> None:
        """Admit no more starts; those in the queue are refused with `reason`."""
        self.draining = reason
        self.refuse_all(SpawnRefused(reason, RefusalCode.DRAINING))

    def resume(self) -> None:
        """Admit starts again."""
        self.draining = None

    def refuse_all(self, refusal: SpawnRefused) -> None:
        """Answer every start in the queue with `refusal`."""
        waiting, self._queue = list(self._queue), deque()
        for queued in waiting:
            queued.answer.callback(refusal)

    def status(self) -> dict[str, Any]:
        """The limits, the free memory and the length of the queue, as `/status` shows them."""
        return {
            "accepting": self.draining is None,
            "maxSessions": self.limits.sessions,
            "minFreeMemory": self.limits.free_memory,
            "freeMemory": self._available_memory(),
            "queue": self.limits.queue,
            "waiting": len(self._queue),
        }
