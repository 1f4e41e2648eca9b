"""The memory that stands in for a database of several hubs does what PostgreSQL does: the same
steps are taken on both, and the journal, the homes and the rest are compared after each.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)
from twisted.internet.defer import Deferred

from hapi.hub.store.shared import Moved
from tests.support.programs import level
from tests.support.shared_hubs import MemoryHubs, PostgresHubs
from tests.support.store_stage import message, session, wait

HUBS = 3
OWNERS = ["s1", "s2"]
hub_numbers = st.integers(0, HUBS - 1)
owners = st.sampled_from(OWNERS)
lives = st.none() | st.fixed_dictionaries({"active": st.booleans(), "n": st.integers(0, 3)})


class SharedAgreement(RuleBasedStateMachine):
    """`make` gives the two databases, without rows."""

    def __init__(self, make: Callable[[], list[Any]]) -> None:
        super().__init__()
        self.databases = make()
        self.hubs = [[database.hub() for _ in range(HUBS)] for database in self.databases]
        self.names = [
            {store.hub_id: f"hub{number}" for number, store in enumerate(hubs)}
            for hubs in self.hubs
        ]
        self.count = 0

    def teardown(self) -> None:
        for database in self.databases:
            database.close()

    def on_both(self, call: Callable[[list[Any]], Any]) -> Any:
        """What a call has as result with the hubs of both databases."""
        found = []
        for hubs, names in zip(self.hubs, self.names, strict=True):
            try:
                result = wait(call(hubs))
            except Moved as error:
                result = "moved", error.owner, error.hub
            except ValueError:
                result = "failed"
            found.append(named(result, names))
        assert found[0] == found[1]
        return found[0]

    def turn(self, store: Any, owner: str, fails: bool) -> Deferred[Any]:
        name = f"m{self.count}"

        def change(transaction: Any) -> int:
            seq = transaction.add_message(message(name, owner), None).message.seq
            transaction.publish("default", "message", sessionId=owner, seq=seq, name=name)
            if fails:
                raise ValueError
            return int(seq)

        return Deferred.fromCoroutine(store.turn(owner, change))

    @initialize()
    def begin(self) -> None:
        for owner in OWNERS:
            row = session(owner)
            self.on_both(lambda hubs, row=row: hubs[0].create_session(row))
        for number in range(HUBS):
            self.on_both(lambda hubs, n=number: hubs[n].join(f"h{n}", f"http://h{n}", "1"))

    @rule(number=hub_numbers, owner=owners, live=lives)
    def claim(self, number: int, owner: str, live: Any) -> None:
        self.on_both(lambda hubs: claimed(hubs[number], owner, live))

    @rule(number=hub_numbers, owner=owners)
    def release(self, number: int, owner: str) -> None:
        self.on_both(lambda hubs: hubs[number].release(owner))

    @rule(number=hub_numbers, owner=owners, fails=st.booleans())
    def write(self, number: int, owner: str, fails: bool) -> None:
        self.count += 1
        self.on_both(lambda hubs: self.turn(hubs[number], owner, fails))

    @rule(number=hub_numbers, owner=owners, live=lives)
    def publish(self, number: int, owner: str, live: Any) -> None:
        self.count += 1
        fields = {"sessionId": owner, "n": self.count}
        for hubs in self.hubs:
            hubs[number].publish("default", "session-updated", fields, live)
        self.on_both(lambda hubs: hubs[number].beat())  # comes after it

    @rule(number=hub_numbers, is_draining=st.booleans())
    def beat(self, number: int, is_draining: bool) -> None:
        self.on_both(lambda hubs: members(hubs[number], is_draining))

    @rule(number=hub_numbers)
    def leave_and_come_back(self, number: int) -> None:
        self.on_both(lambda hubs: hubs[number].leave())
        self.on_both(lambda hubs: members(hubs[(number + 1) % HUBS], False))
        self.on_both(lambda hubs: hubs[number].join(f"h{number}", f"http://h{number}", "2"))

    @rule(number=hub_numbers)
    def be_silent(self, number: int) -> None:
        for database, hubs in zip(self.databases, self.hubs, strict=True):
            database.silence(hubs[number])
        self.on_both(lambda hubs: members(hubs[(number + 1) % HUBS], False))
        self.on_both(lambda hubs: hubs[number].beat())

    @invariant()
    def everything_is_the_same(self) -> None:
        self.on_both(everything)


async def claimed(store: Any, owner: str, live: Any) -> Any:
    home = await store.claim(owner, live)
    return home.owner, home.hub, home.epoch


async def members(store: Any, is_draining: bool) -> Any:
    found = await store.beat(is_draining)
    shown = [
        (each.name, each.id, each.url, each.version, each.is_up, each.is_draining) for each in found
    ]
    return sorted(shown)


async def everything(hubs: list[Any]) -> Any:
    store = hubs[1]
    entries = await store.entries_after(0, 10**4)
    assert entries is not None
    assert [entry.id for entry in entries] == sorted({entry.id for entry in entries})
    homes = [(each.owner, each.hub, each.epoch) for each in await store.homes()]
    return {
        "journal": [
            (each.hub, each.namespace, each.kind, sorted(each.fields.items()), each.live)
            for each in entries
        ],
        "homes": sorted(homes),
        "live": await store.live_states(),
        "messages": [[row.id for row in await store.latest(owner, 999)] for owner in OWNERS],
    }


def named(value: Any, names: dict[str, str]) -> Any:
    """`value` with names for the ids of hubs."""
    if isinstance(value, str):
        return names.get(value, value)
    if isinstance(value, dict):
        return {key: named(part, names) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [named(part, names) for part in value]
    return value if isinstance(value, int | bool | None) else type(value).__name__


@pytest.mark.postgres
def test_the_memory_of_several_hubs_does_what_postgresql_does(
    contract_database: Callable[[], str], reactor: Any
) -> None:
    run_state_machine_as_test(  # type: ignore[no-untyped-call]
        lambda: SharedAgreement(lambda: [MemoryHubs(), PostgresHubs(contract_database(), reactor)]),
        settings=settings(
            max_examples=level(8, 300),
            stateful_step_count=25,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
