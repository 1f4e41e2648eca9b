"""What the tables need of a database, whichever it is. Their SQL is the same for SQLite and
PostgreSQL, with `?` for values.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Protocol, TypeVar

T = TypeVar("T")


class SqlResult(Protocol):
    """Rows have their columns by number and by name."""

    @property
    def rowcount(self) -> int:
        """How many rows a statement has changed."""

    def fetchone(self) -> Any: ...
    def fetchall(self) -> list[Any]: ...


class SqlConnection(Protocol):
    """A connection with an open transaction."""

    def execute(self, query: str, values: Sequence[Any] = (), /) -> SqlResult: ...


class SqlDatabase(Protocol):
    def read(self, query: str, values: Sequence[Any] = ()) -> Coroutine[Any, Any, list[Any]]:
        """The rows of a query, which sees what has been committed."""

    def write(
        self,
        change: Callable[[Any], T],
        committed: Callable[[T], object] = lambda result: None,
    ) -> Coroutine[Any, Any, T]:
        """Run `change` with a SqlConnection in a transaction, then `committed` after the COMMIT."""


class Indexing(Protocol):
    """What is derived from a message and stored with it."""

    column: str  # of `messages`, where the index keeps what it needs

    def add(self, connection: Any, row: Any, content: str) -> Any:
        """Index a message that is being stored, in the same transaction; the value of `column`."""
