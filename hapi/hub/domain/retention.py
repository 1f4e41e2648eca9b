"""Which sessions are kept: by age, by the size of the database, or all of them (the default).

Only sessions without a process go, never pinned ones, the one that was used least recently first.
Everything happens in portions with pauses between them, so that nobody waits for it.
"""

from __future__ import annotations

from collections.abc import Iterable

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.logger import Logger

from hapi.hub.domain.entities import HubSession
from hapi.hub.domain.lifecycle import Lifecycle
from hapi.hub.domain.notifications import session_label
from hapi.hub.domain.registry import HubRegistry
from hapi.hub.domain.retention_limits import NO_LIMITS, RetentionLimits
from hapi.hub.store.interface import StoreBusy, StoreFailed, StoreFull, StoreLost
from hapi.hub.store.shared import Moved
from hapi.redaction import escape_control
from hapi.units import format_duration, format_size, plural

SWEEP_INTERVAL = 60.0  # seconds
# After the start, processes need a while to report that they live.
FIRST_REMOVAL = 15 * 60.0  # seconds
PAUSE = 0.02  # seconds between two portions of work
# A full database removes nothing that was used within this time, and a clock that is set forward
# ages no session by more than this.
RECENT = 24 * 3600 * 1000  # ms
CLOCK_TOLERANCE = 3600.0  # seconds that the wall clock may differ from the monotonic one in a sweep
FREE_RESERVE = 4 << 20  # bytes of free space that stay in the database for what comes next
NAMES_SHOWN = 20  # in one line of the log


# --- deciding -------------------------------------------------------------------------------------


def last_used(session: HubSession) -> int:
    """When the session was last used, in ms."""
    return max(session.active_at, session.row.active_at, session.row.updated_at)


def is_archived(session: HubSession) -> bool:
    return bool(session.metadata.get("lifecycleState") == "archived")


def removable(session: HubSession) -> bool:
    """Whether retention may remove the session at all."""
    return not (session.active or session.row.pinned or session.row.global_pinned)


def expired(sessions: Iterable[HubSession], now: int, keep: float) -> list[HubSession]:
    """The sessions that were not used for `keep` seconds, the oldest first. `now` is in ms.

    Time is taken to be at most a day after the newest use of any session: a clock that is wrong by
    years removes nothing.
    """
    everything = list(sessions)
    newest = max(map(last_used, everything), default=now)
    limit = min(now, newest + RECENT) - keep * 1000
    found = [one for one in everything if removable(one) and last_used(one) < limit]
    return sorted(found, key=last_used)


def least_needed(sessions: Iterable[HubSession], now: int) -> HubSession | None:
    """The session that goes first when the database is too large: archived ones before others, the
    oldest first; None if none may go.
    """
    found = [one for one in sessions if removable(one) and last_used(one) < now - RECENT]
    return min(found, key=lambda one: (not is_archived(one), last_used(one)), default=None)


# --- acting ---------------------------------------------------------------------------------------


@define(eq=False, repr=False)
class Retention:
    """Removes sessions beyond the limits, and gives the space back."""

    registry: HubRegistry
    lifecycle: Lifecycle
    limits: RetentionLimits = NO_LIMITS
    is_stopped: bool = False
    _started_at: float = field(init=False)  # clock seconds
    _last: tuple[float, int] = field(init=False)  # clock seconds and ms of the last sweep
    _is_too_large: bool = False  # the log says so already
    _is_purging: bool = False

    log = Logger()

    def __attrs_post_init__(self) -> None:
        self._started_at = self.registry.clock.seconds()
        self._last = (self._started_at, self.registry.now())

    def stop(self) -> None:
        self.is_stopped = True

    def purge_soon(self, _session_id: str) -> None:
        """Delete what is left of a large session that somebody has deleted."""
        if not self._is_purging and self.registry.runs_singleton_tasks:
            Deferred.fromCoroutine(self._purge()).addErrback(
                lambda failure: self.log.warn(
                    "A deleted session will be purged later: {reason}",
                    reason=failure.getErrorMessage(),
                )
            )

    async def sweep(self) -> None:
        """Remove what is beyond the limits. Call this every SWEEP_INTERVAL."""
        if not self.registry.runs_singleton_tasks:
            return
        try:
            await self._sweep()
        except StoreLost:
            raise  # logged where it was noticed
        except (StoreBusy, StoreFull, StoreFailed) as error:
            if not self.is_stopped:
                self.log.warn("Retention goes on in a minute: {reason}", reason=str(error))

    async def _sweep(self) -> None:
        await self._purge()
        if self._may_remove():
            if self.limits.keep_sessions is not None:
                await self._remove_expired(self.limits.keep_sessions)
            if self.limits.database_size is not None:
                await self._remove_for_space(self.limits.database_size)
        while not self.is_stopped and await self.registry.store.reclaim(FREE_RESERVE):
            await self._pause()

    def _may_remove(self) -> bool:
        """Not soon after the start, and not in the minute in which the clock was set."""
        clock, now = self.registry.clock.seconds(), self.registry.now()
        before, then = self._last
        self._last = (clock, now)
        if abs((now - then) / 1000 - (clock - before)) > CLOCK_TOLERANCE:
            return False
        return not self.is_stopped and clock - self._started_at >= FIRST_REMOVAL

    async def _pause(self) -> None:
        await deferLater(self.registry.clock, PAUSE)

    async def _purge(self) -> None:
        self._is_purging = True
        try:
            while not self.is_stopped and await self.registry.store.purge():
                await self._pause()
        finally:
            self._is_purging = False

    async def _remove_expired(self, keep: float) -> None:
        removed: list[tuple[HubSession, int]] = []
        try:
            for session in expired(self.registry.sessions.values(), self.registry.now(), keep):
                if self.is_stopped or not self.registry.runs_singleton_tasks:
                    break
                await self._remove(session, removed)
        finally:
            reason = f"they were not used for {format_duration(keep)} (--keep-sessions)"
            self._report(removed, reason)

    async def _remove_for_space(self, limit: int) -> None:
        removed: list[tuple[HubSession, int]] = []
        tried: set[str] = set()
        is_too_large = False
        try:
            while not self.is_stopped and (await self.registry.store.size()).used > limit:
                sessions = (one for one in self.registry.sessions.values() if one.id not in tried)
                session = least_needed(sessions, self.registry.now())
                if session is None:
                    is_too_large = True
                    break
                tried.add(session.id)
                await self._remove(session, removed)
        finally:
            reason = f"the database exceeded {format_size(limit)} (--max-database-size)"
            self._report(removed, reason)
        if is_too_large and not self._is_too_large:
            await self._report_size(limit)
        self._is_too_large = is_too_large

    async def _remove(self, session: HubSession, removed: list[tuple[HubSession, int]]) -> None:
        try:
            count = await self.lifecycle.discard(session)
        except Moved:  # it is in use at another hub
            return
        if count is not None:
            removed.append((session, count))
        await self._purge()
        await self._pause()

    async def _report_size(self, limit: int) -> None:
        self.log.warn(
            "The database takes {size}, more than {limit} (--max-database-size), and no session "
            "can be removed: all are active, pinned, or were used within a day",
            size=format_size((await self.registry.store.size()).used),
            limit=format_size(limit),
        )

    def _report(self, removed: list[tuple[HubSession, int]], reason: str) -> None:
        """One line for each NAMES_SHOWN removed sessions."""
        for start in range(0, len(removed), NAMES_SHOWN):
            part = removed[start : start + NAMES_SHOWN]
            self.log.info(
                "Retention removed {sessions} with {messages}, because {reason}: {names}",
                sessions=plural(len(part), "session"),
                messages=plural(sum(count for _, count in part), "message"),
                reason=reason,
                names=", ".join(
                    f"{escape_control(session_label(session))!r} "
                    f"({session.id}, {plural(count, 'message')})"
                    for session, count in part
                ),
            )
