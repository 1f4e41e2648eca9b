"""Group commit in PostgreSQL: turns, lost connections, and the lock of the hub that writes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest
from twisted.internet.defer import Deferred, DeferredList

from hapi.hub.store.interface import StoreAway, StoreBusy, StoreFailed
from hapi.hub.store.postgres import writer
from hapi.hub.store.postgres.connection import PostgresConnection, Row, numbered
from hapi.hub.store.postgres.session import WritingSession
from hapi.hub.store.postgres.store import PostgresStore
from hapi.hub.store.rows import Added
from tests.support.postgres import execute
from tests.support.store_stage import message, open_postgres, postgres_stores, session, wait

pytestmark = pytest.mark.postgres
END = (
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
    " WHERE pid <> pg_backend_pid() AND datname = current_database()"
)


@pytest.fixture
def stores(database_url: str, reactor: Any) -> Iterator[Callable[[], PostgresStore]]:
    with postgres_stores(database_url, reactor) as make:
        yield make


@pytest.fixture
def store(stores: Callable[[], PostgresStore]) -> PostgresStore:
    made = stores()
    assert wait(made.acquire(shared=False))
    return made


def begin(awaitable: Any) -> Deferred[Any]:
    async def result() -> Any:
        return await awaitable

    return Deferred.fromCoroutine(result())


def outcomes(*awaitables: Any) -> list[Any]:
    """The results, or errors, of calls that begin at the same time."""
    results: Any = wait(DeferredList([begin(each) for each in awaitables], consumeErrors=True))
    return [value if is_done else value.value for is_done, value in results]


def test_values_have_numbered_marks() -> None:
    assert numbered("a = ? AND b = ?") == "a = $1 AND b = $2"
    assert numbered("SELECT 1") == "SELECT 1"


def test_a_row_has_its_columns_by_name_and_by_number(store: PostgresStore) -> None:
    (row,) = wait(store.database.read("SELECT 1 AS one, 'b' AS two"))
    assert isinstance(row, Row)
    assert (row[0], row["two"], list(row.keys()), dict(row)) == (
        *(1, "b", ["one", "two"]),
        {"one": 1, "two": "b"},
    )


def test_nobody_writes_before_the_database_was_acquired(
    stores: Callable[[], PostgresStore],
) -> None:
    waiting = stores()
    assert isinstance(outcomes(waiting.probe())[0], StoreAway)
    assert wait(waiting.acquire(shared=False))
    wait(waiting.probe())


def test_turns_that_fail_take_no_other_one_with_them(store: PostgresStore) -> None:
    def fails_late(turn: Any) -> None:
        turn.create_session(session("s2"))
        raise ValueError("late")

    def fails_in_sql(turn: Any) -> None:
        turn.create_session(session("s3"))
        turn.connection.execute("INSERT INTO sessions (id) VALUES ('s4')")

    wait(store.create_session(session("s1")))
    first, late, sql, missing, last = outcomes(
        store.add_message(message("a"), None),
        store.turn("s2", fails_late),
        store.turn("s3", fails_in_sql),
        store.add_message(message("b", "nowhere"), None),
        store.add_message(message("c"), None),
    )
    assert (first.message.seq, last.message.seq) == (1, 2)
    assert isinstance(late, ValueError)
    assert isinstance(sql, StoreFailed)
    assert isinstance(missing, KeyError)
    assert [row.id for row in wait(store.sessions())] == ["s1"]
    assert [row.id for row in wait(store.latest("s1", 9))] == ["a", "c"]


def test_turns_that_begin_together_share_a_transaction(store: PostgresStore) -> None:
    before = store.batch_sizes.count
    outcomes(*(store.create_session(session(f"s{number}")) for number in range(50)))
    assert store.batch_sizes.count - before <= 2


def test_a_nul_character_becomes_a_replacement_character(store: PostgresStore) -> None:
    wait(store.create_session(session("s1", metadata={"path": "/a\0b"}, effort="x\0y")))
    (row,) = wait(store.sessions())
    assert row.metadata == {"path": "/a\0b"}  # JSON escapes it
    assert row.effort == "x\ufffdy"


def test_connections_that_end_are_made_again(store: PostgresStore, database_url: str) -> None:
    wait(store.create_session(session("s1")))
    for number in range(3):
        execute(database_url, END)
        assert wait(store.add_message(message(f"m{number}"), None)).message.seq == number + 1
        execute(database_url, END)
        assert len(wait(store.latest("s1", 9))) == number + 1


def test_what_is_urgent_comes_before_what_waits(store: PostgresStore) -> None:
    """A sign of life does not wait behind a thousand messages."""
    order: list[str] = []
    wait(store.create_session(session("s1")))
    adding = [begin(store.add_message(message(str(n)), None)) for n in range(writer.MAX_BATCH * 3)]
    adding[-1].addCallback(lambda _: order.append("last message"))
    beating = begin(store.beat()).addCallback(lambda _: order.append("beat"))
    wait(beating)
    wait(adding[-1])
    assert order == ["beat", "last message"]


def test_a_change_that_is_committed_is_a_sign_of_life(store: PostgresStore, reactor: Any) -> None:
    before = reactor.seconds()
    wait(store.create_session(session("s1")))
    assert before <= store.confirmed_at <= reactor.seconds()


@pytest.mark.parametrize("is_done", [True, False])
def test_a_commit_without_an_answer_is_stored_once(
    store: PostgresStore, monkeypatch: pytest.MonkeyPatch, is_done: bool
) -> None:
    """The connection breaks after, or before, the server has got COMMIT."""
    execute_really, broken = PostgresConnection.execute_together, []

    def break_once(self: PostgresConnection, statements: Any) -> Any:
        if statements[-1][0] == "COMMIT" and not broken:
            broken.append("COMMIT")
            execute_really(self, statements if is_done else statements[:-1])
            self.interrupt()
            return self.execute("SELECT 1")
        return execute_really(self, statements)

    wait(store.create_session(session("s1")))
    heard: list[Any] = []
    store.follow(heard.append)
    monkeypatch.setattr(PostgresConnection, "execute_together", break_once)

    def add(turn: Any) -> Any:
        turn.publish("default", "message-received", sessionId="s1")
        return turn.add_message(message("a"), None)

    added = wait(store.turn("s1", add))
    assert broken
    assert (added.message.seq, added.new) == (1, True)
    assert [row.id for row in wait(store.latest("s1", 9))] == ["a"]
    assert len(heard) == 1
    assert wait(store.add_message(message("b"), None)).message.seq == 2


def test_a_commit_without_an_answer_is_looked_up_when_the_lock_is_free_again(
    store: PostgresStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server still holds the lock of the connection that broke when the hub is there again."""
    execute_really = PostgresConnection.execute_together
    acquire_really = WritingSession._acquire_again
    broken: list[str] = []

    def break_once(self: PostgresConnection, statements: Any) -> Any:
        result = execute_really(self, statements)
        if statements[-1][0] == "COMMIT" and not broken:
            broken.append("COMMIT")
            self.interrupt()
            return self.execute("SELECT 1")
        return result

    def acquire_late(self: WritingSession, *arguments: Any) -> None:
        broken.append("waits")
        if len(broken) < 4:
            raise StoreAway("the lock of the connection before is still held")
        acquire_really(self, *arguments)

    wait(store.create_session(session("s1")))
    monkeypatch.setattr(PostgresConnection, "execute_together", break_once)
    monkeypatch.setattr(WritingSession, "_acquire_again", acquire_late)
    assert wait(store.add_message(message("a"), None)).message.seq == 1
    assert broken == ["COMMIT", "waits", "waits", "waits"]
    assert [row.id for row in wait(store.latest("s1", 9))] == ["a"]


def test_a_database_that_is_away_too_long_fails_all_turns_and_comes_back(
    postgres_servers: Any, reactor: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "AWAY_TIMEOUT", 0.5)
    server = postgres_servers()
    store = open_postgres(server.create_database("hapi"), reactor)
    wait(store.create_session(session("s1")))
    server.stop()
    first, second = outcomes(
        store.add_message(message("a"), None), store.add_message(message("b"), None)
    )
    assert isinstance(first, StoreAway)
    assert isinstance(second, StoreAway)
    assert not first.unknown
    assert isinstance(store.statistics.problem, StoreAway)
    with pytest.raises(StoreAway):
        wait(store.check())
    server.start()
    assert wait(store.add_message(message("c"), None)).message.seq == 1
    wait(store.check())
    wait(store.close())


def test_turns_wait_for_a_server_that_starts_again(postgres_servers: Any, reactor: Any) -> None:
    server = postgres_servers(fsync=True)
    store = open_postgres(server.create_database("hapi"), reactor)
    wait(store.create_session(session("s1")))
    wait(store.add_message(message("a"), None))
    server.crash()
    added = begin(store.add_message(message("b"), None))
    server.start()
    assert wait(added).message.seq == 2
    wait(store.close())


def test_a_server_that_stands_still_is_given_up(
    postgres_servers: Any, reactor: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hapi.hub.store.postgres.stall.STALL_TIMEOUT", 1.0)
    monkeypatch.setattr("hapi.hub.store.postgres.connection.CONNECT_TIMEOUT", 2)
    monkeypatch.setattr(writer, "AWAY_TIMEOUT", 1.0)
    server = postgres_servers()
    store = open_postgres(server.create_database("hapi"), reactor)
    wait(store.create_session(session("s1")))
    server.suspend()
    (failed,) = outcomes(store.add_message(message("a"), None))
    assert isinstance(failed, StoreAway)
    server.resume()
    # The server may find the statements of before in its socket: they were not committed.
    monkeypatch.setattr(writer, "AWAY_TIMEOUT", 60.0)
    assert wait(store.add_message(message("b"), None)).message.seq == 1
    wait(store.close())


def test_a_lock_of_another_program_does_not_hold_up_the_hub_for_ever(
    store: PostgresStore, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    wait(store.create_session(session("s1")))
    wait(
        store.database.writer.call(lambda used: used.connected().execute("SET lock_timeout = 100"))
    )
    with psycopg.connect(database_url) as other:
        other.execute("LOCK TABLE sessions IN ACCESS EXCLUSIVE MODE")
        (failed,) = outcomes(store.add_message(message("a"), None))
        assert isinstance(failed, StoreBusy)
    assert wait(store.add_message(message("b"), None)).message.seq == 1


# --- the lock of the hub that writes --------------------------------------------------------------


def test_one_hub_excludes_others_until_it_closes(stores: Callable[[], PostgresStore]) -> None:
    active, waiting = stores(), stores()
    assert wait(active.acquire(shared=False))
    assert not wait(waiting.acquire(shared=False))
    assert not wait(waiting.acquire(shared=True))
    found = wait(waiting.active_hub())
    assert found is not None
    assert (found.id, found.is_up) == (active.hub_id, True)
    wait(active.close())
    assert wait(waiting.acquire(shared=False))


def test_hubs_that_share_the_database_exclude_one_that_does_not(
    stores: Callable[[], PostgresStore],
) -> None:
    first, second, alone = stores(), stores(), stores()
    assert wait(first.acquire(shared=True))
    assert wait(second.acquire(shared=True))
    assert not wait(alone.acquire(shared=False))


def test_a_hub_that_lost_its_connection_and_its_lock_writes_no_more(
    stores: Callable[[], PostgresStore], database_url: str
) -> None:
    active, next_one = stores(), stores()
    assert wait(active.acquire(shared=False))
    wait(active.create_session(session("s1")))
    lost: list[str] = []
    active.on_lost_lock.append(lambda: lost.append("lost"))
    execute(database_url, END)
    while outcomes(next_one.acquire(shared=False)) != [True]:  # its connection was ended as well
        pass
    failed = outcomes(active.add_message(message("a"), None), active.probe())
    assert [type(each) for each in failed] == [StoreAway, StoreAway]
    assert lost == ["lost"]
    assert isinstance(outcomes(active.probe())[0], StoreAway)
    assert lost == ["lost"]
    assert wait(next_one.add_message(message("b"), None)).message.seq == 1


def test_a_hub_that_stands_still_loses_the_database(
    stores: Callable[[], PostgresStore], monkeypatch: pytest.MonkeyPatch
) -> None:
    active, waiting = stores(), stores()
    assert wait(active.acquire(shared=False))
    assert not wait(waiting.end_stale_holder())
    monkeypatch.setattr("hapi.hub.store.postgres.store.DEAD_AFTER", 0.2)
    while not wait(waiting.end_stale_holder()):
        pass
    while not wait(waiting.acquire(shared=False)):  # until the server has ended the connection
        pass
    assert isinstance(outcomes(active.probe())[0], StoreAway)
    wait(waiting.probe())


# --- messages that are sent together --------------------------------------------------------------


def test_messages_that_come_together_are_stored_in_their_order(store: PostgresStore) -> None:
    for name in ("s1", "s2"):
        wait(store.create_session(session(name)))
    heard: list[Any] = []
    store.follow(heard.append)

    def receive(name: str, owner: str, local_id: str | None = None) -> Callable[[Any], Any]:
        row = message(name, owner, local_id=local_id)

        def change(turn: Any) -> Any:
            added = turn.add_message(row, None)
            if added.first:  # another statement after the first one
                heard.append((name, turn.session(owner).last_seq))
            turn.publish("default", "message-received", seq=added.message.seq, new=added.new)
            return added

        return change

    def fails(turn: Any) -> None:
        turn.add_message(message("gone", "s2"), None)
        raise ValueError("after it was stored")

    def publishes(turn: Any) -> None:
        turn.publish("default", "alone")

    results = outcomes(
        store.turn("s1", receive("a", "s1", "L")),
        store.turn("s2", receive("b", "s2")),
        store.turn("s1", receive("c", "s1")),
        store.turn("s1", receive("d", "s1", "L")),
        store.turn("s1", publishes),
        store.turn("s2", receive("e", "s2")),
        store.turn("nowhere", receive("f", "nowhere")),
        store.turn("s2", fails),
        store.turn("s2", receive("g", "s2")),
        store.turn("s1", receive("h", "s1")),
    )
    assert [getattr(each, "new", type(each)) for each in results] == [
        *(True, True, True, False, type(None), True, KeyError, ValueError, True, True),
    ]
    assert results[3].message.id == "a"
    assert [row.id for row in wait(store.latest("s1", 9))] == ["a", "c", "h"]
    assert [row.id for row in wait(store.latest("s2", 9))] == ["b", "e", "g"]
    events = [each for each in heard if not isinstance(each, tuple)]
    assert [(event.kind, event.fields.get("seq")) for event in events] == [
        *(("message-received", 1), ("message-received", 1), ("message-received", 2)),
        *(("message-received", 1), ("alone", None), ("message-received", 2)),
        *(("message-received", 3), ("message-received", 3)),
    ]


def test_a_turn_sees_what_is_its_own_to_see(store: PostgresStore) -> None:
    """However many messages are sent together, a later turn is not there yet."""
    for name in ("s1", "s2"):
        wait(store.create_session(session(name)))

    def add(name: str, owner: str) -> Any:
        row = message(name, owner)

        def change(turn: Any) -> int:
            turn.add_message(row, None)
            return int(turn.session(owner).last_seq)

        return store.turn(owner, change)

    calls = [add("a", "s1"), add("b", "s2"), add("c", "s1"), add("d", "s2"), add("e", "s1")]
    assert outcomes(*calls) == [1, 1, 2, 2, 3]


def test_a_message_that_the_database_refuses_fails_alone(store: PostgresStore) -> None:
    wait(store.create_session(session("s1")))
    found = outcomes(
        store.add_message(message("a"), None),
        store.add_message(message("a"), None),  # the same id
        store.add_message(message("b"), None),
        store.add_message(message("c", local_id="\ud800"), None),
        store.add_message(message("d"), None),
    )
    kinds = [Added, StoreFailed, Added, UnicodeEncodeError, Added]
    assert [type(each) for each in found] == kinds, found
    assert [each.message.seq for each in found if isinstance(each, Added)] == [1, 2, 3]
