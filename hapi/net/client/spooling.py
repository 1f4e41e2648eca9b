"""When the outbox goes to the disk: while the hub is away, or confirms too slowly.

With a hub that confirms at once nothing is written. A process that is killed loses what was added
within `SPOOL_DELAY` before, and only if its hub was connected and silent, or never connected yet.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, Protocol

from attrs import define, field
from twisted.internet.defer import Deferred, execute, fail
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from hapi.net.client.outbox import Entry, Outbox

SPOOL_DELAY = 1.0  # seconds that an event may wait for its confirmation without being on the disk
SYNC_INTERVAL = 0.2  # seconds between two syncs of the file
RETRY_INTERVAL = 1.0  # seconds after a failed write

InThread = Callable[[Callable[[], Any]], Deferred[Any]]


class Spool(Protocol):
    """A file of events (`hapi.spool.SpoolFile`)."""

    position: int
    is_dirty: bool

    def append(self, text: str) -> int:
        """Raises OSError."""

    def begin_sync(self) -> Callable[[], None]: ...
    def confirm(self, position: int) -> None: ...
    def close(self) -> None: ...


@define(eq=False, repr=False)
class Spooling:
    """Writes the events of `outbox` to `spool`. `on_change` is called when `problem` changes."""

    _clock: IReactorTime
    _outbox: Outbox
    _spool: Spool
    _on_change: Callable[[], object]
    _in_thread: InThread = execute
    problem: str | None = None  # why events are in memory only
    _is_active: bool = False  # every new event is written at once
    _spooled: deque[Entry] = field(factory=deque)
    _timer: IDelayedCall | None = None
    _sync_timer: IDelayedCall | None = None
    _is_syncing: bool = False
    _is_closed: bool = False
    log = Logger()

    @property
    def is_active(self) -> bool:
        return self._is_active

    def added(self, entry: Entry) -> None:
        """`entry` was put into the outbox."""
        if self._is_active and self.problem is None:
            self._write([entry])
        else:
            self._schedule(SPOOL_DELAY)

    def link_lost(self) -> None:
        """The connection is lost: all that is unconfirmed is written now, and the rest at once."""
        self._activate()

    def settled(self) -> None:
        """Entries have left the outbox."""
        while self._spooled and self._spooled[0].settled:
            self._spooled.popleft()
        first = self._spooled[0].spooled_from if self._spooled else None
        self._spool.confirm(self._spool.position if first is None else first)

    def confirmed(self) -> None:
        """The hub has confirmed; as long as it does so in time, nothing more is written."""
        self.settled()
        if self._age() < SPOOL_DELAY:
            self._is_active = False
            self._set_problem(None)

    def close(self) -> None:
        """Write what is not confirmed, sync it, and leave the file to whoever delivers it."""
        self._is_closed = True
        for timer in (self._timer, self._sync_timer):
            if timer is not None and timer.active():
                timer.cancel()
        if not self._outbox.is_empty:
            self._write(self._outbox)
            try:
                self._spool.begin_sync()()
            except OSError as error:
                self._failed(error)
        self._spool.close()

    # --- inside
    def _age(self) -> float:
        oldest = self._outbox.oldest
        return 0.0 if oldest is None else self._clock.seconds() - oldest.added_at

    def _activate(self) -> None:
        if not self._is_closed:
            self._is_active = True
            self._write(self._outbox)

    def _schedule(self, seconds: float) -> None:
        if self._timer is None and not self._is_closed:
            self._timer = self._clock.callLater(seconds, self._check)

    def _check(self) -> None:
        self._timer = None
        if self._outbox.is_empty:
            return
        age = self._age()
        if age >= SPOOL_DELAY or self._is_active:
            self._activate()
        else:
            self._schedule(SPOOL_DELAY - age)

    def _write(self, entries: Any) -> None:
        try:
            for entry in entries:
                if entry.event is not None and entry.spooled_from is None and not entry.settled:
                    position = self._spool.position
                    self._spool.append(entry.event_json)
                    entry.spooled_from = position
                    self._spooled.append(entry)
        except OSError as error:
            self._failed(error)
        else:
            self._set_problem(None)
        if self._spool.is_dirty:
            self._schedule_sync()

    def _failed(self, error: OSError) -> None:
        self._set_problem(error.strerror or str(error))
        self._schedule(RETRY_INTERVAL)

    def _set_problem(self, reason: str | None) -> None:
        if reason == self.problem:
            return
        self.problem = reason
        if reason is not None:
            self.log.error(
                "Events that the hub has not confirmed are kept in memory only, and would be lost "
                "if this process were killed: {reason}",
                reason=reason,
            )
        self._on_change()

    def _schedule_sync(self) -> None:
        if self._sync_timer is None and not self._is_syncing and not self._is_closed:
            self._sync_timer = self._clock.callLater(SYNC_INTERVAL, self._sync)

    def _sync(self) -> None:
        self._sync_timer, self._is_syncing = None, True
        try:
            syncing = self._in_thread(self._spool.begin_sync())
        except OSError as error:
            syncing = fail(error)
        syncing.addErrback(self._sync_failed).addBoth(self._synced)

    def _sync_failed(self, failure: Failure) -> None:
        error = failure.value
        if not isinstance(error, OSError):
            failure.raiseException()
        else:
            self._failed(error)

    def _synced(self, result: object) -> None:
        self._is_syncing = False
        if isinstance(result, Failure):
            self.log.failure("The spool was not synced", result)
        if self._spool.is_dirty:
            self._schedule_sync()
