"""Columns and rows: documents are stored as JSON, flags as 0 and 1; and what the tables need of a
database. Their SQL is the same for SQLite and PostgreSQL, with `?` for values.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any, Protocol, TypeVar

import msgspec
from attrs import fields

from hapi.hub.store.rows import (
    Document,
    MachineRow,
    MessageRow,
    RecipientRow,
    SessionRow,
    TokenRow,
)
from hapi.protocol.json import bounded

T = TypeVar("T")


# Characters, as of local ids. An entry of an index in PostgreSQL has at most 2,704 bytes.
MAX_KEY_LENGTH = 512
JSON_COLUMNS = frozenset(
    {"metadata", "agent_state", "model", "todos", "team_state", "runner_state", "keys", "settings"}
)
FLAGS = frozenset({"pinned", "global_pinned", "has_content"})
SESSION = tuple(attribute.name for attribute in fields(SessionRow))
TOKEN = tuple(attribute.name for attribute in fields(TokenRow))
RECIPIENT = tuple(attribute.name for attribute in fields(RecipientRow))
MACHINE = tuple(attribute.name for attribute in fields(MachineRow))


def as_json(value: Document) -> str:
    """Compact JSON; a lone surrogate, which UTF-8 cannot encode, becomes an escape sequence."""
    try:
        return msgspec.json.encode(value).decode()
    except UnicodeEncodeError:
        return json.dumps(value, separators=(",", ":"))


def read_document(text: str) -> Document:
    """The value of a column with JSON. A damaged text is returned as it is, so that its row can be
    loaded and shown beside all others.
    """
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        try:  # lone surrogates, and what earlier versions stored
            return bounded(json.loads(text))
        except (ValueError, RecursionError):
            return text


def read_content(text: str) -> Document:
    """JSON as it was stored, checked but not decoded; of a damaged text what `read_document` makes
    of it.
    """
    try:
        return msgspec.json.decode(text, type=msgspec.Raw)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return read_document(text)


def as_key(text: str) -> str:
    """`text`, which an agent has chosen, as part of a key: a digest if it is longer than any id
    should be, or has a character that not every database can store.
    """
    if len(text) <= MAX_KEY_LENGTH and text.isprintable():
        return text
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()


def packed(name: str, value: Any) -> Any:
    """`value` as it is stored in its column."""
    if name in JSON_COLUMNS:
        return None if value is None else as_json(value)
    return int(value) if name in FLAGS else value


def unpacked(name: str, value: Any) -> Any:
    if name in JSON_COLUMNS:
        return None if value is None else read_document(value)
    return bool(value) if name in FLAGS else value


def session_from(row: Any) -> SessionRow:
    return SessionRow(**{name: unpacked(name, row[name]) for name in SESSION})


def machine_from(row: Any) -> MachineRow:
    return MachineRow(**{name: unpacked(name, row[name]) for name in MACHINE})


def recipient_from(row: Any) -> RecipientRow:
    return RecipientRow(**{name: unpacked(name, row[name]) for name in RECIPIENT})


def message_from(row: Any) -> MessageRow:
    """A message whose content is a `msgspec.Raw`, since nobody looks into it."""
    values = row if isinstance(row, Mapping) else dict(zip(row.keys(), row, strict=True))
    return MessageRow(**{**values, "content": read_content(row["content"])})


# --- a database -----------------------------------------------------------------------------------


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
