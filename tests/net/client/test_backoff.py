"""Delays between attempts."""

from random import Random

from hapi.net.client.backoff import Backoff
from hapi.net.client.outbox import Entry, Outbox


def test_only_a_greeting_clears_the_count():
    backoff = Backoff(Random(1))
    for _ in range(10):
        backoff.failed()
    assert backoff.delay() >= 2.5
    backoff.connected()
    backoff.failed()
    assert backoff.delay() <= 1.5


def test_a_refusal_outweighs_failures_until_the_greeting():
    backoff = Backoff(Random(1))
    backoff.failed()
    backoff.refused()
    assert 5.0 <= backoff.delay() <= 15.0
    backoff.failed()
    assert backoff.delay() >= 5.0
    backoff.connected()
    backoff.failed()
    assert backoff.delay() <= 1.5


def test_a_million_failures_are_no_longer_than_the_longest():
    backoff = Backoff(Random(1), failures=10**6)
    assert 2.5 <= backoff.delay() <= 5.0
    backoff.refusals = 10**6
    assert 150.0 <= backoff.delay() <= 300.0


def test_an_outbox_is_bounded_by_count_and_by_size():
    lost = []
    box = Outbox(max_entries=3, max_size=100)
    for number in range(5):
        box.put(Entry(f"{number}", dropped=lambda number=number: lost.append(number)))
    assert lost == [0, 1]
    box.put(Entry("x" * 99))
    assert lost == [0, 1, 2, 3]
    assert box.dropped_count == 4
    assert [box.next().text[:1], box.next().text[:1], box.next()] == ["4", "x", None]


def test_a_withdrawn_entry_is_skipped_and_counts_as_no_loss():
    box = Outbox(max_entries=1)
    gone = Entry("a")
    box.put(gone)
    box.withdraw(gone)
    box.put(Entry("b"))
    assert box.dropped_count == 0
    assert box.next().text == "b"


def test_an_entry_larger_than_the_room_is_lost_alone():
    box = Outbox(max_size=10)
    box.put(Entry("x" * 11))
    box.put(Entry("y"))
    assert (box.dropped_count, len(box), box.next().text) == (1, 1, "y")
