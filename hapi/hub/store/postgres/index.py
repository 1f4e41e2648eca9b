"""Finding messages by their words in PostgreSQL.

`messages.search_words` holds the words of a message without their places: a tsvector of ours, not
one that PostgreSQL makes of a text, so that both databases find the same. A GIN index finds the
messages that have all words of a query; whether words stand side by side, as those of one term
have to, is looked up in the message itself.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import psycopg
from attrs import define
from twisted.logger import Logger

from hapi.hub.store.columns import message_from
from hapi.hub.store.message_text import passages
from hapi.hub.store.messages import COLUMNS
from hapi.hub.store.postgres.connection import PostgresConnection
from hapi.hub.store.rows import IndexProgress, MessageRow, SearchPage, SearchTerm
from hapi.hub.store.token_use import record_use
from hapi.hub.store.words import words

log = Logger()

FORMAT = 1  # of the words; a database with another one is indexed anew
MAX_VECTOR = 1_000_000  # bytes; PostgreSQL refuses a tsvector of more than 1 MiB
INDEX_BUDGET = 0.02  # seconds of one portion of older messages
SEARCH_TIMEOUT = 3.0  # seconds; then a page is what has been found
CHECKED_AT_ONCE = 200  # messages
HIGHEST = (1 << 63) - 1

OLDER = (
    "SELECT rowid, id, session_id, content, created_at FROM messages"
    " WHERE rowid < ? ORDER BY rowid DESC LIMIT 20"
)


def message_words(content: str) -> list[str]:
    """The words of a message in their order. A message whose words cannot be found is stored all
    the same.
    """
    try:
        return [word for passage in passages(content) for word in words(passage.searched)]
    except Exception:
        log.failure("The words of a message could not be found: no search will find it")
        return []


def vector(found: Sequence[str]) -> str | None:
    """The words as a tsvector, None if there are none. They have letters and digits only, so that
    nothing in them has to be escaped.
    """
    kept, size = [], 0
    for word in dict.fromkeys(found):
        size += len(word.encode()) + 8
        if size > MAX_VECTOR:
            break
        kept.append(f"'{word}'")
    return " ".join(kept) or None


def match_expression(terms: Sequence[SearchTerm]) -> str:
    """What a message must have, as a tsquery."""
    parts = []
    for term in terms:
        *whole, last = (f"'{word}'" for word in term.words)
        parts += [*whole, f"{last}:*" if term.is_prefix else last]
    return " & ".join(parts)


def _stands_in(found: Sequence[str], term: SearchTerm) -> bool:
    """Whether the words of the term stand side by side."""
    length, last = len(term.words), term.words[-1]
    for start in range(len(found) - length + 1):
        end = start + length - 1
        if tuple(found[start:end]) == term.words[:-1] and (
            found[end].startswith(last) if term.is_prefix else found[end] == last
        ):
            return True
    return False


@define(eq=False, repr=False)
class PostgresIndex:
    """The index of one open database."""

    column = "search_words"
    is_complete: bool = True
    done: int = 0  # older messages that were visited since the database was opened
    total: int = 0  # and how many there were
    _below: int | None = None

    @property
    def progress(self) -> IndexProgress:
        return IndexProgress("", self.is_complete, self.done, self.total)

    def prepare(self, connection: PostgresConnection) -> None:
        """Find out whether older messages have to be indexed."""
        row = connection.execute("SELECT format, is_complete FROM message_index").fetchone()
        self.is_complete = row["format"] == FORMAT and bool(row["is_complete"])
        if not self.is_complete:
            (self.total,) = connection.execute("SELECT count(*) FROM messages").fetchone()

    # --- writing ----------------------------------------------------------------------------------

    def add(self, connection: Any, row: MessageRow, content: str) -> str | None:
        record_use(connection, row.id, row.session_id, content, row.created_at)
        return vector(message_words(content))

    def advance(self, connection: PostgresConnection) -> tuple[int | None, int]:
        """Index one portion of the older messages: where the next one begins, None if there is
        none, and how many messages this one had. It changes nothing of this object.
        """
        deadline = time.monotonic() + INDEX_BUDGET
        below, count = self._below, 0
        while time.monotonic() < deadline:
            rows = connection.execute(OLDER, (HIGHEST if below is None else below,)).fetchall()
            if not rows:
                connection.execute(
                    "UPDATE message_index SET format = ?, is_complete = 1", (FORMAT,)
                )
                return None, count
            for number, name, session_id, content, at in rows:
                record_use(connection, name, session_id, content, at)
                connection.execute(
                    "UPDATE messages SET search_words = ? WHERE rowid = ?",
                    (vector(message_words(content)), number),
                )
            below, count = rows[-1][0], count + len(rows)
        return below, count

    def advanced(self, below: int | None, count: int) -> bool:
        """A portion was stored; whether there are more."""
        self._below, self.done = below, self.done + count
        self.is_complete = below is None
        return not self.is_complete

    # --- searching --------------------------------------------------------------------------------

    def page(
        self,
        connection: PostgresConnection,
        namespace: str,
        terms: Sequence[SearchTerm],
        limit: int,
        before: int | None,
        session_id: str | None,
    ) -> SearchPage:
        """A page of what is found. It blocks, for SEARCH_TIMEOUT at most."""
        deadline = time.monotonic() + SEARCH_TIMEOUT
        columns = ", ".join(f"messages.{name}" for name in COLUMNS.split(", "))
        session = "" if session_id is None else " AND messages.session_id = ?"
        query = (
            f"SELECT {columns}, messages.rowid FROM messages"
            " JOIN sessions ON sessions.id = messages.session_id"
            " WHERE search_words @@ CAST(? AS tsquery) AND messages.rowid < ? AND namespace = ?"
            f"{session} ORDER BY messages.rowid DESC LIMIT ?"
        )
        exact = [term for term in terms if len(term.words) > 1]
        more = [] if session_id is None else [session_id]
        at_once = CHECKED_AT_ONCE if exact else limit + 1
        found: list[Any] = []
        start, is_cut, is_end = HIGHEST if before is None else before, False, False
        while len(found) <= limit and not is_end:
            left = deadline - time.monotonic()
            if left <= 0:
                is_cut = True
                break
            values = [match_expression(terms), start, namespace, *more, at_once]
            try:
                rows = _limited(connection, query, values, left)
            except psycopg.errors.QueryCanceled:
                is_cut = True
                break
            is_end = len(rows) < at_once
            for row in rows:
                start = row["rowid"]
                if _has_all(row["content"], exact):
                    found.append(row)
                    if len(found) > limit:
                        break
                if exact and time.monotonic() > deadline:
                    is_cut, is_end = True, True
                    break
        has_more, found = len(found) > limit, found[:limit]
        following = found[-1]["rowid"] if found and (has_more or is_cut) else None
        names = COLUMNS.split(", ")
        messages = [message_from({name: row[name] for name in names}) for row in found]
        return SearchPage(messages, following, is_cut)


def _has_all(content: str, terms: Sequence[SearchTerm]) -> bool:
    if not terms:
        return True
    found = message_words(content)
    return all(_stands_in(found, term) for term in terms)


def _limited(
    connection: PostgresConnection, query: str, values: list[Any], seconds: float
) -> list[Any]:
    """The rows of a query that may take so long. Raises QueryCanceled."""
    connection.execute("BEGIN")
    try:
        connection.execute(f"SET LOCAL statement_timeout = {max(1, int(seconds * 1000))}")
        rows: list[Any] = connection.execute(query, values).fetchall()
        return rows
    finally:
        connection.execute("ROLLBACK")
