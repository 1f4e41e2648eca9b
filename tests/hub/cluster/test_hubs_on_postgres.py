"""Three hubs on PostgreSQL, with real sockets between them, a session and its page."""

from __future__ import annotations

import json
from typing import Any

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.defer import Deferred

from hapi.hub.cluster.cluster import Cluster
from tests.support.cluster_stage import PageReader
from tests.support.hub_group import S1, GroupHub, until
from tests.support.store_stage import message

pytestmark = pytest.mark.postgres


class Member(GroupHub):
    async def start(self) -> None:
        cluster = Cluster(self.registry, self.store, self.name, self.url, "0")
        self.hub.join(cluster)
        await cluster.start()
        self.join(cluster)


class Hubs:
    def __init__(self, url: str) -> None:
        self.url, self.hubs = url, {}

    async def start(self, name: str) -> Member:
        from hapi.hub.store.postgres.store import PostgresStore

        store = PostgresStore(self.url, reactor)
        await store.open()
        assert await store.acquire(shared=True)
        hub = self.hubs[name] = Member(name, store)
        await hub.start()
        return hub

    async def stop(self, name: str) -> None:
        hub = self.hubs.pop(name)
        await hub.stop()
        await hub.store.close()


@pytest.fixture
def hubs(database_url):
    made = Hubs(database_url)
    yield made
    for name in list(made.hubs):
        pytest_twisted.blockon(Deferred.fromCoroutine(made.stop(name)))


def numbers(page: PageReader) -> list[int]:
    """Those of the agent's messages."""
    contents = [message["content"] for message in page.messages()]
    return [content["n"] for content in contents if "n" in content]


@pytest_twisted.ensureDeferred
async def test_a_session_moves_between_hubs_and_its_page_misses_nothing(hubs):
    a, b, c = [await hubs.start(name) for name in "abc"]
    await a.session(S1)
    page = PageReader()
    page.open(c)

    link = await b.link("session", S1)
    alive = {"sid": S1, "time": b.now(), "thinking": False, "mode": "remote"}
    link.emit("session-alive", alive, keep=False)
    for number in range(20):
        link.emit("message", {"sid": S1, "message": {"role": "agent", "n": number}})
    await until(lambda: len(page.messages()) == 20, "20 messages")
    assert c.registry.sessions[S1].active
    assert a.cluster.elsewhere(S1).name == "b"

    # A prompt that is sent at another hub reaches the process.
    got: list[Any] = []
    link.on_event("update", lambda *given: got.append(given))
    status, _ = await a.rest("POST", f"/api/sessions/{S1}/messages", {"text": "hi", "localId": "l"})
    assert status == 200
    await until(lambda: "hi" in json.dumps(got), "the prompt")

    # Its hub stops in order, and the process comes back at another one.
    b.links.remove(link)
    await link.stopService()
    await hubs.stop("b")
    await until(lambda: a.cluster.homes.find(S1) is None, "given up")
    assert a.registry.sessions[S1].active
    second = await a.link("session", S1)
    second.emit("session-alive", alive, keep=False)
    page.open(a)
    for number in range(20, 40):
        second.emit("message", {"sid": S1, "message": {"role": "agent", "n": number}})
    await until(lambda: len(numbers(page)) == 40, "40 messages")
    assert numbers(page) == list(range(40))
    assert page.resumes == ["gap", "ok"]
    await until(lambda: c.cluster.elsewhere(S1) is not None, "known at c")
    await until(
        lambda: any(hub.cluster.runs_singleton_tasks for hub in hubs.hubs.values()),
        "singleton tasks",
    )


@pytest_twisted.ensureDeferred
async def test_a_deleted_session_with_many_messages_is_gone_at_all_hubs(hubs):
    a, b = [await hubs.start(name) for name in "ab"]
    await a.session(S1, lifecycleState="archived")
    for number in range(501):
        await a.store.add_message(message(f"m{number}", S1), None)
    await until(lambda: S1 in b.registry.sessions, "known at b")
    status, _ = await b.rest("DELETE", f"/api/sessions/{S1}")
    assert status == 200
    assert not await a.store.session_row(S1)
    await until(lambda: S1 not in a.registry.sessions, "gone at a")
    assert a.store.statistics.batches.sizes.count > 0


@pytest.mark.leaves_timers  # of a notification
@pytest_twisted.ensureDeferred
async def test_a_runner_reports_the_end_of_a_session_that_another_hub_serves(hubs):
    a, b = [await hubs.start(name) for name in "ab"]
    await a.machine("m1")
    await a.session(S1, machineId="m1")
    runner, link = await a.link("machine", "m1"), await b.link("session", S1)
    link.emit("session-alive", {"sid": S1, "time": b.now(), "thinking": True}, keep=False)
    await until(lambda: a.registry.sessions[S1].active, "active")
    b.links.remove(link)
    await link.stopService()
    runner.emit("session-end", {"sid": S1, "time": a.now(), "reason": "killed"})
    await until(lambda: not a.registry.sessions[S1].active, "ended at a")
    await until(lambda: not b.registry.sessions[S1].active, "ended at b")
    await runner.call("ping")
    assert runner.connected
