"""The outbox: what waits for the connection and what is sent but not confirmed.

It is bounded and in order; the oldest entries are dropped first.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

from attrs import define, field


@define(eq=False)
class Entry:
    """A message to be sent. `event` and `args` are kept if it may have to be sent again."""

    text: str
    sent: Callable[[], object] = field(default=lambda: None)
    dropped: Callable[[], object] = field(default=lambda: None)
    event: str | None = None
    args: tuple[Any, ...] = ()
    withdrawn: bool = False
    serial: int = 0
    attempts: int = 0  # connections lost after it was sent


@define(eq=False)
class Outbox:
    """At most `max_entries` entries and `max_size` characters, waiting and unconfirmed together."""

    max_entries: int = 10_000
    max_size: int = 64 * 1024 * 1024
    dropped_count: int = 0  # entries dropped to make room
    _waiting: deque[Entry] = field(factory=deque)
    _unconfirmed: deque[Entry] = field(factory=deque)
    _size: int = 0
    _serial: int = 0

    def __len__(self) -> int:
        return len(self._waiting)

    @property
    def unconfirmed(self) -> tuple[Entry, ...]:
        """Sent entries that the hub has not confirmed, oldest first."""
        return tuple(self._unconfirmed)

    @property
    def last_serial(self) -> int:
        """The serial of the last sent entry, for `confirm` once the hub answers something sent
        later."""
        return self._serial

    def put(self, entry: Entry) -> None:
        """Append to the waiting entries; the oldest ones are dropped to make room."""
        self._waiting.append(entry)
        self._size += len(entry.text)
        self._make_room()

    def withdraw(self, entry: Entry) -> None:
        """The sender gave up: the entry is skipped when its turn comes."""
        entry.withdrawn = True

    def next(self) -> Entry | None:
        """Take the oldest waiting entry that was not withdrawn."""
        while self._waiting:
            entry = self._take(self._waiting)
            if not entry.withdrawn:
                return entry
        return None

    def mark_sent(self, entry: Entry) -> None:
        """The entry was sent. One with an `event` is kept until it is confirmed."""
        entry.sent()
        if entry.event is not None:
            self._serial = entry.serial = self._serial + 1
            self._unconfirmed.append(entry)
            self._size += len(entry.text)
            self._make_room()

    def confirm(self, serial: int) -> None:
        """The hub has everything up to `serial`."""
        while self._unconfirmed and self._unconfirmed[0].serial <= serial:
            self._take(self._unconfirmed)

    def requeue(self, entries: list[Entry]) -> None:
        """Put `entries`, which are neither waiting nor unconfirmed, before all others."""
        self._waiting.extendleft(reversed(entries))
        self._size += sum(len(entry.text) for entry in entries)

    def clear(self) -> list[Entry]:
        """Empty the outbox; returns the waiting entries that were not withdrawn."""
        entries = [entry for entry in self._waiting if not entry.withdrawn]
        self._waiting.clear()
        self._unconfirmed.clear()
        self._size = 0
        return entries

    def _make_room(self) -> None:
        while (
            len(self._waiting) + len(self._unconfirmed) > self.max_entries
            or self._size > self.max_size
        ):
            if self._unconfirmed:  # most probably arrived
                self._take(self._unconfirmed)
                continue
            oldest = self._take(self._waiting)
            if not oldest.withdrawn:
                self.dropped_count += 1
                oldest.dropped()

    def _take(self, entries: deque[Entry]) -> Entry:
        entry = entries.popleft()
        self._size -= len(entry.text)
        return entry
