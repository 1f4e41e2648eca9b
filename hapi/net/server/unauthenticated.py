"""Connections whose client has shown no token yet: how many there may be, and what they may hold.

The limits leave room for those who have shown one. What exceeds them is not the new connection,
which may be the owner's, but the one that has waited longest without proving anything, at the
address that has most of them.
"""

from __future__ import annotations

import resource
from typing import Protocol

from attrs import define, field, frozen

MAX_CONNECTIONS = 1024  # at once, where the process may open that many files
MAX_HELD = 32 << 20  # bytes that all of them may have sent without being done with
MIN_CONNECTIONS = 16


class Abortable(Protocol):
    """A connection; `is_answering` tells whether an answer is being prepared or sent."""

    @property
    def is_answering(self) -> bool: ...

    def abort(self) -> None:
        """End the connection now."""


def connection_limit() -> int:
    """Half of the files that this process may open, within bounds."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return MAX_CONNECTIONS if soft < 0 else max(MIN_CONNECTIONS, min(soft // 2, MAX_CONNECTIONS))


@frozen
class _Held:
    address: str
    size: int = 0  # bytes


@define(eq=False, repr=False)
class UnauthenticatedConnections:
    """Whoever authenticates, or ends, is removed."""

    max_connections: int = field(factory=connection_limit)
    max_held: int = MAX_HELD
    _connections: dict[Abortable, _Held] = field(factory=dict)  # the oldest first
    _held: int = 0

    def __len__(self) -> int:
        return len(self._connections)

    def __contains__(self, connection: Abortable) -> bool:
        return connection in self._connections

    def add(self, connection: Abortable, address: str) -> None:
        """Count a new connection; one beyond the limit ends another."""
        self._connections[connection] = _Held(address)
        if len(self._connections) > self.max_connections:
            self._end(self._longest_waiting(besides=connection))

    def hold(self, connection: Abortable, size: int) -> None:
        """Set how many bytes a connection has sent that the server keeps."""
        held = self._connections.get(connection)
        if held is None:
            return
        self._connections[connection] = _Held(held.address, size)
        self._held += size - held.size
        if self._held > self.max_held:
            self._end(max(self._connections, key=lambda each: self._connections[each].size))

    def remove(self, connection: Abortable) -> None:
        held = self._connections.pop(connection, None)
        if held is not None:
            self._held -= held.size

    def _longest_waiting(self, besides: Abortable) -> Abortable:
        by_address: dict[str, list[Abortable]] = {}
        for connection, held in self._connections.items():
            if connection is not besides:
                by_address.setdefault(held.address, []).append(connection)
        waiting = max(by_address.values(), key=len)
        return next((each for each in waiting if not each.is_answering), waiting[0])

    def _end(self, connection: Abortable) -> None:
        self.remove(connection)
        connection.abort()
