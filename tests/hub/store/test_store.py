"""The database: ours alone, whole or untouched, and everything acknowledged is in it."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from zope.interface.verify import verifyObject

from hapi.hub.store.database import Database
from hapi.hub.store.group_commit import LOCK_TIMEOUT
from hapi.hub.store.interface import IdTaken, IStore, StoreBusy, StoreFull, StoreRefused, TagTaken
from hapi.hub.store.rows import MachineRow, MessageRow, SessionRow, VersionMismatch, Written
from hapi.hub.store.schema import APPLICATION, MIGRATIONS
from hapi.hub.store.sqlite import SqliteStore, memory_store
from tests.support.hub_stage import EPOCH, result_of, waits


def run(coroutine: Any) -> Any:
    return result_of(Deferred.fromCoroutine(coroutine))


def session(name: str = "s1", **more: Any) -> SessionRow:
    return SessionRow(
        name, "default", f"tag-{name}", EPOCH, EPOCH, metadata={"path": "/", "host": "h"}, **more
    )


def message(name: str, session_id: str = "s1", **more: Any) -> MessageRow:
    content = {"role": "user", "content": {"type": "text", "text": name}}
    return MessageRow(name, session_id, 0, content, more.pop("created_at", EPOCH), **more)


@pytest.fixture
def store() -> Any:
    store = memory_store(Clock())
    yield store
    store.close()


def test_it_is_what_the_engine_asks_for(store: SqliteStore) -> None:
    verifyObject(IStore, store)


def test_a_tag_brings_back_the_same_session(store: SqliteStore) -> None:
    assert run(store.create_session(session())) == (session(), True)
    assert run(store.create_session(session(model="x"))) == (session(), False)
    with pytest.raises(TagTaken):
        run(store.create_session(SessionRow("s2", "default", "tag-s1", EPOCH, EPOCH)))
    with pytest.raises(IdTaken):
        run(store.create_session(SessionRow("s1", "other", "tag-s1", EPOCH, EPOCH)))


def test_a_versioned_write_needs_the_version_of_now(store: SqliteStore) -> None:
    run(store.create_session(session()))
    written = run(store.write_metadata("s1", 1, {"a": 1}, {}))
    assert isinstance(written, Written)
    assert (written.row.metadata, written.row.metadata_version) == ({"a": 1}, 2)
    stale = run(store.write_metadata("s1", 1, {"b": 1}, {}))
    assert isinstance(stale, VersionMismatch)
    assert stale.row == written.row


def test_a_local_id_is_stored_once__R11(store: SqliteStore) -> None:
    run(store.create_session(session()))
    first = run(store.add_message(message("m1", local_id="L"), None))
    again = run(store.add_message(message("m2", local_id="L"), None))
    assert (first.new, again.new) == (True, False)
    assert again.message == first.message
    assert len(run(store.latest("s1", 10))) == 1


def test_what_is_stored_comes_back_as_it_was(store: SqliteStore) -> None:
    odd = {
        "text": "\ud800 \x00 😀 \u2028",
        "deep": [[[{"a": None}]]],
        "number": 1e300,
        "big": 2**70,
    }
    run(store.create_session(session()))
    run(store.write_metadata("s1", 1, odd, {}))
    run(store.add_message(MessageRow("m", "s1", 0, odd, EPOCH), None))
    assert run(store.sessions())[0].metadata == odd
    assert run(store.latest("s1", 1))[0].content == odd


def test_deleting_a_session_takes_its_messages_along(store: SqliteStore) -> None:
    run(store.create_session(session()))
    run(store.add_message(message("m1"), None))
    assert run(store.delete_session("s1")) is True
    assert run(store.delete_session("s1")) is False
    assert run(store.latest("s1", 1)) == []


def test_a_merge_puts_the_older_history_first_and_out_of_a_process_s_way(
    store: SqliteStore,
) -> None:
    for name in ("old", "new"):
        run(store.create_session(session(name)))
        for number in range(3):
            at = EPOCH + (10 if name == "new" else 0) + number
            run(
                store.add_message(
                    message(f"{name}{number}", name, created_at=at, invoked_at=at), None
                )
            )
    run(store.merge_session("old", "new", session("new", epoch=1)))
    rows = run(store.latest("new", 10))
    assert [(row.id, row.seq) for row in rows] == [
        ("old0", 1),
        ("old1", 2),
        ("old2", 3),
        ("new0", 4),
        ("new1", 5),
        ("new2", 6),
    ]
    assert [row.id for row in run(store.after_seq("new", 0, 100, EPOCH))] == [
        "new0",
        "new1",
        "new2",
    ]
    assert [row.id for row in run(store.sessions())] == ["new"]


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(times=st.lists(st.integers(0, 9), max_size=12), limit=st.integers(1, 5))
def test_pages_one_after_the_other_are_the_whole_conversation(times: list[int], limit: int) -> None:
    store = memory_store(Clock())
    run(store.create_session(session()))
    for number, time in enumerate(times):
        run(
            store.add_message(
                message(f"m{number}", created_at=EPOCH + time, invoked_at=EPOCH + time), None
            )
        )
    whole = run(store.latest("s1", 100))
    assert [row.position for row in whole] == sorted(row.position for row in whole)
    forwards, at = [], (0, 0)
    while page := run(store.after("s1", at, None, limit)):
        forwards += page
        at = page[-1].position
    assert forwards == whole
    backwards: list[MessageRow] = []
    at = (EPOCH * 2, 0)
    while page := run(store.before("s1", at, limit)):
        backwards = page + backwards
        at = page[0].position
    assert backwards == whole
    store.close()


# --- SQL is never put together from what people say -----------------------------------------------

NASTY = [
    "'",
    '"',
    "';--",
    "' OR '1'='1",
    "x'); DROP TABLE sessions;--",
    "%",
    "_",
    "\\",
    "\x00",
    "a" * 5000,
    "🦑",
    "${1}",
    "?",
]


@pytest.mark.parametrize("text", NASTY)
def test_texts_are_values_not_statements__U01(store: SqliteStore, text: str) -> None:
    row = SessionRow(
        text,
        text,
        text,
        EPOCH,
        EPOCH,
        metadata={"path": text, "host": text},
        model=text,
        effort=text,
    )
    run(store.create_session(row))
    run(store.create_machine(MachineRow(text, text, EPOCH, EPOCH, metadata={text: text})))
    run(store.add_message(MessageRow("m", text, 0, text, EPOCH, local_id=text), None))
    assert run(store.sessions()) == [evolve(row, last_seq=1, last_time=EPOCH)]
    assert [found.local_id for found in run(store.local_messages(text, [text, "no"]))] == [text]
    found = run(store.message(text, text))
    assert found is not None
    assert json.loads(bytes(found.content)) == text
    assert run(store.consume(text, [text], EPOCH, True)).local_ids == [text]
    assert run(store.scheduled(text, 0)) == {}
    assert run(store.delete_session("nobody" + text)) is False
    assert len(run(store.machines())) == 1


# --- files that are not ours, newer, damaged ------------------------------------------------------


def refusal(path: Path, **more: Any) -> str:
    before = path.read_bytes()
    with pytest.raises(StoreRefused) as caught:
        result_of(Database(path, Clock(), **more).open())
    assert path.read_bytes() == before
    assert str(path) in str(caught.value)
    return str(caught.value)


def test_a_database_of_another_program_is_not_touched(tmp_path: Path) -> None:
    path = tmp_path / "hapi.db"
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE sessions (id TEXT)")
    connection.execute("PRAGMA user_version = 26")
    connection.commit()
    connection.close()
    assert "another program" in refusal(path)


def test_a_newer_schema_is_refused__R05(tmp_path: Path) -> None:
    path = tmp_path / "hub.db"
    newer = Database(path, Clock(), [*MIGRATIONS, ["CREATE TABLE later (id TEXT)"]])
    newer.open()
    newer.close()
    assert "newer hub" in refusal(path)


@pytest.mark.parametrize("broken", range(len(MIGRATIONS[0])))
def test_a_migration_that_fails_leaves_nothing_behind__R05(tmp_path: Path, broken: int) -> None:
    path = tmp_path / "hub.db"
    statements = list(MIGRATIONS[0])
    statements[broken] = "CREATE GARBAGE"
    with pytest.raises(StoreRefused):
        result_of(Database(path, Clock(), [statements]).open())
    connection = sqlite3.connect(path)
    assert connection.execute("SELECT count(*) FROM sqlite_master").fetchone() == (0,)
    assert connection.execute("PRAGMA user_version").fetchone() == (0,)
    connection.close()
    fine = Database(path, Clock())
    fine.open()
    assert fine.read("PRAGMA application_id")[0][0] == APPLICATION
    fine.close()


def test_a_migration_that_fails_on_a_database_with_rows_leaves_them__R05(tmp_path: Path) -> None:
    path = tmp_path / "hub.db"
    store = SqliteStore(path, Clock())
    store.open()
    run(store.create_session(session()))
    store.close()
    with pytest.raises(StoreRefused):
        result_of(
            Database(path, Clock(), [*MIGRATIONS, ["DROP TABLE messages", "CREATE GARBAGE"]]).open()
        )
    store = SqliteStore(path, Clock())
    store.open()
    assert run(store.sessions()) == [session()]
    store.close()


@pytest.mark.parametrize(
    "content",
    [
        b"not a database at all, but long enough to look at" * 100,
        b"SQLite format 3\x00" + b"\xff" * 5000,
    ],
)
def test_a_file_that_is_no_database_is_named_and_kept__R04(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "hub.db"
    path.write_bytes(content)
    refusal(path)


def test_a_damaged_database_is_named_and_kept__R04(tmp_path: Path) -> None:
    path = tmp_path / "hub.db"
    store = SqliteStore(path, Clock())
    store.open()
    run(store.create_session(session()))
    for number in range(300):
        run(store.add_message(message(f"m{number}"), None))
    store.close()
    content = bytearray(path.read_bytes())
    for place in range(4096 * 3, len(content), 4096):  # a page's header says what is in it
        content[place : place + 12] = b"\xff" * 12
    path.write_bytes(content)
    assert "damaged" in refusal(path)


@pytest.mark.parametrize("make", ["directory", "unreadable place"])
def test_a_place_that_cannot_be_a_database_is_named(tmp_path: Path, make: str) -> None:
    path = tmp_path / "hub.db"
    if make == "directory":
        path.mkdir()
    else:
        path = tmp_path / "missing" / "hub.db"
    with pytest.raises(StoreRefused, match=str(path)):
        result_of(Database(path, Clock()).open())


def test_a_restored_file_becomes_private(tmp_path: Path) -> None:
    path = tmp_path / "hub.db"
    result_of(Database(path, Clock()).open())
    path.chmod(0o644)
    result_of(Database(path, Clock()).open())
    assert path.stat().st_mode & 0o777 == 0o600


def test_the_file_is_private(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "hub.db", Clock())
    store.open()
    run(store.create_session(session()))
    assert {path.name: path.stat().st_mode & 0o777 for path in tmp_path.iterdir()}.items() <= {
        "hub.db": 0o600,
        "hub.db-wal": 0o600,
        "hub.db-shm": 0o600,
    }.items()
    store.close()


# --- trouble while it runs ------------------------------------------------------------------------


def test_a_write_waits_for_a_database_that_is_held_and_then_says_so__R03(tmp_path: Path) -> None:
    clock = Clock()
    store = SqliteStore(tmp_path / "hub.db", clock)
    store.open()
    run(store.create_session(session()))
    holder = sqlite3.connect(tmp_path / "hub.db", isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    first = Deferred.fromCoroutine(store.add_message(message("m1"), None))
    second = Deferred.fromCoroutine(store.add_message(message("m2"), None))
    assert waits(first)
    assert run(store.sessions()) == [session()]  # reading goes on
    holder.execute("COMMIT")
    clock.advance(0.1)
    assert result_of(first).message.seq == 1
    assert result_of(second).message.seq == 2  # in the order they came
    holder.execute("BEGIN IMMEDIATE")
    third = Deferred.fromCoroutine(store.add_message(message("m3"), None))
    clock.pump([0.1] * int(LOCK_TIMEOUT / 0.1 + 2))
    with pytest.raises(StoreBusy):
        result_of(third)
    holder.execute("COMMIT")
    holder.close()
    assert run(store.add_message(message("m3"), None)).message.seq == 3
    store.close()


def test_a_full_disk_is_said_and_ends__R02(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "hub.db", Clock())
    store.open()
    run(store.create_session(session()))
    connection = store.database.connection
    (pages,) = connection.execute("PRAGMA page_count").fetchone()
    connection.execute(f"PRAGMA max_page_count = {pages}")

    def fill() -> None:
        for number in range(1000):
            run(store.add_message(message(f"m{number}"), None))

    with pytest.raises(StoreFull):
        fill()
    kept = len(run(store.latest("s1", 2000)))
    connection.execute("PRAGMA max_page_count = 1000000")
    run(store.add_message(message("after"), None))
    assert len(run(store.latest("s1", 2000))) == kept + 1
    store.close()


WRITER = """
import sys
from pathlib import Path
from twisted.internet.task import Clock
from twisted.internet.defer import Deferred
from hapi.hub.store.sqlite import SqliteStore
from hapi.hub.store.rows import MessageRow, SessionRow
store = SqliteStore(Path(sys.argv[1]), Clock())
store.open()
Deferred.fromCoroutine(store.create_session(SessionRow("s1", "default", "t", 1, 1)))
start = int(sys.argv[2])
for number in range(start, start + 100000):
    row = MessageRow(f"m{number}", "s1", 0, "x" * 200, number)
    done = Deferred.fromCoroutine(store.add_message(row, None))
    done.addCallback(lambda added: (sys.stdout.write(f"{added.message.id}\\n"), sys.stdout.flush()))
"""


@pytest.mark.program
def test_everything_acknowledged_survives_being_killed__R01(tmp_path: Path) -> None:
    """Fifty rounds run with HAPI_TEST_ROUNDS=50; a few on each change."""
    path, acknowledged = tmp_path / "hub.db", []
    for number in range(int(os.environ.get("HAPI_TEST_ROUNDS", "3"))):
        writer = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(path), str(number * 100000)],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert writer.stdout is not None
        acknowledged += [writer.stdout.readline().strip() for _ in range(20 + 37 * number % 200)]
        writer.send_signal(signal.SIGKILL)
        acknowledged += [
            line.strip()
            for line in writer.stdout.read().splitlines(keepends=True)
            if line.endswith("\n")
        ]
        writer.wait()
    store = SqliteStore(path, Clock())
    store.open()
    there = {row.id for row in run(store.latest("s1", 10**7))}
    store.close()
    assert acknowledged
    assert set(acknowledged) <= there
    with contextlib.closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)


# --- an older database ----------------------------------------------------------------------------


def test_a_database_of_before_gets_the_end_of_each_conversation(tmp_path: Path) -> None:
    path = tmp_path / "hub.db"
    older = Database(path, Clock(), MIGRATIONS[:1])
    result_of(older.open())
    execute = older.connection.execute
    for name in ("s1", "empty"):
        execute(
            "INSERT INTO sessions (id, tag, created_at, updated_at) VALUES (?, ?, 1, 1)",
            (name, name),
        )
    for seq, at in ((3, 50), (7, 40)):
        execute(
            "INSERT INTO messages (id, session_id, seq, content, created_at)"
            " VALUES (?, 's1', ?, '1', ?)",
            (f"m{seq}", seq, at),
        )
    older.close()
    store = SqliteStore(path, Clock())
    store.open()
    assert {row.id: (row.last_seq, row.last_time) for row in run(store.sessions())} == {
        "s1": (7, 50),
        "empty": (0, 0),
    }
    assert run(store.add_message(message("m8", created_at=45), None)).message.position == (50, 8)
    store.close()


# --- the order is that of the numbers -------------------------------------------------------------


def test_a_number_is_never_given_twice(store: SqliteStore) -> None:
    run(store.create_session(session()))
    run(store.add_message(message("m1", local_id="L1"), None))
    assert run(store.delete_message("m1")) is not None
    assert run(store.add_message(message("m2"), None)).message.seq == 2


def test_a_clock_that_jumps_reorders_nothing(store: SqliteStore) -> None:
    run(store.create_session(session()))
    day, hour = 86_400_000, 3_600_000
    run(store.add_message(message("prompt", local_id="L1"), None))
    for number, now in enumerate([EPOCH, EPOCH + day, EPOCH - hour, EPOCH + 1, EPOCH - day]):
        row = message(f"m{number}", created_at=now, invoked_at=now)
        run(store.add_message(row, now))
    taken = run(store.consume("s1", ["L1"], EPOCH - hour, True))
    run(store.add_message(message("last", created_at=EPOCH, invoked_at=EPOCH), None))
    rows = run(store.latest("s1", 100))
    assert [row.id for row in rows] == ["m0", "m1", "m2", "m3", "m4", "prompt", "last"]
    assert taken.at == rows[-2].invoked_at == EPOCH + day + 1
    times = [row.position[0] for row in rows]
    assert times == sorted(times)


def test_a_merge_puts_the_older_history_first_whatever_its_clock_said(store: SqliteStore) -> None:
    for name, at in (("old", EPOCH + 1000), ("new", EPOCH)):
        run(store.create_session(session(name)))
        for number in range(2):
            row = message(f"{name}{number}", name, created_at=at, invoked_at=at)
            run(store.add_message(row, None))
    run(store.merge_session("old", "new", session("new", epoch=1)))
    assert [row.id for row in run(store.latest("new", 10))] == ["old0", "old1", "new0", "new1"]
    assert run(store.add_message(message("next", "new"), None)).message.position == (
        EPOCH + 1000,
        5,
    )
