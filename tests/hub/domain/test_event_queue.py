"""The queue of what a session process sends, on a clock."""

from __future__ import annotations

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from hapi.hub.domain.event_queue import (
    RETRY_INTERVAL,
    STORE_ERRORS,
    STORE_PROBLEMS,
    EventQueue,
    store_code,
)
from hapi.hub.store.interface import StoreAway, StoreBusy, StoreFailed, StoreFull


class Sender:
    def emit(self, event, *args):
        pass

    def hang_up(self, reason):
        raise AssertionError(reason)


class SlowStore:
    """Writes when the test says so. Before an event is tried again, its handler asks what became of
    the first try.
    """

    def __init__(self):
        self.stored, self.tried, self.answers, self.writes = [], set(), [], []

    async def attempt(self, name):
        if name in self.tried:
            asked = Deferred()
            self.answers.append(asked)
            await asked
        self.tried.add(name)
        written = Deferred()
        self.writes.append(written)
        await written
        self.stored.append(name)

    def answer(self):
        answers, self.answers = self.answers, []
        for asked in answers:
            asked.callback(None)

    def write(self):
        writes, self.writes = self.writes, []
        for written in writes:
            written.callback(None)

    def fail(self):
        writes, self.writes = self.writes, []
        for written in writes:
            written.errback(StoreBusy("busy"))


def test_an_event_that_asks_first_what_became_of_it_is_not_overtaken():
    clock, store = Clock(), SlowStore()
    queue = EventQueue("s", clock, lambda sender, code: None)

    def put(name):
        queue.put(lambda: store.attempt(name), Sender(), {})

    for name in "abc":
        put(name)
    store.fail()
    put("d")
    clock.advance(RETRY_INTERVAL)
    put("e")
    for _ in range(10):
        store.write()
        store.answer()
    assert store.stored == list("abcde")
    assert len(queue) == 0


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (StoreFull("disk"), "store-full"),
        (StoreBusy("lock"), "store-busy"),
        (StoreAway("port 5432", unknown=True), "store-away"),
        (StoreFailed("i/o"), "store-failed"),
        (ValueError(), None),
    ],
)
def test_each_problem_of_a_store_has_its_code(error, code):
    assert store_code(error) == code
    if code is not None:
        assert type(error) is STORE_ERRORS[code]
        assert code in STORE_PROBLEMS
