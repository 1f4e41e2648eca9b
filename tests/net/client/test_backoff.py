"""Delays between attempts."""

from random import Random

import pytest

from hapi.net.client.backoff import Backoff
from hapi.net.client.outbox import Entry, Outbox


def outage(backoff, seconds):
    """The delays of an outage of so many seconds."""
    delays = []
    while sum(delays) < seconds:
        backoff.failed()
        delays.append(backoff.delay())
    return delays


@pytest.mark.parametrize(("seconds", "longest"), [(2.0, 0.3), (15.0, 1.3), (600.0, 5.0)])
def test_a_delay_is_a_small_share_of_the_outage(seconds, longest):
    delays = outage(Backoff(Random(1)), seconds)
    assert delays[-1] <= longest
    assert len(delays) < 15 + 2 * seconds


def test_only_a_greeting_makes_the_delays_short_again():
    backoff = Backoff(Random(1))
    assert outage(backoff, 120.0)[-1] >= 2.5
    backoff.connected()
    backoff.failed()
    assert backoff.delay() <= 0.3


def test_a_refusal_outweighs_failures_until_the_greeting():
    backoff = Backoff(Random(1))
    backoff.failed()
    backoff.refused()
    assert 5.0 <= backoff.delay() <= 10.0
    backoff.failed()
    assert backoff.delay() >= 5.0
    backoff.connected()
    backoff.failed()
    assert backoff.delay() <= 0.3


def test_a_million_refusals_are_no_longer_than_the_longest():
    backoff = Backoff(Random(1), failures=10**6)
    backoff.refusals = 10**6
    assert 150.0 <= backoff.delay() <= 300.0


def test_a_full_outbox_refuses_what_is_new_and_keeps_what_it_has():
    lost = []
    box = Outbox(max_entries=3, max_size=100)
    taken = [
        box.put(Entry(f"{number}", dropped=lambda number=number: lost.append(number)))
        for number in range(5)
    ]
    assert taken == [True, True, True, False, False]
    assert lost == [3, 4]
    assert box.dropped_count == 2
    assert [box.next().text for _ in range(3)] == ["0", "1", "2"]
    assert box.put(Entry("x" * 99))
    assert not box.put(Entry("yy"))


def test_room_is_made_by_confirmations():
    box = Outbox(max_entries=2)
    for text in ("a", "b"):
        box.put(Entry(text, event="n"))
        box.mark_sent(box.next())
    assert not box.put(Entry("c", event="n"))
    box.confirm(1)
    assert box.put(Entry("c", event="n"))
    assert [entry.text for entry in box] == ["b", "c"]


def test_a_withdrawn_entry_is_skipped_and_counts_as_no_loss():
    box = Outbox(max_entries=2)
    gone = Entry("a")
    box.put(gone)
    box.withdraw(gone)
    box.put(Entry("b"))
    assert box.dropped_count == 0
    assert box.next().text == "b"


def test_only_so_many_events_are_sent_ahead_of_their_confirmation():
    box = Outbox(max_unconfirmed=2)
    for number in range(4):
        box.put(Entry(f"{number}", event="n"))
    for _ in range(2):
        box.mark_sent(box.next())
    assert box.next() is None
    box.confirm(1)
    assert box.next().text == "2"
