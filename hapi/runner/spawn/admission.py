"""Which starts are let in, and when: a limit of sessions, memory that must stay free, a bounded queue, and draining."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from attrs import define, field, frozen
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from hapi.protocol.spawn import SpawnRefused
from hapi.settings import wrong

WAIT = 20.0  # seconds in the queue: a hub waits 30 for its answer, and the start itself takes some of them
GLANCE = 1.0  # seconds between looks at the memory while somebody waits

SESSIONS, MEMORY, DRAINING, QUEUE_FULL = (
    "session_limit",
    "memory_limit",
    "draining",
    "queue_full",
)  # codes of refusals


@frozen
class Limits:
    """None: no limit. `free_memory` in bytes; `queue`: how many starts may wait for a place."""

    sessions: int | None = None
    free_memory: int | None = None
    queue: int = 0

    @classmethod
    def read(
        cls, given: Mapping[str, Any], environ: Mapping[str, str], settings: Mapping[str, Any]
    ) -> Limits:
        """From flags (`max_sessions`, `min_free_memory`, `queue`), else environment, else settings. Raises NotConfigured."""

        def one(flag: str, variable: str, key: str, read: Callable[[str], int]) -> int | None:
            flags = f"--{flag.replace('_', '-')}", given.get(flag)
            for name, value in (
                flags,
                (variable, environ.get(variable)),
                (f"{key} in settings.json", settings.get(key)),
            ):
                if value is None or value == "":
                    continue
                try:
                    return read(str(value))
                except ValueError as error:
                    raise wrong(name, f"{name} {value!r}: {error}") from error
            return None

        return cls(
            one("max_sessions", "HAPI_RUNNER_MAX_SESSIONS", "maxSessions", read_count),
            one("min_free_memory", "HAPI_RUNNER_MIN_FREE_MEMORY", "minFreeMemory", read_size),
            one("queue", "HAPI_RUNNER_QUEUE", "spawnQueue", read_count) or 0,
        )


def read_count(text: str) -> int:
    if not text.isascii() or not text.isdecimal() or len(text) > 9:
        raise ValueError("it must be a whole number, 0 or more")
    return int(text)


def read_size(text: str) -> int:
    """Bytes from `1048576`, `512M`, `2G`. Raises ValueError."""
    found = re.fullmatch(r"(\d{1,15})\s*([KMGT]?)(?:i?B)?", text.strip(), re.ASCII | re.IGNORECASE)
    if found is None:
        raise ValueError("it must be a number of bytes, with K, M or G behind it if you like")
    return int(found[1]) << (10 * " KMGT".index(found[2].upper() or " "))


def as_size(size: int) -> str:
    for letter, shift in (("G", 30), ("M", 20), ("K", 10)):
        if size >= 1 << shift:
            return f"{size / (1 << shift):.1f}".removesuffix(".0") + letter
    return str(size)


def free_memory(root: Path = Path("/")) -> int | None:
    """Bytes that programs can still get, here and in our control group; None where that cannot be found out."""
    found = []
    try:
        for line in (root / "proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                found.append(int(line.split()[1]) * 1024)
    except (OSError, ValueError, IndexError):
        pass
    try:
        group = root / "sys/fs/cgroup"
        found.append(
            int((group / "memory.max").read_text()) - int((group / "memory.current").read_text())
        )
    except (OSError, ValueError):
        pass  # no limit ("max"), or no such thing
    return max(min(found), 0) if found else None


def verdict(limits: Limits, live: int, free: int | None) -> SpawnRefused | None:
    """Why one more session does not fit beside `live` others with `free` bytes of memory; None if it does."""
    if limits.sessions is not None and live >= limits.sessions:
        return SpawnRefused(
            f"This machine runs {live} of at most {limits.sessions} sessions (--max-sessions)",
            SESSIONS,
        )
    if limits.free_memory is not None and free is not None and free < limits.free_memory:
        wanted = as_size(limits.free_memory)
        return SpawnRefused(
            f"This machine has {as_size(free)} of memory left, less than {wanted} (--min-free-memory)",
            MEMORY,
        )
    return None


@define(eq=False)
class Place:
    """Leave to start one session. It counts until it is given back: when the session is listed, or its start has failed."""

    _admission: Admission
    _given_back: bool = False

    def give_back(self) -> None:
        if not self._given_back:
            self._given_back = True
            self._admission.given_back()


@define(eq=False)
class Waiting:
    since: float
    wanted: Callable[[], bool]  # whether anything is to come of it still
    answer: Deferred[Place | SpawnRefused] = field(factory=Deferred)


@define(eq=False)
class Admission:
    """Starts enter one by one, in the order in which they came. `live` counts the sessions there are."""

    _clock: IReactorTime
    limits: Limits
    _live: Callable[[], int]
    _later: Callable[[float, Callable[[], object]], object]
    _free: Callable[[], int | None] = free_memory
    draining: str | None = None  # why nobody is let in
    _entering: int = 0
    _queue: deque[Waiting] = field(factory=deque)
    _glancing: bool = False
    _looking: bool = False
    log = Logger()

    async def enter(self, wanted: Callable[[], bool] = lambda: True) -> Place | SpawnRefused:
        """A place, after a wait if need be; or why there is none. One that is not `wanted` any more waits no longer."""
        if self.draining is not None:
            return SpawnRefused(self.draining, DRAINING)
        refusal = self._verdict()
        if refusal is None and not self._queue:
            return self._give()
        if len(self._queue) >= self.limits.queue:
            return self._full(refusal)
        waiting = Waiting(self._clock.seconds(), wanted)
        self._queue.append(waiting)
        self._glance_soon()
        return await waiting.answer

    def _full(self, refusal: SpawnRefused | None) -> SpawnRefused:
        reason = refusal.message if refusal is not None else "Other starts wait before this one"
        if not self.limits.queue:
            return refusal or SpawnRefused(reason, QUEUE_FULL)
        return SpawnRefused(
            f"{reason}, and {len(self._queue)} starts wait for a place already (--queue)",
            QUEUE_FULL,
        )

    def _verdict(self) -> SpawnRefused | None:
        free = self._free() if self.limits.free_memory is not None else None
        return verdict(self.limits, self._live() + self._entering, free)

    def _give(self) -> Place:
        self._entering += 1
        return Place(self)

    def given_back(self) -> None:
        self._entering -= 1
        self.look()

    # --- the queue

    def look(self) -> None:
        """Something ended, or time went by: let in who fits, tell those that have waited too long."""
        if (
            self._looking
        ):  # whoever was just let in gives back: the loop below goes on with the next
            return
        self._looking = True
        try:
            self._look()
        finally:
            self._looking = False

    def _look(self) -> None:
        for given_up in [waiting for waiting in self._queue if not waiting.wanted()]:
            self._queue.remove(given_up)
            given_up.answer.callback(SpawnRefused("Nobody waits for it any more"))
        while self._queue:
            refusal = self._verdict()
            if refusal is None:
                self._queue.popleft().answer.callback(self._give())
            elif self._clock.seconds() - self._queue[0].since >= WAIT:
                waited = f"{refusal.message}; no place became free within {WAIT:.0f} s"
                self._queue.popleft().answer.callback(SpawnRefused(waited, refusal.code))
            else:
                break

    def _glance_soon(self) -> None:
        if not self._glancing:
            self._glancing = True
            self._later(GLANCE, self._glance)

    def _glance(self) -> None:
        self._glancing = False
        self.look()
        if self._queue:
            self._glance_soon()

    # --- draining

    def drain(self, reason: str) -> None:
        """Let nobody in any more; those that wait are told."""
        self.draining = reason
        self.refuse_all(SpawnRefused(reason, DRAINING))

    def resume(self) -> None:
        self.draining = None

    def refuse_all(self, refusal: SpawnRefused) -> None:
        waiting, self._queue = list(self._queue), deque()
        for one in waiting:
            one.answer.callback(refusal)

    def status(self) -> dict[str, Any]:
        free = self._free()
        return {
            "accepting": self.draining is None,
            "maxSessions": self.limits.sessions,
            "minFreeMemory": self.limits.free_memory,
            "freeMemory": free,
            "queue": self.limits.queue,
            "waiting": len(self._queue),
        }
