"""The outbox: what waits for the connection and what is sent but not confirmed.

It is in order and bounded. Nothing leaves it but what the hub has confirmed; when it is full, new
entries are refused and counted.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

from attrs import define, field

from hapi.protocol.json import from_json


@define(eq=False, repr=False)
class Entry:
    """A message to be sent. One with an `event` is kept until it is confirmed, because it may have
    to be sent again.

    `spooled_from`: its position in the spool file, None if it is not there.
    """

    text: str
    sent: Callable[[], object] = field(default=lambda: None)
    dropped: Callable[[], object] = field(default=lambda: None)
    event: str | None = None
    withdrawn: bool = False
    serial: int = 0
    added_at: float = 0.0  # seconds of the reactor's clock
    sent_at: float | None = None
    losses: int = 0  # connections that were lost while it was the first one unconfirmed
    spooled_from: int | None = None
    settled: bool = False  # it has left the outbox

    @property
    def event_json(self) -> str:
        """Name and arguments of the event as a JSON array."""
        return self.text[self.text.index("[") :]

    @property
    def args(self) -> tuple[Any, ...]:
        """The arguments of the event; they are kept as text only."""
        return tuple(from_json(self.event_json)[1:])


@define(eq=False, repr=False)
class Outbox:
    """At most `max_entries` entries and `max_size` characters, waiting and unconfirmed together;
    of these at most `max_unconfirmed` entries and `max_unconfirmed_size` characters are sent ahead
    of the hub's confirmation."""

    max_entries: int = 200_000
    max_size: int = 64 * 1024 * 1024
    max_unconfirmed: int = 1000
    max_unconfirmed_size: int = 8 * 1024 * 1024
    dropped_count: int = 0  # entries for which there was no room
    _waiting: deque[Entry] = field(factory=deque)
    _unconfirmed: deque[Entry] = field(factory=deque)
    _size: int = 0
    _unconfirmed_size: int = 0
    _serial: int = 0

    def __len__(self) -> int:
        return len(self._waiting)

    @property
    def unconfirmed(self) -> tuple[Entry, ...]:
        """Sent entries that the hub has not confirmed, oldest first."""
        return tuple(self._unconfirmed)

    @property
    def has_unconfirmed(self) -> bool:
        return bool(self._unconfirmed)

    @property
    def is_empty(self) -> bool:
        """Whether nothing waits and everything is confirmed."""
        return not self._waiting and not self._unconfirmed

    @property
    def oldest(self) -> Entry | None:
        """The entry that has been here for the longest time."""
        return next(iter(self), None)

    def __iter__(self) -> Iterator[Entry]:
        """All entries, the oldest first."""
        yield from self._unconfirmed
        yield from self._waiting

    @property
    def last_serial(self) -> int:
        """The serial of the last sent entry, for `confirm` once the hub answers something sent
        later."""
        return self._serial

    def put(self, entry: Entry) -> bool:
        """Append to the waiting entries. False if there is no room: the entry is dropped."""
        if (
            len(self._waiting) + len(self._unconfirmed) >= self.max_entries
            or self._size + len(entry.text) > self.max_size
        ):
            self.dropped_count += 1
            entry.dropped()
            return False
        self._waiting.append(entry)
        self._size += len(entry.text)
        return True

    def withdraw(self, entry: Entry) -> None:
        """The sender gave up: the entry is skipped when its turn comes."""
        entry.withdrawn = True

    def next(self) -> Entry | None:
        """Take the oldest waiting entry that was not withdrawn; None if it may not be sent yet."""
        while self._waiting:
            entry = self._waiting[0]
            if entry.event is not None and self._is_window_full():
                return None
            self._waiting.popleft()
            self._size -= len(entry.text)
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
            self._unconfirmed_size += len(entry.text)

    def confirm(self, serial: int) -> list[Entry]:
        """The hub has everything up to `serial`: these entries leave."""
        confirmed = []
        while self._unconfirmed and self._unconfirmed[0].serial <= serial:
            entry = self._unconfirmed.popleft()
            self._size -= len(entry.text)
            self._unconfirmed_size -= len(entry.text)
            entry.settled = True
            confirmed.append(entry)
        return confirmed

    def take_unconfirmed(self) -> None:
        """Take out all unconfirmed entries: those that the hub lacks are queued again."""
        for entry in self._unconfirmed:
            self._size -= len(entry.text)
        self._unconfirmed.clear()
        self._unconfirmed_size = 0

    def requeue(self, entries: list[Entry]) -> None:
        """Put `entries`, which are neither waiting nor unconfirmed, before all others."""
        self._waiting.extendleft(reversed(entries))
        self._size += sum(len(entry.text) for entry in entries)

    def adopt(self, entries: list[Entry]) -> None:
        """Take in events that an earlier process may have sent, before all others."""
        for entry in reversed(entries):
            self._unconfirmed.appendleft(entry)
            self._size += len(entry.text)
            self._unconfirmed_size += len(entry.text)

    def clear(self) -> list[Entry]:
        """Empty the outbox; returns the waiting entries that were not withdrawn."""
        entries = [entry for entry in self._waiting if not entry.withdrawn]
        self._waiting.clear()
        self._unconfirmed.clear()
        self._size = self._unconfirmed_size = 0
        return entries

    def _is_window_full(self) -> bool:
        return (
            len(self._unconfirmed) >= self.max_unconfirmed
            or self._unconfirmed_size >= self.max_unconfirmed_size
        )
