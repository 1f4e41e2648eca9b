"""The database of SQLite: ours alone, whole or untouched, and everything acknowledged is in it."""

from __future__ import annotations

import contextlib
import os
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from hapi.hub.store.database import Database
from hapi.hub.store.group_commit import LOCK_TIMEOUT
from hapi.hub.store.interface import StoreBusy, StoreFull, StoreRefused
from hapi.hub.store.schema import APPLICATION, MIGRATIONS
from hapi.hub.store.sqlite import SqliteStore
from tests.support.hub_stage import result_of, waits
from tests.support.store_stage import message, session


def run(coroutine: Any) -> Any:
    return result_of(Deferred.fromCoroutine(coroutine))


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
    assert fine.read_now("PRAGMA application_id")[0][0] == APPLICATION
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
