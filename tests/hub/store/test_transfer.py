"""Moving all data of a hub between SQLite and PostgreSQL: whole or not at all."""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg
import pytest

from hapi.hub.store.backup import BackupFailed
from hapi.hub.store.interface import StoreRefused
from hapi.hub.store.postgres.schema import TABLES
from hapi.hub.store.rows import SearchTerm
from hapi.hub.store.transfer.ends import DatabaseInUse, TransferFailed
from hapi.hub.store.transfer.postgres_end import (
    OWN_TABLES,
    PostgresTarget,
    postgres_source,
    postgres_target,
)
from hapi.hub.store.transfer.sqlite_end import SqliteSource, sqlite_source, sqlite_target
from hapi.hub.store.transfer.transfer import Report, Transfer, Transferred
from tests.support.filled_store import fill
from tests.support.store_stage import EPOCH, message, open_postgres, open_store, session, wait

pytestmark = pytest.mark.postgres


@pytest.fixture
def url(contract_database: Callable[[], str]) -> str:
    """A database without rows, or without tables."""
    return contract_database()


@pytest.fixture
def file(tmp_path: Path, reactor: Any) -> Path:
    """The database of a hub that was stopped, with rows in every table."""
    store = open_store("sqlite", tmp_path, reactor)
    fill(store)
    wait(store.close())
    return tmp_path / "hub.db"


def forth(path: Path, url: str, force: bool = False, **more: Any) -> Transferred:
    with sqlite_source(path) as source, postgres_target(url, "the server", force) as target:
        return Transfer(source, target, **more).run()


def back(url: str, path: Path, force: bool = False) -> Transferred:
    with postgres_source(url, "the server") as source, sqlite_target(path, force) as target:
        return Transfer(source, target).run()


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def rows_of(path: Path) -> dict[str, list[Any]]:
    """All rows of a file, beside those of the search index."""
    with closing(sqlite3.connect(path)) as connection:
        source = SqliteSource(str(path), connection)
        return {
            table: sorted(map(repr, source.rows(table, columns)))
            for table, columns in source.tables().items()
        }


def counts(url: str) -> dict[str, int]:
    with psycopg.connect(url) as connection:
        if connection.execute("SELECT to_regclass('sessions')").fetchone() == (None,):
            return {}
        tables = sorted(TABLES - OWN_TABLES)
        found = {
            table: connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0]  # type: ignore
            for table in tables
        }
    return {table: count for table, count in found.items() if count}


async def found(store: Any) -> list[list[str]]:
    """What searches find, in its order."""
    terms = (SearchTerm(("needle",)), SearchTerm(("needle", "1"), True), SearchTerm(("é",)))
    return [
        [row.id for row in (await store.search("default", [term], 99)).messages] for term in terms
    ]


def test_all_rows_arrive_in_postgresql_and_come_back(
    file: Path, url: str, tmp_path: Path, reactor: Any
) -> None:
    before = digest(file)
    moved = forth(file, url)
    assert moved.replaced == 0
    assert moved.counts == counts(url)
    assert set(moved.counts) == TABLES - OWN_TABLES  # every table had rows
    copy = tmp_path / "back.db"
    assert back(url, copy).counts == moved.counts
    assert digest(file) == before
    assert rows_of(copy) == rows_of(file)
    assert copy.stat().st_mode & 0o777 == 0o600
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith((".", "back"))] == [
        "back.db"
    ]


def test_a_hub_goes_on_with_what_was_moved(
    file: Path, url: str, tmp_path: Path, reactor: Any
) -> None:
    forth(file, url)
    back(url, tmp_path / "moved.db")
    (tmp_path / "again").mkdir()
    (tmp_path / "moved.db").rename(tmp_path / "again/hub.db")
    stores = [
        open_store("sqlite", tmp_path, reactor),
        open_postgres(url, reactor),
        open_store("sqlite", tmp_path / "again", reactor),
    ]
    try:
        assert [store.index_progress().is_complete for store in stores] == [True, True, True]
        first, *others = [wait(found(store)) for store in stores]
        assert len(first[0]) > 30
        assert others == [first, first]
        for name in ("next", "and one more"):
            for store in stores:
                wait(store.add_message(message(f"needle {name}", "long"), EPOCH))
        rows = [[row.id for row in wait(store.latest("long", 99))] for store in stores]
        assert rows[1:] == rows[:1] * 2
        first, *others = [wait(found(store)) for store in stores]
        assert first[0][:2] == ["needle and one more", "needle next"]
        assert others == [first, first]
        links = [[row.id for row in wait(store.share_links("long"))] for store in stores]
        assert links == [["z", "a"]] * 3
    finally:
        for store in stores:
            wait(store.close())


def test_an_index_that_is_not_complete_is_made_by_the_hub(
    file: Path, url: str, tmp_path: Path, reactor: Any
) -> None:
    with closing(sqlite3.connect(file)) as connection, connection:
        connection.execute("UPDATE message_index SET is_complete = 0")
    forth(file, url)
    store = open_postgres(url, reactor)
    assert not store.index_progress().is_complete
    while wait(store.index_older()):
        pass
    assert len(wait(found(store))[0]) > 30
    wait(store.close())


def test_a_character_that_postgresql_cannot_store_is_replaced_and_counted(
    url: str, tmp_path: Path, reactor: Any
) -> None:
    store = open_store("sqlite", tmp_path, reactor)
    wait(store.create_session(session("a\x00b", effort="\x00")))
    wait(store.add_message(message("m", "a\x00b"), None))
    wait(store.create_session(session("plain")))
    wait(store.close())
    assert forth(tmp_path / "hub.db", url).replaced == 2
    copied = open_postgres(url, reactor)
    rows = {row.id: row.effort for row in wait(copied.sessions())}
    assert rows == {"a\ufffdb": "\ufffd", "plain": None}
    assert [row.id for row in wait(copied.latest("a\ufffdb", 9))] == ["m"]
    wait(copied.close())


def test_what_a_killed_hub_left_in_the_log_is_moved_and_the_log_stays(
    file: Path, url: str, tmp_path: Path, reactor: Any
) -> None:
    with closing(sqlite3.connect(file)) as writer:
        writer.execute("PRAGMA wal_autocheckpoint = 0")
        writer.execute("UPDATE sessions SET effort = 'in the log' WHERE id = 'long'")
        writer.commit()
        (tmp_path / "killed").mkdir()
        for suffix in ("", "-wal"):
            copy = tmp_path / f"killed/hub.db{suffix}"
            copy.write_bytes(Path(f"{file}{suffix}").read_bytes())
    killed = tmp_path / "killed/hub.db"
    before = digest(killed), digest(Path(f"{killed}-wal"))
    forth(killed, url)
    assert (digest(killed), digest(Path(f"{killed}-wal"))) == before
    store = open_postgres(url, reactor)
    assert {row.effort for row in wait(store.sessions()) if row.id == "long"} == {"in the log"}
    wait(store.close())


# --- what is refused ------------------------------------------------------------------------------


def test_a_database_with_rows_is_refused_and_replaced_when_that_is_asked_for(
    file: Path, url: str, tmp_path: Path, reactor: Any
) -> None:
    store = open_postgres(url, reactor)
    wait(store.create_session(session("other")))
    wait(store.close())
    with pytest.raises(TransferFailed, match=r"not empty \(1 session\): use another one, or --fo"):
        forth(file, url)
    assert counts(url) == {"sessions": 1}
    moved = forth(file, url, force=True)
    assert counts(url) == moved.counts


def test_the_secrets_of_another_hub_count_as_rows(file: Path, url: str, reactor: Any) -> None:
    store = open_postgres(url, reactor)
    wait(store.secret("access-token", "of another hub"))
    wait(store.close())
    with pytest.raises(
        TransferFailed, match=r"not empty \(a hub has left its access token in it\)"
    ):
        forth(file, url)
    forth(file, url, force=True)
    store = open_postgres(url, reactor)
    assert wait(store.secret("access-token", "of the hub that was moved")) == (
        "of the hub that was moved"
    )
    wait(store.close())


def test_a_file_that_exists_is_refused_and_replaced_when_that_is_asked_for(
    file: Path, url: str, tmp_path: Path, reactor: Any
) -> None:
    forth(file, url)
    (tmp_path / "other").mkdir()
    store = open_store("sqlite", tmp_path / "other", reactor)
    wait(store.create_session(session("other")))
    target = tmp_path / "other/hub.db"
    with pytest.raises(TransferFailed, match="already exists: choose another name, or use --force"):
        back(url, target)
    wait(store.close())
    target.with_name("hub.db-wal").write_bytes(b"a log of the file before")
    back(url, target, force=True)
    assert rows_of(target) == rows_of(file)
    assert {path.name for path in target.parent.iterdir()} <= {"hub.db", "hub.db.lock"}
    with pytest.raises(TransferFailed, match="is a directory"):
        back(url, tmp_path)
    with pytest.raises(TransferFailed, match="not an existing directory"):
        back(url, tmp_path / "missing/hub.db")


@pytest.mark.parametrize("shared", [True, False])
def test_a_database_that_a_hub_uses_is_refused(
    file: Path, url: str, tmp_path: Path, reactor: Any, shared: bool
) -> None:
    store = open_postgres(url, reactor, shared)
    wait(store.join("a", "http://a", "1"))
    with pytest.raises(DatabaseInUse, match="the server is in use by the hub a at http://a; stop"):
        forth(file, url)
    with pytest.raises(DatabaseInUse):
        back(url, tmp_path / "back.db")
    wait(store.close())


def test_a_database_on_which_a_hub_waits_is_refused(file: Path, url: str, reactor: Any) -> None:
    from hapi.hub.store.postgres.store import PostgresStore

    standby = PostgresStore(url, reactor)
    wait(standby.open())
    with pytest.raises(DatabaseInUse, match="in use by the hub; stop it first"):
        forth(file, url)
    wait(standby.close())


def test_a_second_migration_is_refused_meanwhile(file: Path, url: str) -> None:
    expected = "in use by another `hapi hub migrate`: wait for its end"
    with (
        sqlite_source(file),
        postgres_target(url, "the server", False),
        pytest.raises(DatabaseInUse, match=expected),
    ):
        forth(file, url)
    assert forth(file, url).counts == counts(url)


def test_hubs_are_kept_out_meanwhile(file: Path, url: str, reactor: Any) -> None:
    from hapi.hub.store.postgres.store import PostgresStore

    with sqlite_source(file), postgres_target(url, "the server", False):
        hub = PostgresStore(url, reactor)
        wait(hub.open())
        assert not wait(hub.acquire(False))
        assert not wait(hub.acquire(True))
        wait(hub.close())


def test_databases_that_are_not_those_of_a_hub_are_refused(
    file: Path, url: str, database_url: str, tmp_path: Path
) -> None:
    with psycopg.connect(database_url) as connection:
        connection.execute("CREATE TABLE other (id bigint)")
    with pytest.raises(StoreRefused, match="another program"):
        forth(file, database_url)
    with pytest.raises(TransferFailed, match="no tables of a hub"):
        back(database_url, tmp_path / "back.db")
    with pytest.raises(TransferFailed, match="there is no database"):
        forth(tmp_path / "missing.db", url)
    (tmp_path / "text.db").write_text("not a database, and long enough to look like one" * 100)
    with pytest.raises(TransferFailed, match=r"text\.db"):
        forth(tmp_path / "text.db", url)
    with closing(sqlite3.connect(tmp_path / "other.db")) as connection, connection:
        connection.execute("CREATE TABLE other (id)")
    with pytest.raises(StoreRefused, match="belongs to another program"):
        forth(tmp_path / "other.db", url)
    with pytest.raises(StoreRefused, match=r"127\.0\.0\.1"):
        forth(file, "postgresql://x@127.0.0.1:1/x?connect_timeout=2")
    with closing(sqlite3.connect(file)) as connection, connection:
        connection.execute("PRAGMA user_version = 3")
    with pytest.raises(TransferFailed, match="has version 3 and this program"):
        forth(file, url)
    assert counts(url) == {}


# --- what goes wrong ------------------------------------------------------------------------------


class _Stopped(BaseException):
    """As KeyboardInterrupt."""


@pytest.mark.parametrize("step", ["Copying", "Comparing"])
@pytest.mark.parametrize("force", [False, True])
def test_an_interrupted_transfer_leaves_both_as_they_were(
    file: Path, url: str, tmp_path: Path, reactor: Any, step: str, force: bool
) -> None:
    if force:
        store = open_postgres(url, reactor)
        wait(store.create_session(session("other")))
        wait(store.close())
    before, expected = digest(file), counts(url)

    def stop(report: Report) -> None:
        if (report.step, report.table) == (step, "token_use"):
            raise _Stopped

    with pytest.raises(_Stopped):
        forth(file, url, force, report=stop)
    assert counts(url) == expected
    assert digest(file) == before
    assert forth(file, url, force).counts == counts(url)


@pytest.mark.parametrize(
    ("damaged", "change", "error"),
    [
        (
            "saved_prompts",
            "UPDATE saved_prompts SET text = 'x' WHERE id = 'p3'",
            "the 6 rows of saved_prompts in the server are not",
        ),
        (
            "messages",
            "UPDATE messages SET rowid = rowid + 1000 WHERE id = 'm3'",
            "rows of messages",
        ),
    ],
    ids=["another text", "another order"],
)
def test_rows_that_arrived_otherwise_undo_everything(
    file: Path, url: str, monkeypatch: pytest.MonkeyPatch, damaged: str, change: str, error: str
) -> None:
    filled = PostgresTarget.fill

    def fill(target: Any, table: str, columns: Any, rows: Iterator[Any]) -> None:
        filled(target, table, columns, rows)
        if table == damaged:
            target.connection.execute(change)

    monkeypatch.setattr(PostgresTarget, "fill", fill)
    with pytest.raises(TransferFailed, match=error):
        forth(file, url)
    assert counts(url) == {}


def test_a_connection_that_breaks_leaves_both_as_they_were(file: Path, url: str) -> None:
    def end(report: Report) -> None:
        if (report.step, report.table) == ("Comparing", "messages"):
            with psycopg.connect(url, autocommit=True) as connection:
                connection.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                    " WHERE application_name = 'hapi hub migrate' AND pid <> pg_backend_pid()"
                    " AND datname = current_database()"
                )

    with pytest.raises(TransferFailed, match="the server"):
        forth(file, url, report=end)
    assert counts(url) == {}


def test_a_file_that_cannot_be_replaced_is_named(file: Path, url: str, tmp_path: Path) -> None:
    forth(file, url)
    target = tmp_path / "back.db"

    def move() -> None:
        with postgres_source(url, "the server") as source, sqlite_target(target, False) as made:
            Transfer(source, made).run()
            target.write_text("came meanwhile")

    with pytest.raises(BackupFailed, match="already exists"):
        move()
    assert target.read_text() == "came meanwhile"
