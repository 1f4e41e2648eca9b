"""Several hubs on one database in PostgreSQL: the journal, homes, members and singleton tasks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest
from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.task import deferLater
from zope.interface.verify import verifyObject

from hapi.hub.store.interface import StoreAway
from hapi.hub.store.postgres import journal
from hapi.hub.store.postgres.connection import PostgresConnection
from hapi.hub.store.postgres.store import PostgresStore
from hapi.hub.store.shared import HOME_CHANGED, Home, ISharedStore, Moved
from tests.support.postgres import execute
from tests.support.store_stage import machine, message, postgres_stores, prompt, session, wait

pytestmark = pytest.mark.postgres


@pytest.fixture
def hubs(database_url: str, reactor: Any) -> Iterator[Callable[[], PostgresStore]]:
    with postgres_stores(database_url, reactor) as make:

        def join() -> PostgresStore:
            store = make()
            assert wait(store.acquire(shared=True))
            return store

        yield join


@pytest.fixture
def pair(hubs: Callable[[], PostgresStore]) -> tuple[PostgresStore, PostgresStore]:
    first, second = hubs(), hubs()
    wait(first.create_session(session("s1")))
    return first, second


def all_of(*awaitables: Any) -> list[Any]:
    """The results, or errors, of calls that begin at the same time."""

    async def result(awaitable: Any) -> Any:
        return await awaitable

    begun = [Deferred.fromCoroutine(result(each)) for each in awaitables]
    found: Any = wait(DeferredList(begun, consumeErrors=True))
    return [value if is_done else value.value for is_done, value in found]


def publishing(kind: str, **fields: Any) -> Callable[[Any], None]:
    return lambda turn: turn.publish("default", kind, **fields)


def kinds(store: PostgresStore, after: int = 0) -> list[str]:
    return [entry.kind for entry in wait(store.entries_after(after, 1_000))]


def test_the_store_has_what_several_hubs_share(hubs: Callable[[], PostgresStore]) -> None:
    verifyObject(ISharedStore, hubs())


# --- the journal ----------------------------------------------------------------------------------


def test_events_of_turns_are_entries_for_all_hubs(pair: Any) -> None:
    first, second = pair
    heard: list[Any] = []
    first.follow(heard.append)
    wait(first.turn("s1", publishing("session-updated", sessionId="s1", data={"a": "\0"})))
    (entry,) = wait(second.entries_after(0, 10))
    assert (entry.hub, entry.namespace, entry.kind, entry.fields, entry.live) == (
        *(first.hub_id, "default", "session-updated"),
        *({"sessionId": "s1", "data": {"a": "\0"}}, None),
    )
    assert [event.kind for event in heard] == ["session-updated"]
    assert wait(second.newest_entry()) == entry.id
    assert wait(second.entries_after(entry.id, 10)) == []


def test_what_is_published_keeps_its_place_among_the_turns(pair: Any) -> None:
    first, second = pair
    before = first.turn("s1", publishing("one"))
    coroutines = [Deferred.fromCoroutine(before)]
    first.publish("default", "two", {"sessionId": "s1"}, {"active": True})
    coroutines.append(Deferred.fromCoroutine(first.turn("s1", publishing("three"))))
    wait(DeferredList(coroutines))
    assert kinds(second) == ["one", "two", "three"]
    assert wait(second.live_states()) == {"s1": {"active": True}}


def test_a_turn_that_fails_leaves_no_entry(pair: Any) -> None:
    first, second = pair

    def fails(turn: Any) -> None:
        turn.publish("default", "never")
        turn.add_message(message("a"), None)
        raise ValueError

    results = all_of(
        first.turn("s1", publishing("before")),
        first.turn("s1", fails),
        first.turn("s1", publishing("after")),
    )
    assert isinstance(results[1], ValueError)
    assert kinds(second) == ["before", "after"]


def test_entries_of_several_hubs_have_rising_ids_in_the_order_of_the_commits(pair: Any) -> None:
    first = pair[0]
    seen: list[int] = []
    names: list[str] = []

    async def read() -> None:
        while len(names) < 60:
            for entry in await first.entries_after(seen[-1] if seen else 0, 7):
                seen.append(entry.id)
                names.append(entry.kind)

    writes = [
        hub.turn(f"x{number}", publishing(f"{hub.hub_id}:{number}"))
        for number in range(30)
        for hub in pair
    ]
    all_of(read(), *writes)
    assert seen == sorted(seen)
    for hub in pair:
        own = [name for name in names if name.startswith(hub.hub_id)]
        assert own == [f"{hub.hub_id}:{number}" for number in range(30)]


def test_hubs_hear_of_new_entries(pair: Any, database_url: str) -> None:
    first, second = pair
    heard: Deferred[None] = Deferred()
    first.on_journal(lambda: None if heard.called else heard.callback(None))
    wait(second.turn("s1", publishing("one")))
    wait(heard)
    # The connection that listens is made again.
    execute(
        database_url,
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'LISTEN%'",
    )
    again: Deferred[None] = Deferred()
    first.on_journal(lambda: None if again.called else again.callback(None))
    wait(again)


def test_entries_are_trimmed_and_who_has_missed_some_learns_of_it(
    pair: Any, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = pair
    for number in range(4):
        wait(first.turn("s1", publishing(f"old{number}")))
    assert not wait(first.trim_journal())
    assert kinds(second) == ["old0", "old1", "old2", "old3"]
    execute(database_url, f"UPDATE events SET at = at - {journal.KEPT + 1}")
    wait(first.turn("s1", publishing("new")))
    assert not wait(first.trim_journal())
    newest = wait(second.newest_entry())
    assert wait(second.entries_after(0, 10)) is None
    assert [entry.kind for entry in wait(second.entries_after(newest - 1, 10))] == ["new"]
    execute(database_url, f"UPDATE events SET at = at - {journal.KEPT + 1}")
    wait(first.trim_journal())
    assert wait(second.newest_entry()) == newest
    assert wait(second.entries_after(newest, 10)) == []


def test_the_epoch_of_the_journal_is_the_same_for_all_and_another_one_after_a_failover(
    postgres_servers: Any, reactor: Any
) -> None:
    server = postgres_servers()
    url = server.create_database("hapi")
    store = PostgresStore(url, reactor)
    wait(store.open())
    epoch = wait(store.journal_epoch())
    wait(store.close())
    replica = server.replica()
    server.stop()
    replica.promote()
    after = PostgresStore(replica.url("hapi"), reactor)
    wait(after.open())
    assert wait(after.journal_epoch()) != epoch
    assert wait(after.journal_epoch()).partition(":")[0] == epoch.partition(":")[0]
    wait(after.close())


# --- homes ----------------------------------------------------------------------------------------


def test_a_claim_is_committed_and_journalled_with_a_rising_epoch(pair: Any) -> None:
    first, second = pair
    assert wait(first.home("s1")) is None
    assert wait(first.claim("s1", {"active": True})) == Home("s1", first.hub_id, 1)
    assert wait(second.home("s1")) == Home("s1", first.hub_id, 1)
    assert wait(second.claim("s1")) == Home("s1", second.hub_id, 2)
    wait(first.release("s1"))  # it is no longer the home of `first`
    assert wait(first.homes()) == [Home("s1", second.hub_id, 2)]
    wait(second.release("s1"))
    assert wait(first.homes()) == []
    assert wait(first.claim("s1")).epoch == 3
    entries = wait(second.entries_after(0, 10))
    assert {entry.kind for entry in entries} == {HOME_CHANGED}
    assert [(entry.fields["hub"], entry.fields["epoch"]) for entry in entries] == [
        *((first.hub_id, 1), (second.hub_id, 2), (None, 2), (first.hub_id, 3)),
    ]
    assert entries[0].live == {"active": True}


def test_only_the_home_writes(pair: Any) -> None:
    first, second = pair
    wait(second.change_session("s1", {"pinned": True}))  # at home nowhere
    wait(first.claim("s1"))
    moved, done = all_of(
        second.add_message(message("a"), None), second.create_session(session("s2"))
    )
    assert isinstance(moved, Moved)
    assert (moved.owner, moved.hub) == ("s1", first.hub_id)
    assert done[1] is True  # nothing else fails with it
    wait(first.add_message(message("b"), None))
    wait(first.add_message(prompt("p"), None))
    for refused in (
        second.consume("s1", ["p"], 5, True),
        second.set_delivery("p", "indeterminate"),
        second.delete_message("p"),
        second.merge_session("s1", "s2", session("s2")),
        second.discard_session("s1"),
    ):
        assert isinstance(all_of(refused)[0], Moved)
    assert wait(first.set_delivery("p", "indeterminate"))
    assert wait(first.delete_message("p")) is not None
    wait(second.claim("s1"))
    assert isinstance(all_of(first.add_message(message("c"), None))[0], Moved)
    assert [row.id for row in wait(second.latest("s1", 9))] == ["b"]


def test_turns_after_a_claim_are_those_of_the_new_home_at_once(pair: Any) -> None:
    first, second = pair
    wait(first.claim("s1"))
    claimed, added = all_of(second.claim("s1"), second.add_message(message("a"), None))
    assert claimed.epoch == 2
    assert added.message.seq == 1


def begin(awaitable: Any) -> Deferred[Any]:
    async def result() -> Any:
        return await awaitable

    return Deferred.fromCoroutine(result())


async def until_somebody_waits_for_a_row(store: PostgresStore, reactor: Any) -> None:
    query = "SELECT 1 FROM pg_stat_activity WHERE wait_event IN ('transactionid', 'tuple')"
    while not await store.database.read(query):
        await deferLater(reactor, 0.01)


def test_what_all_hubs_wait_for_is_one_round_trip(
    pair: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The lock of the order is never held while the server waits for a busy hub."""
    first, _ = pair
    wait(first.claim("s1"))
    sent: list[list[str]] = []
    execute_really = PostgresConnection.execute_together

    def execute(self: PostgresConnection, statements: Any) -> Any:
        sent.append([query.split()[0] for query, _ in statements])
        return execute_really(self, statements)

    monkeypatch.setattr(PostgresConnection, "execute_together", execute)
    first.publish("default", "session-updated", {"sessionId": "s1"}, {"active": True})
    wait(first.newest_entry())
    wait(first.add_message(message("a"), None))
    assert ["INSERT", "SELECT", "INSERT", "INSERT", "NOTIFY", "COMMIT"] in sent


def test_a_hub_that_waits_in_a_transaction_holds_no_other_one_up(
    pair: Any, database_url: str, reactor: Any
) -> None:
    first, second = pair
    wait(first.create_session(session("s2")))
    wait(first.claim("s1"))
    wait(second.claim("s2"))
    with psycopg.connect(database_url) as other:
        other.execute("SELECT 1 FROM sessions WHERE id = 's1' FOR UPDATE")
        slow = begin(first.add_message(message("a"), None))
        wait(begin(until_somebody_waits_for_a_row(second, reactor)))
        assert wait(second.add_message(message("b", "s2"), None)).message.seq == 1
        assert not slow.called
    assert wait(slow).message.seq == 1


def test_a_claim_waits_for_turns_that_have_seen_the_home_of_before(
    pair: Any, database_url: str, reactor: Any
) -> None:
    first, second = pair
    wait(first.claim("s1"))

    def change(turn: Any) -> None:
        turn.change_session("s1", {"pinned": True})
        turn.publish("default", "changed", sessionId="s1")

    with psycopg.connect(database_url) as other:
        other.execute("SELECT 1 FROM sessions WHERE id = 's1' FOR UPDATE")
        turn = begin(first.turn("s1", change))
        wait(begin(until_somebody_waits_for_a_row(second, reactor)))
        claimed = begin(second.claim("s1"))
    assert (wait(turn), wait(claimed).epoch) == (None, 2)
    assert kinds(second) == [HOME_CHANGED, "changed", HOME_CHANGED]


def test_the_state_of_who_is_at_home_elsewhere_is_not_kept(pair: Any) -> None:
    first, second = pair
    wait(first.claim("s1", {"active": True}))
    second.publish("default", "session-updated", {"sessionId": "s1"}, {"active": False})
    wait(second.probe())
    assert wait(second.live_states()) == {"s1": {"active": True}}


# --- hubs -----------------------------------------------------------------------------------------


def test_members_join_beat_and_leave(pair: Any) -> None:
    first, second = pair
    wait(first.join("a", "http://a", "1.0"))
    wait(second.join("b", "http://b", "1.1"))
    wait(second.claim("s1"))
    found = {member.name: member for member in wait(first.beat(is_draining=True))}
    assert set(found) == {"a", "b"}
    assert (found["a"].id, found["a"].url, found["a"].version) == (first.hub_id, "http://a", "1.0")
    assert [found[name].is_up for name in "ab"] == [True, True]
    assert [found[name].is_draining for name in "ab"] == [True, False]
    wait(second.leave())
    assert [member.name for member in wait(first.beat())] == ["a"]
    assert wait(first.homes()) == []


def test_the_homes_of_a_dead_hub_are_given_up(
    pair: Any, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = pair
    wait(first.join("a", "http://a", "1.0"))
    wait(second.join("b", "http://b", "1.0"))
    wait(second.claim("s1"))
    wait(first.claim("m1"))
    execute(database_url, f"UPDATE hubs SET seen_at = seen_at - 60000 WHERE id = '{second.hub_id}'")
    found = {member.name: member.is_up for member in wait(first.beat())}
    assert found == {"a": True, "b": False}
    assert wait(first.homes()) == [Home("m1", first.hub_id, 1)]
    assert wait(first.entries_after(0, 10))[-1].fields == {"owner": "s1", "hub": None, "epoch": 1}
    assert {member.is_up for member in wait(second.beat())} == {True}


def test_one_hub_runs_the_singleton_tasks_until_it_closes(pair: Any) -> None:
    first, second = pair
    assert wait(first.runs_singleton_tasks())
    assert not wait(second.runs_singleton_tasks())
    assert wait(first.runs_singleton_tasks())
    wait(first.close())
    assert wait(second.runs_singleton_tasks())


def test_all_hubs_have_the_same_secrets(pair: Any) -> None:
    first, second = pair
    assert wait(first.secret("key", "made by a")) == "made by a"
    assert wait(second.secret("key", "made by b")) == "made by a"


def test_a_secret_is_there_before_the_database_was_acquired(
    pair: Any, database_url: str, reactor: Any
) -> None:
    waiting = PostgresStore(database_url, reactor)
    wait(waiting.open())
    assert wait(waiting.secret("key", "made")) == wait(pair[0].secret("key", "other")) == "made"
    assert isinstance(all_of(waiting.claim("s1"))[0], StoreAway)
    wait(waiting.close())


def test_single_rows_are_read(pair: Any) -> None:
    first, second = pair
    wait(first.create_machine(machine("m1")))
    assert wait(second.session_row("s1")) == session("s1")
    assert wait(second.machine_row("m1")) == machine("m1")
    assert wait(second.session_row("s2")) is None
    assert wait(second.machine_row("m2")) is None


def test_a_claim_survives_a_connection_that_breaks(pair: Any, database_url: str) -> None:
    first, second = pair
    wait(first.claim("s1"))
    execute(
        database_url,
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE pid <> pg_backend_pid() AND datname = current_database()",
    )
    wait(first.add_message(message("a"), None))
    assert isinstance(all_of(second.add_message(message("b"), None))[0], Moved)


def test_two_hubs_change_a_session_that_is_at_home_nowhere_one_after_the_other(pair):
    first, second = pair

    def rename(store: PostgresStore) -> Any:
        def change(turn: Any) -> Any:
            row = turn.session("s1")
            names = [*(row.metadata or {}).get("names", []), store.hub_id]
            return turn.write_metadata("s1", row.metadata_version, {"names": names}, {})

        return store.turn("s1", change)

    written = []
    for number in range(20):
        written += all_of(
            rename(first),
            rename(second),
            first.add_message(message(f"a{number}", "s1"), None),
            second.add_message(message(f"b{number}", "s1"), None),
            first.add_message(message(f"c{number}", "s1", local_id=f"local-{number}"), None),
            second.add_message(message(f"d{number}", "s1", local_id=f"local-{number}"), None),
        )
    assert not [each for each in written if isinstance(each, Exception)]
    rows = wait(first.after_seq("s1", 0, 1000, 10**15))
    assert [row.seq for row in rows] == list(range(1, 61))
    row = wait(second.session_row("s1"))
    assert len(row.metadata["names"]) == 40
