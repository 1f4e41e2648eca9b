"""Events for pages while the database is busy, on a clock."""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from hapi.hub.store.interface import StoreBusy


class Database:
    """Transactions end when the test says so, and all that wait end with them."""

    def __init__(self):
        self.waiting, self.stored = [], []

    async def write(self, change):
        done = Deferred()
        self.waiting.append((change, done))
        await done

    def end(self, error=None):
        waiting, self.waiting = self.waiting, []
        for change, done in waiting:
            if error is None:
                change(None)
                done.callback(None)
            else:
                done.errback(error)


def test_events_that_could_not_be_stored_are_stored_later_in_their_order():
    from hapi.hub.store.postgres.publisher import RETRY_INTERVAL, Publisher

    clock, database = Clock(), Database()
    publisher = Publisher(clock, database.write)

    def publish(name):
        publisher.publish(lambda connection: database.stored.append(name))

    publish("a")
    publish("b")
    database.end(StoreBusy("locked"))
    publish("c")
    assert not database.waiting
    clock.advance(RETRY_INTERVAL)
    publish("d")
    database.end(StoreBusy("locked"))
    clock.advance(RETRY_INTERVAL)
    publish("e")
    database.end()
    publish("f")
    database.end()
    assert database.stored == list("abcdef")
    publish("g")
    database.end()
    assert database.stored == list("abcdefg")
    assert not clock.getDelayedCalls()
