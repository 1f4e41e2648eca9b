"""What waits for the connection: bounded, in order, the oldest goes first when there is no room."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from attrs import define, field


@define(eq=False)
class Entry:
    """A message still to be sent."""

    text: str
    sent: Callable[[], None] = field(default=lambda: None)
    dropped: Callable[[], None] = field(default=lambda: None)
    withdrawn: bool = False


@define(eq=False)
class Outbox:
    """At most `most` entries and `room` characters, whichever is reached first."""

    most: int = 10_000
    room: int = 64 * 1024 * 1024
    lost: int = 0  # entries dropped for want of room
    _entries: deque[Entry] = field(factory=deque)
    _size: int = 0

    def __len__(self) -> int:
        return len(self._entries)

    def put(self, entry: Entry) -> None:
        """Append; the oldest ones make room and hear of it."""
        self._entries.append(entry)
        self._size += len(entry.text)
        while len(self._entries) > self.most or self._size > self.room:
            oldest = self._take()
            if not oldest.withdrawn:
                self.lost += 1
                oldest.dropped()

    def withdraw(self, entry: Entry) -> None:
        """Its sender gave up; it keeps its place until its turn, and is skipped then."""
        entry.withdrawn = True

    def next(self) -> Entry | None:
        """Take the oldest entry that is still wanted."""
        while self._entries:
            entry = self._take()
            if not entry.withdrawn:
                return entry
        return None

    def clear(self) -> list[Entry]:
        """Empty the box; the entries that were still wanted."""
        entries = [entry for entry in self._entries if not entry.withdrawn]
        self._entries.clear()
        self._size = 0
        return entries

    def _take(self) -> Entry:
        entry = self._entries.popleft()
        self._size -= len(entry.text)
        return entry
