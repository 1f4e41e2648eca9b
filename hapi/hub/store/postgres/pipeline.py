"""Messages of several turns in one round trip to the server.

Most turns begin with `add_message`, and have no other statement. Such turns, one after the other in
a batch, are first run as far as that call; the calls are sent together (pipeline mode,
https://www.postgresql.org/docs/current/libpq-pipeline-mode.html); then the turns are run again with
the results. The server executes what it would have executed, in the same order: a turn that goes on
with other statements may do so only if no later turn of the run has its owner.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import psycopg
from attrs import define, field

from hapi.hub.store.postgres.connection import (
    ADD,
    PREPARED,
    PostgresConnection,
    as_text,
    numbered,
)
from hapi.hub.store.rows import MessageRow


@define(eq=False, repr=False)
class AddMessage:
    """A call of the function `add_message`; `result` is its row."""

    row: MessageRow
    content: str  # JSON
    values: Sequence[Any]
    result: Any = None

    @property
    def has_written(self) -> bool:
        return self.result["seq"] is not None and not self.result["is_known"]


class Captured(BaseException):
    """A turn has come to its first statement, `call`. Nothing in a turn catches it."""

    def __init__(self, call: AddMessage) -> None:
        super().__init__()
        self.call = call


class Unsuited(BaseException):
    """A turn cannot be run in this way."""


class Capture:
    """In the place of the connection, as far as the first statement."""

    wrote = False

    def execute(self, query: str, values: Sequence[Any] = (), /) -> Any:
        raise Unsuited

    def add_message(self, row: MessageRow, make: Callable[[Any], AddMessage]) -> AddMessage:
        raise Captured(make(self))


@define(eq=False, repr=False)
class Replay:
    """In the place of the connection, after the first statement was executed. `is_last`: no later
    turn has the same owner.
    """

    connection: PostgresConnection
    call: AddMessage
    is_last: bool
    wrote: bool = field(default=False)
    _is_used: bool = False

    def execute(self, query: str, values: Sequence[Any] = (), /) -> Any:
        if not self.is_last or not self._is_used:
            raise Unsuited
        result = self.connection.execute(query, values)
        self.wrote = self.wrote or self.connection.wrote
        return result

    def add_message(self, row: MessageRow, make: Callable[[Any], AddMessage]) -> AddMessage:
        if self._is_used:
            if not self.is_last:
                raise Unsuited
            self.wrote = True
            made: AddMessage = self.connection.add_message(row, make)
            return made
        if row != self.call.row:
            raise Unsuited
        self._is_used, self.wrote = True, self.call.has_written
        return self.call


def send(connection: PostgresConnection, calls: Sequence[AddMessage]) -> None:
    """Execute the calls in their order. Raises psycopg.Error."""
    query = numbered(ADD)
    if connection.calls > connection.prepared_until:
        # A statement that is prepared in a pipeline which then fails is one that psycopg knows and
        # the server does not. There is no such session, so this does nothing.
        connection.raw.execute(query, ["", "", *([None] * 11)], prepare=True)
    connection.prepared_until = connection.calls + PREPARED // 2
    connection.calls += 1
    connection.wrote = True
    cursors: list[psycopg.Cursor[Any]] = []
    with connection.raw.pipeline():
        for call in calls:
            cursor = connection.raw.cursor()
            cursors.append(cursor.execute(query, as_text(call.values)))
    for call, cursor in zip(calls, cursors, strict=True):
        call.result = cursor.fetchone()
