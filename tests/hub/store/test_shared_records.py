"""Two hubs on PostgreSQL that change what people keep beside conversations at the same moment."""

from __future__ import annotations

from collections.abc import Coroutine, Iterator
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.defer import Deferred, DeferredList

from hapi.hub.domain.errors import Conflict, InvalidRequest, NotFound
from hapi.hub.domain.registry import HubRegistry
from hapi.hub.records import saved_prompts, scratchlist, sharing
from hapi.hub.store.shared import Moved
from tests.support.hub_stage import EPOCH
from tests.support.shared_hubs import PostgresHubs
from tests.support.store_stage import message, session, wait

pytestmark = pytest.mark.postgres
ROUNDS = 20
FILE = ("a.txt", "YQ==", "text/plain")


class NoSockets:
    def emit(self, *event: Any, **more: Any) -> None: ...


class Records:
    """What one hub does for people."""

    def __init__(self, registry: HubRegistry) -> None:
        self.registry, self.session = registry, registry.sessions["s1"]
        self.scratchlist = scratchlist.Scratchlist(registry)
        self.prompts = saved_prompts.SavedPrompts(registry)
        self.sharing = sharing.Sharing(registry)

    def share(self) -> Coroutine[Any, Any, Any]:
        return self.sharing.create(self.session, None, True, True, True)

    def note(self, text: str) -> Coroutine[Any, Any, Any]:
        return self.scratchlist.add(self.session, text, (), None, None)


@pytest.fixture
def hubs(contract_database: Any, reactor: Any) -> Iterator[tuple[Records, Records]]:
    made = PostgresHubs(contract_database(), reactor)
    stores = made.hub(), made.hub()
    wait(stores[0].create_session(session()))
    found = []
    for store in stores:
        registry = HubRegistry(reactor, lambda: EPOCH, store, NoSockets())  # type: ignore[arg-type]
        wait(registry.load())
        found.append(Records(registry))
    yield found[0], found[1]
    made.close()


def together(*work: Coroutine[Any, Any, Any]) -> list[Any]:
    """The results of what is begun at the same moment, or the errors that people are told."""
    begun = DeferredList([Deferred.fromCoroutine(each) for each in work], consumeErrors=True)
    results = []
    for is_good, result in pytest_twisted.blockon(begun):
        if not is_good:
            result.trap(Conflict, InvalidRequest, NotFound, Moved)
            result = result.value
        results.append(result)
    return results


def test_two_changes_of_one_entry_are_both_kept(hubs: Any) -> None:
    a, b = hubs
    files = [wait(a.scratchlist.upload(a.session, *FILE))["id"] for _ in range(2)]
    entry, _ = wait(a.note("text"))
    for number in range(ROUNDS):
        together(
            a.scratchlist.change(a.session, entry["entryId"], f"text {number}", None),
            b.scratchlist.change(b.session, entry["entryId"], None, [files[number % 2]]),
        )
        (shown,) = wait(b.scratchlist.entries(b.session))
        assert shown["text"] == f"text {number}"
        assert [each["id"] for each in shown["attachments"]] == [files[number % 2]]


def test_two_changes_of_one_saved_prompt_are_both_kept(hubs: Any) -> None:
    a, b = hubs
    prompt = wait(a.prompts.add("default", "name", "text"))["id"]
    for number in range(ROUNDS):
        together(
            a.prompts.change("default", prompt, f"name {number}", None),
            b.prompts.change("default", prompt, None, f"text {number}"),
        )
        (shown,) = wait(b.prompts.list("default"))
        assert (shown["name"], shown["text"]) == (f"name {number}", f"text {number}")


def test_what_two_hubs_add_at_once_is_kept_up_to_the_limit(
    hubs: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    a, b = hubs
    monkeypatch.setattr(scratchlist, "MAX_ENTRIES", 30)
    monkeypatch.setattr(saved_prompts, "MAX_PROMPTS", 30)
    monkeypatch.setattr(sharing, "MAX_LINKS", 30)
    added = {
        "entries": together(*(hub.note(f"{n}") for n in range(ROUNDS) for hub in (a, b))),
        "prompts": together(
            *(hub.prompts.add("default", f"{n}", "t") for n in range(ROUNDS) for hub in (a, b))
        ),
        "links": together(*(hub.share() for _ in range(ROUNDS) for hub in (a, b))),
    }
    kept = {
        "entries": len(wait(b.scratchlist.entries(b.session))),
        "prompts": len(wait(b.prompts.list("default"))),
        "links": len(wait(b.sharing.links(b.session))),
    }
    assert kept == dict.fromkeys(kept, 30)
    refused = {
        name: sum(isinstance(each, Conflict) for each in results) for name, results in added.items()
    }
    assert refused == dict.fromkeys(kept, 10)


def test_an_entry_that_one_hub_deletes_does_not_come_back_by_a_change_at_another(
    hubs: Any,
) -> None:
    a, b = hubs
    for _ in range(ROUNDS):
        entry, _ = wait(a.note("text"))
        together(
            a.scratchlist.delete(a.session, entry["entryId"]),
            b.scratchlist.change(b.session, entry["entryId"], "changed", None),
        )
        assert wait(b.scratchlist.entries(b.session)) == []


def test_a_file_is_not_deleted_while_another_hub_attaches_it(hubs: Any) -> None:
    a, b = hubs
    for number in range(ROUNDS):
        file = wait(a.scratchlist.upload(a.session, *FILE))["id"]
        added, deleted = together(
            a.scratchlist.add(a.session, "text", [file], f"e{number}", None),
            b.scratchlist.delete_file(b.session, file),
        )
        has_file = any(row.id == file for row in wait(b.registry.store.scratch_files("s1")))
        assert has_file == (not isinstance(added, Exception))
        assert has_file == isinstance(deleted, Conflict)


def test_only_the_home_of_a_session_changes_what_is_kept_beside_it(hubs: Any) -> None:
    a, b = hubs
    wait(a.registry.store.claim("s1"))
    entry, _ = wait(a.note("text"))
    together(a.scratchlist.upload(a.session, *FILE), a.share())
    work = (
        b.note("other"),
        b.scratchlist.change(b.session, entry["entryId"], "other", None),
        b.scratchlist.delete(b.session, entry["entryId"]),
        b.scratchlist.upload(b.session, *FILE),
        b.share(),
        b.registry.store.copy_messages("s1", "s1", 0),
    )
    assert [type(each) for each in together(*work)] == [Moved] * len(work)
    assert [each["text"] for each in wait(b.scratchlist.entries(b.session))] == ["text"]


def test_nothing_is_kept_beside_a_session_that_another_hub_has_deleted(hubs: Any) -> None:
    a, b = hubs
    wait(a.registry.store.add_message(message("m1"), None))
    wait(a.registry.store.create_session(session("s2")))
    assert wait(a.registry.store.delete_session("s1"))
    work = b.note("text"), b.scratchlist.upload(b.session, *FILE), b.share()
    assert [type(each) for each in together(*work)] == [NotFound] * 3
    with pytest.raises(KeyError):
        wait(b.registry.store.copy_messages("s2", "s1", 0))
