"""Opening a database in PostgreSQL: what is refused, in one sentence, with nothing changed."""

from __future__ import annotations

from threading import Barrier
from typing import Any

import psycopg
import pytest
from twisted.internet.defer import Deferred, gatherResults

from hapi.hub.store.interface import StoreAway, StoreRefused
from hapi.hub.store.postgres import schema, tables
from hapi.hub.store.postgres import session as writing_session
from hapi.hub.store.postgres.connection import PostgresConnection
from hapi.hub.store.postgres.locks import MIGRATION
from hapi.hub.store.postgres.readers import MAX_READERS
from hapi.hub.store.postgres.schema import Migration
from hapi.hub.store.postgres.store import PostgresStore
from tests.support.postgres import execute
from tests.support.store_stage import session, wait

pytestmark = pytest.mark.postgres


def refusal(url: str, reactor: Any) -> str:
    store = PostgresStore(url, reactor)
    with pytest.raises(StoreRefused) as refused:
        wait(store.open())
    wait(store.close())
    text = str(refused.value)
    assert "\n" not in text
    return text


def table_names(url: str) -> set[str]:
    query = "SELECT tablename FROM pg_tables WHERE schemaname = 'public'"
    return {name for (name,) in execute(url, query)}


def test_a_new_database_gets_the_tables_and_another_hub_finds_them(
    database_url: str, reactor: Any
) -> None:
    for _ in range(2):
        store = PostgresStore(database_url, reactor)
        wait(store.open())
        wait(store.close())
    assert table_names(database_url) == schema.TABLES
    assert execute(database_url, "SELECT version, compat FROM meta") == [(schema.VERSION, 1)]


def test_a_server_that_cannot_be_reached_is_refused(reactor: Any) -> None:
    assert "Connection refused" in refusal("postgresql://hapi@127.0.0.1:1/hapi", reactor)


def test_a_wrong_password_is_refused_and_not_shown(postgres_servers: Any, reactor: Any) -> None:
    server = postgres_servers(port=True)
    server.create_database("hapi")
    text = refusal(server.tcp_url("hapi", password="wrong-secret"), reactor)
    assert "password authentication failed" in text
    assert "wrong-secret" not in text


def test_a_missing_database_is_refused(shared_postgres: Any, reactor: Any) -> None:
    assert "does not exist" in refusal(shared_postgres.url("no_such_database"), reactor)


def test_a_role_that_may_not_create_tables_is_refused(
    shared_postgres: Any, database_url: str, reactor: Any
) -> None:
    name = database_url.partition("@/")[2].partition("?")[0]
    shared_postgres.execute(f"ALTER DATABASE {name} OWNER TO postgres")
    shared_postgres.execute("REVOKE CREATE ON SCHEMA public FROM hapi, PUBLIC", name)
    assert "may not create tables" in refusal(database_url, reactor)
    assert table_names(database_url) == set()


def test_a_role_that_may_not_write_the_tables_is_refused(
    shared_postgres: Any, database_url: str, reactor: Any
) -> None:
    name = database_url.partition("@/")[2].partition("?")[0]
    owner = PostgresStore(database_url, reactor)
    wait(owner.open())
    wait(owner.close())
    shared_postgres.execute("REASSIGN OWNED BY hapi TO postgres", name)
    shared_postgres.execute("GRANT SELECT ON ALL TABLES IN SCHEMA public TO hapi", name)
    assert "may not write" in refusal(database_url, reactor)


def test_a_database_of_another_program_is_refused_and_not_touched(
    database_url: str, reactor: Any
) -> None:
    execute(database_url, "CREATE TABLE things (id integer)")
    assert "tables of another program (things)" in refusal(database_url, reactor)
    assert table_names(database_url) == {"things"}


def test_tables_of_the_same_names_are_not_taken_for_ours(database_url: str, reactor: Any) -> None:
    execute(
        database_url,
        "CREATE TABLE meta (application integer, version integer, compat integer)",
        "INSERT INTO meta VALUES (1, 1, 1)",
    )
    assert "another program" in refusal(database_url, reactor)
    assert table_names(database_url) == {"meta"}


def test_tables_that_are_missing_are_named(database_url: str, reactor: Any) -> None:
    store = PostgresStore(database_url, reactor)
    wait(store.open())
    wait(store.close())
    execute(
        database_url, "ALTER TABLE messages RENAME TO old_messages", "DROP TABLE scratch_entries"
    )
    assert "lacks tables of a hub" in (text := refusal(database_url, reactor))
    assert "(messages, scratch_entries): restore it from a backup" in text


def test_an_old_server_is_refused(
    database_url: str, reactor: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tables, "MIN_SERVER", 990_000)
    assert "needs 99 or newer" in refusal(database_url, reactor)
    assert table_names(database_url) == set()


def test_newer_tables_are_refused_unless_they_are_compatible(
    database_url: str, reactor: Any
) -> None:
    store = PostgresStore(database_url, reactor)
    wait(store.open())
    wait(store.close())
    execute(database_url, "UPDATE meta SET version = 7, compat = 1")
    compatible = PostgresStore(database_url, reactor)
    wait(compatible.open())
    wait(compatible.close())
    assert execute(database_url, "SELECT version FROM meta") == [(7,)]
    execute(database_url, "UPDATE meta SET compat = 7")
    assert "start the newer hub" in refusal(database_url, reactor)


def migrations(monkeypatch: pytest.MonkeyPatch, *more: Migration) -> None:
    """What a newer hub knows."""
    monkeypatch.setattr(writing_session, "MIGRATIONS", (*schema.MIGRATIONS, *more))


def test_a_migration_that_older_hubs_work_with_is_done_beside_them(
    database_url: str, reactor: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    older = PostgresStore(database_url, reactor)
    wait(older.open())
    assert wait(older.acquire(shared=True))
    row = session()
    wait(older.create_session(row))
    for number in range(5):  # PostgreSQL keeps the plans of these statements
        wait(older.sessions())
        wait(older.change_session("s1", {"active_at": number}))
    migrations(monkeypatch, Migration(1, ("ALTER TABLE sessions ADD COLUMN more TEXT",)))
    newer = PostgresStore(database_url, reactor)
    wait(newer.open())
    assert wait(newer.acquire(shared=True))
    changed = wait(older.change_session("s1", {"active_at": 7}))
    assert wait(newer.sessions()) == wait(older.sessions()) == [changed]
    wait(older.close())
    wait(newer.close())


def test_a_migration_disturbs_no_read_of_an_older_hub_whatever_connection_it_has(
    database_url: str, reactor: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    older = PostgresStore(database_url, reactor)
    wait(older.open())
    query, together = "SELECT * FROM sessions", Barrier(MAX_READERS)

    def read(connection: PostgresConnection) -> list[Any]:
        together.wait(60)  # so that each of them has a connection of its own
        return list(connection.execute(query).fetchall())

    for _ in range(6):  # from the fifth time on, psycopg and the server keep the plan
        runs = [older.database.readers.run(read) for _ in range(MAX_READERS)]
        wait(gatherResults([Deferred.fromCoroutine(run) for run in runs]))
    migrations(monkeypatch, Migration(1, ("ALTER TABLE sessions ADD COLUMN more TEXT",)))
    newer = PostgresStore(database_url, reactor)
    wait(newer.open())
    for _ in range(MAX_READERS):
        assert wait(older.database.read(query)) == []
    wait(older.close())
    wait(newer.close())


def test_a_migration_disturbs_no_standby(
    database_url: str, reactor: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    standby = PostgresStore(database_url, reactor)
    wait(standby.open())
    for _ in range(6):
        wait(standby.attend("standby", "http://standby", "1"))
    migrations(monkeypatch, Migration(1, ("ALTER TABLE hubs ADD COLUMN more TEXT",)))
    newer = PostgresStore(database_url, reactor)
    wait(newer.open())
    (member,) = wait(standby.attend("standby", "http://standby", "1"))
    assert member.name == "standby"
    wait(standby.close())
    wait(newer.close())


def test_a_migration_that_an_active_hub_cannot_work_with_waits_for_its_end(
    database_url: str, reactor: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    older = PostgresStore(database_url, reactor)
    wait(older.open())
    assert wait(older.acquire(shared=True))
    migrations(monkeypatch, Migration(2, ("ALTER TABLE sessions DROP COLUMN effort",)))
    assert "stop it first" in refusal(database_url, reactor)
    wait(older.probe())
    assert execute(database_url, "SELECT version FROM meta") == [(1,)]
    wait(older.close())
    newer = PostgresStore(database_url, reactor)
    wait(newer.open())
    wait(newer.close())
    assert execute(database_url, "SELECT version, compat FROM meta") == [(2, 2)]


DESTRUCTIVE = Migration(2, ("ALTER TABLE sessions DROP COLUMN effort",))


def migrate(url: str, reactor: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a newer hub does at its start that older ones cannot work with."""
    with monkeypatch.context() as newer:
        migrations(newer, DESTRUCTIVE)
        store = PostgresStore(url, reactor)
        wait(store.open())
        wait(store.close())


@pytest.mark.parametrize("shared", [False, True])
def test_a_hub_that_waited_does_not_acquire_tables_that_it_does_not_know(
    database_url: str, reactor: Any, monkeypatch: pytest.MonkeyPatch, shared: bool
) -> None:
    older = PostgresStore(database_url, reactor)
    wait(older.open())
    migrate(database_url, reactor, monkeypatch)
    with pytest.raises(StoreRefused, match="start the newer hub"):
        wait(older.acquire(shared=shared))
    wait(older.close())


@pytest.mark.parametrize("shared", [False, True])
def test_a_hub_that_was_silent_cannot_write_to_tables_that_it_does_not_know(
    database_url: str, reactor: Any, monkeypatch: pytest.MonkeyPatch, shared: bool
) -> None:
    older = PostgresStore(database_url, reactor)
    wait(older.open())
    assert wait(older.acquire(shared=shared))
    lost: list[bool] = []
    older.on_lost_lock.append(lambda: lost.append(True))
    monkeypatch.setattr(tables, "DEAD_AFTER", -3600.0)  # whatever it did, it was long ago
    migrate(database_url, reactor, monkeypatch)
    with pytest.raises(StoreAway, match="another hub has taken over"):
        wait(older.create_session(session()))
    assert lost
    assert execute(database_url, "SELECT count(*) FROM sessions") == [(0,)]
    wait(older.close())


def test_a_hub_does_not_acquire_a_database_whose_tables_are_being_changed(
    database_url: str, reactor: Any
) -> None:
    store = PostgresStore(database_url, reactor)
    wait(store.open())
    with psycopg.connect(database_url) as connection:
        connection.execute("SELECT pg_advisory_xact_lock(%s)", (MIGRATION,))
        assert not wait(store.acquire(shared=True))
    assert wait(store.acquire(shared=True))
    wait(store.close())


def test_a_migration_that_fails_leaves_nothing_behind(
    database_url: str, reactor: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    migrations(monkeypatch, Migration(2, ("CREATE TABLE half (id integer)", "SELECT nonsense")))
    refusal(database_url, reactor)
    assert table_names(database_url) == set()
