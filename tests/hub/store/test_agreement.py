"""All stores do the same: the same steps are taken on each, and every result, every event and all
rows are compared after each step."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from attrs import asdict
from attrs import has as is_attrs
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
from twisted.python.failure import Failure

from hapi.hub.store.rows import MessageRow, SearchTerm, TurnEvent
from tests.support.programs import level
from tests.support.store_stage import (
    EPOCH,
    machine,
    open_postgres,
    open_store,
    prompt,
    session,
    wait,
)
from tests.support.store_steps import (
    SESSIONS,
    Step,
    calls,
    changes,
    local_ids,
    message_ids,
    numbers,
    session_ids,
    small_ids,
    terms,
    times,
)

# --- what is compared -----------------------------------------------------------------------------


def plain_value(value: Any) -> Any:
    """`value` for a comparison: contents decoded, and ids that a store has chosen left out."""
    if isinstance(value, msgspec.Raw):
        return json.loads(bytes(value))
    if isinstance(value, MessageRow):
        known = value.id.startswith("m")
        row = {name: plain_value(part) for name, part in asdict(value, recurse=False).items()}
        return {**row, "id": row["id"] if known else "a copy"}
    if is_attrs(type(value)):
        fields = asdict(value, recurse=False)
        return {"is": type(value).__name__, **{k: plain_value(v) for k, v in fields.items()}}
    if isinstance(value, dict):
        return {key: plain_value(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [plain_value(part) for part in value]
    return value


def outcome(result: Any) -> Any:
    """The result of a call, or the kind of error it has raised."""
    if isinstance(result, Failure):
        return f"raised {type(result.value).__name__}"
    return plain_value(result)


async def all_rows(store: Any) -> dict[str, Any]:
    """Everything that can be read from a store."""
    found: dict[str, Any] = {
        "sessions": sorted(await store.sessions(), key=lambda row: row.id),
        "machines": await store.machines(),
        "tokens": await store.tokens(),
        "recipients": await store.recipients(),
        "due": [row.id for row in await store.due(EPOCH - 9, EPOCH + 99)],
        "progress": store.index_progress().is_complete,
    }
    for namespace in ("default", "team"):
        found[f"prompts of {namespace}"] = await store.saved_prompts(namespace)
        found[f"scheduled of {namespace}"] = await store.scheduled(namespace, EPOCH)
        uses, sessions = await store.token_use(namespace, 0)
        found[f"tokens of {namespace}"] = sorted(map(str, uses)), sessions
        found[f"words of {namespace}"] = await pages_of(store, namespace, SearchTerm(("needle",)))
    for session_id in SESSIONS:
        reads = {
            "latest": await store.latest(session_id, 99),
            "waiting": await store.waiting(session_id),
            "queued": [row.id for row in await store.queued(session_id, EPOCH + 5)],
            "after_seq": [row.seq for row in await store.after_seq(session_id, 0, 99, EPOCH + 5)],
            "links": await store.share_links(session_id),
            "entries": await store.scratch_entries(session_id),
            "files": await store.scratch_files(session_id),
        }
        found |= {f"{name} of {session_id}": rows for name, rows in reads.items()}
    return {name: plain_value(rows) for name, rows in found.items()}


async def pages_of(
    store: Any, namespace: str, *terms: SearchTerm, session_id: str | None = None
) -> list[Any]:
    """All that is found, by pages of two."""
    found: list[Any] = []
    before = None
    while True:
        page = await store.search(namespace, terms, 2, before, session_id)
        found.append([row.id if row.id.startswith("m") else "a copy" for row in page.messages])
        before = page.next
        if before is None or len(found) > 50:
            return found


class _Undone(Exception):
    """A turn has failed."""


class Agreement(RuleBasedStateMachine):
    """`make` opens the stores, all empty."""

    def __init__(self, make: Callable[[], dict[str, Any]]) -> None:
        super().__init__()
        self.stores = make()
        self.heard: dict[str, list[TurnEvent]] = {kind: [] for kind in self.stores}
        for kind, store in self.stores.items():
            store.follow(self.heard[kind].append)

    def teardown(self) -> None:
        for store in self.stores.values():
            wait(store.close())

    def on_all(self, call: Callable[[Any], Any]) -> Any:
        """Call with each store; what all of them had as result."""
        found = {kind: outcome(wait_for(call(store))) for kind, store in self.stores.items()}
        return agreed(found)

    # --- steps

    @initialize()
    def begin(self) -> None:
        for name, namespace in SESSIONS.items():
            self.on_all(lambda store, row=session(name, namespace): store.create_session(row))
        for number in range(4):
            row = prompt(f"m{number}", "s1", created_at=EPOCH + number)
            self.on_all(lambda store, row=row: store.add_message(row, None))

    @rule(taken=st.lists(calls, min_size=3, max_size=9), failing=st.integers(0, 15))
    def several_at_once(self, taken: list[Step], failing: int) -> None:
        """They may share a transaction, in which some fail."""

        def begin(store: Any) -> list[Deferred[Any]]:
            return [
                Deferred.fromCoroutine(store.turn("s1", failing_turn))
                if number == failing
                else Deferred.fromCoroutine(getattr(store, call.method)(*call.arguments))
                for number, call in enumerate(taken)
            ]

        begun = {kind: begin(store) for kind, store in self.stores.items()}
        agreed({kind: [outcome(wait_for(one)) for one in them] for kind, them in begun.items()})

    @rule(taken=st.lists(changes, min_size=1, max_size=5), fails=st.booleans(), number=numbers)
    def one_turn(self, taken: list[Step], fails: bool, number: int) -> None:
        def change(turn: Any) -> list[Any]:
            results = []
            for call in taken:
                results.append(plain_value(getattr(turn, call.method)(*call.arguments)))
                turn.publish("default", call.method, number=number)
            if fails:
                raise _Undone
            return results

        self.on_all(lambda store: store.turn("s1", change))

    @rule(source=session_ids, copy=session_ids)
    def copy(self, source: str, copy: str) -> None:
        if source != copy:
            last: Any = 0
            while isinstance(last, int):
                last = self.on_all(
                    lambda store, after=last: store.copy_messages(source, copy, after)
                )

    @rule()
    def purge(self) -> None:
        async def purge(store: Any) -> None:
            for _ in range(1000):
                if not await store.purge():
                    return
            raise AssertionError("there is no end to it")

        self.on_all(purge)

    @rule(
        session_id=session_ids,
        position=st.tuples(times, st.integers(0, 9)),
        limit=st.integers(1, 4),
        asked=st.lists(terms, min_size=1, max_size=2),
        names=st.tuples(message_ids | local_ids, small_ids),
    )
    def read(
        self,
        session_id: str,
        position: tuple[int, int],
        limit: int,
        asked: list[SearchTerm],
        names: tuple[str, str],
    ) -> None:
        at, seq = position
        until = (at + 4, seq)

        async def read(store: Any) -> list[Any]:
            return [
                await store.before(session_id, position, limit),
                await store.after(session_id, position, None, limit),
                await store.after(session_id, position, until, limit),
                await store.latest(session_id, limit),
                await store.after_seq(session_id, seq, limit, at),
                await store.message(session_id, names[0]),
                await store.share_link(names[1]),
                await store.scratch_content(session_id, names[1]),
                await pages_of(store, "default", *asked),
                await pages_of(store, "team", *asked, session_id=session_id),
                await pages_of(store, "default", *asked, session_id=session_id),
            ]

        self.on_all(read)

    @invariant()
    def all_rows_are_the_same(self) -> None:
        self.on_all(all_rows)
        agreed({kind: plain_value(events) for kind, events in self.heard.items()})


def failing_turn(turn: Any) -> None:
    turn.create_machine(machine("of a turn that fails"))
    turn.publish("default", "never told")
    raise _Undone


def wait_for(awaitable: Any) -> Any:
    """The result, or the Failure."""
    try:
        return wait(awaitable)
    except Exception:
        return Failure()


def agreed(found: dict[str, Any]) -> Any:
    """What all stores have, if that is the same."""
    first, *others = found.values()
    assert all(other == first for other in others), differences(found)
    return first


def differences(found: dict[str, Any]) -> str:
    """Those parts of what the stores have that are not the same."""
    first = next(iter(found.values()))
    names: Any = [None]
    if isinstance(first, dict):
        names = [
            name for name in first if len({str(each.get(name)) for each in found.values()}) > 1
        ]
    return "\n".join(
        f"{name or ''} {kind}: {each if name is None else each.get(name)}"
        for name in names
        for kind, each in found.items()
    )


@pytest.fixture
def make_stores(
    contract_database: Callable[[], str], tmp_path: Path, reactor: Any
) -> Callable[[], dict[str, Any]]:
    """Opens empty stores of each kind."""
    count = 0

    def make() -> dict[str, Any]:
        nonlocal count
        count += 1
        place = tmp_path / str(count)
        place.mkdir()
        stores = {kind: open_store(kind, place, reactor) for kind in ("memory", "sqlite")}
        # Every second time as one of several hubs, which also write a journal.
        stores["postgres"] = open_postgres(contract_database(), reactor, shared=count % 2 == 0)
        return stores

    return make


@pytest.mark.postgres
def test_all_stores_do_the_same(make_stores: Callable[[], dict[str, Any]]) -> None:
    run_state_machine_as_test(  # type: ignore[no-untyped-call]
        lambda: Agreement(make_stores),
        settings=settings(
            max_examples=level(12, 500),
            stateful_step_count=25,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
