"""What is derived from messages and kept beside them: the full-text index, and the use of tokens.

Messages are indexed in the transaction that stores them. Those of an older database are indexed in
portions, the newest first. The index holds the words of a message (`words`) and no second copy of
its text; a trigger takes them out again in whatever way the message goes. It is FTS5's
"contentless" table (https://www.sqlite.org/fts5.html), so the trigger gives it the words once more;
it lasts as long as the connection, and no other program meets it.

`messages.search_id` is the row of the index. New messages get rising numbers and older ones falling
ones, so that the order of the rows is that of the messages. Each index that is built anew, because
words are cut in another way or because a hub without FTS5 has used the database, has a range of
numbers of its own.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Sequence
from contextlib import suppress

from attrs import define, field, frozen
from twisted.logger import Logger

from hapi.hub.store.message_text import passages
from hapi.hub.store.rows import IndexProgress, MessageRow, SearchTerm
from hapi.hub.store.token_use import record_use
from hapi.hub.store.words import words

log = Logger()

FORMAT = 1  # of the words; a database with another one is indexed anew
GENERATION_SIZE = 1 << 40  # numbers of one index: half for new messages, half for older ones
INDEX_BUDGET = 0.006  # seconds that one portion may keep the reactor's thread busy
MERGE_PAGES = 16  # pages of the index that are rewritten between two looks at the clock
HIGHEST = 1 << 62  # no rowid is higher
MISSING = "SQLite was built without FTS5, its full-text search"

CREATE = (
    "CREATE VIRTUAL TABLE search_index USING fts5("
    "words, content = '', columnsize = 0, tokenize = 'ascii')"
)
TRIGGERS = (
    """
    CREATE TEMP TRIGGER search_index_deleted AFTER DELETE ON main.messages
    WHEN old.search_id BETWEEN {first} AND {last}
    BEGIN
        INSERT INTO search_index (search_index, rowid, words)
        VALUES ('delete', old.search_id, message_words(old.content));
    END
    """,
    """
    CREATE TEMP TRIGGER search_index_changed AFTER UPDATE OF content ON main.messages
    WHEN old.search_id BETWEEN {first} AND {last}
    BEGIN
        INSERT INTO search_index (search_index, rowid, words)
        VALUES ('delete', old.search_id, message_words(old.content));
        INSERT INTO search_index (rowid, words)
        VALUES (old.search_id, message_words(new.content));
    END
    """,
)


def message_words(content: str) -> str:
    """The words of a message, as they are indexed. It runs within SQLite and raises nothing: a
    message whose words cannot be found is stored all the same.
    """
    try:
        return " ".join(word for passage in passages(content) for word in words(passage.searched))
    except Exception:
        log.failure("The words of a message could not be found: no search will find it")
        return ""


def match_expression(terms: Sequence[SearchTerm]) -> str:
    """The terms in FTS5's syntax. Words have letters and digits only, so nothing of a query is
    taken for an operator.
    """
    return " AND ".join(
        f'"{" ".join(term.words)}"{" *" if term.is_prefix else ""}' for term in terms
    )


def has_fts5(connection: sqlite3.Connection) -> bool:
    (found,) = connection.execute("SELECT count(*) FROM pragma_module_list WHERE name = 'fts5'")
    return bool(found[0])


@frozen
class _State:
    generation: int
    format: int  # 0: there is no index that can be used
    is_complete: bool

    @property
    def first(self) -> int:
        return self.generation * GENERATION_SIZE

    @property
    def middle(self) -> int:
        return self.first + GENERATION_SIZE // 2

    @property
    def last(self) -> int:
        return self.first + GENERATION_SIZE - 1


@define(eq=False, repr=False)
class MessageIndex:
    """The indexes beside the messages of one open database; `connection` is the one that writes."""

    connection: sqlite3.Connection
    column = "search_id"
    problem: str = ""  # why there is no search
    _state: _State = field(init=False)
    _below: int | None = None  # older messages are still to be indexed: those with a lower rowid
    done: int = 0  # older messages that were visited since the database was opened
    total: int = 0  # and how many there were

    def __attrs_post_init__(self) -> None:
        self.problem = "" if has_fts5(self.connection) else MISSING
        self._state = self._read()
        if self.problem:
            if self._state.format:
                self._write(_State(self._state.generation, 0, False))
        else:
            self._prepare()
        if not self._state.is_complete:
            self.total = self._value("SELECT count(*) FROM messages")

    def _value(self, query: str, *values: object) -> int:
        (found,) = self.connection.execute(query, values).fetchone()
        return int(found or 0)

    def _read(self) -> _State:
        row = self.connection.execute(
            "SELECT generation, format, is_complete FROM message_index"
        ).fetchone()
        return _State(row[0], row[1], bool(row[2]))

    def _write(self, state: _State) -> None:
        self.connection.execute(
            "UPDATE message_index SET generation = ?, format = ?, is_complete = ?",
            (state.generation, state.format, int(state.is_complete)),
        )
        self._state = state

    def _prepare(self) -> None:
        execute = self.connection.execute
        execute("BEGIN IMMEDIATE")
        try:
            there = self._value("SELECT count(*) FROM sqlite_master WHERE name = 'search_index'")
            if self._state.format != FORMAT or not there:
                execute("DROP TABLE IF EXISTS search_index")
                execute(CREATE)
                is_empty = not self._value("SELECT EXISTS (SELECT 1 FROM messages)")
                self._write(_State(self._state.generation + 1, FORMAT, is_empty))
            execute("COMMIT")
        except BaseException:
            with suppress(sqlite3.Error):
                execute("ROLLBACK")
            raise
        self.connection.create_function("message_words", 1, message_words, deterministic=True)
        for trigger in TRIGGERS:
            execute(trigger.format(first=self._state.first, last=self._state.last))

    # --- writing ----------------------------------------------------------------------------------

    def add(self, connection: sqlite3.Connection, row: MessageRow, content: str) -> int | None:
        """Index a message that is being stored, in the same transaction; its `search_id`."""
        record_use(connection, row.id, row.session_id, content, row.created_at)
        found = "" if self.problem else message_words(content)
        if not found:
            return None
        highest = self._value(
            "SELECT max(search_id) FROM messages WHERE search_id BETWEEN ? AND ?",
            self._state.middle,
            self._state.last,
        )
        return self._insert(max(highest + 1, self._state.middle), found)

    def _insert(self, number: int, found: str) -> int:
        self.connection.execute(
            "INSERT INTO search_index (rowid, words) VALUES (?, ?)", (number, found)
        )
        return number

    @property
    def is_complete(self) -> bool:
        return self._state.is_complete

    @property
    def progress(self) -> IndexProgress:
        return IndexProgress(self.problem, self.is_complete, self.done, self.total)

    def merge(self, deadline: float) -> bool:
        """Rewrite the index without what was deleted, until `deadline` (of `time.perf_counter`);
        whether there is more to do.
        """
        while not self.problem:
            before = self.connection.total_changes
            self.connection.execute(
                "INSERT INTO search_index (search_index, rank) VALUES ('merge', ?)", (-MERGE_PAGES,)
            )
            if self.connection.total_changes - before < 2:  # FTS5: nothing was left to do
                break
            if time.perf_counter() >= deadline:
                return True
        return False

    def restart(self) -> None:
        """Begin again with what is not indexed, after a portion that was not stored."""
        self._state, self._below, self.done = self._read(), None, 0

    def advance(self) -> bool:
        """Index one portion of the older messages; whether there are more."""
        if self.is_complete:
            return False
        deadline = time.perf_counter() + INDEX_BUDGET
        while time.perf_counter() < deadline:
            row = self.connection.execute(
                "SELECT rowid, id, session_id, content, search_id, created_at FROM messages"
                " WHERE rowid < ? ORDER BY rowid DESC LIMIT 1",
                (HIGHEST if self._below is None else self._below,),
            ).fetchone()
            if row is None:
                self._write(_State(self._state.generation, self._state.format, True))
                return False
            self._index_older(*row)
        return True

    def _index_older(
        self, rowid: int, name: str, session_id: str, content: str, number: int | None, at: int
    ) -> None:
        self._below = rowid
        self.done += 1
        record_use(self.connection, name, session_id, content, at)
        first, middle, last = self._state.first, self._state.middle, self._state.last
        is_there = number is not None and first <= number <= last
        if is_there or self.problem or not (found := message_words(content)):
            return
        lowest = self._value(
            "SELECT min(search_id) FROM messages WHERE search_id BETWEEN ? AND ?", first, middle - 1
        )
        number = self._insert((lowest or middle) - 1, found)
        self.connection.execute("UPDATE messages SET search_id = ? WHERE id = ?", (number, name))
