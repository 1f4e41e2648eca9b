"""A versioned value against a hub that is scripted by hand."""

from random import Random

import pytest
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from hapi.net.client.versioned import VersionedDocument
from hapi.net.common.errors import AckTimeout, FrameTooLarge, LinkLost

case = SynchronousTestCase()


class Hub:
    """Keeps the attempts; the test answers them."""

    def __init__(self):
        self.clock = Clock()
        self.sent = []
        self.document = VersionedDocument(self.clock, self._send, "state", {"n": 0}, 1, Random(3))

    def _send(self, value, version):
        answer = Deferred()
        self.sent.append((value, version, answer))
        return answer

    @property
    def last(self):
        return self.sent[-1][:2]

    def success(self):
        value, version, answer = self.sent[-1]
        answer.callback({"result": "success", "version": version + 1, "state": value})

    def mismatch(self, value, version):
        self.sent[-1][2].callback(
            {"result": "version-mismatch", "version": version, "state": value}
        )

    def fail(self, problem):
        self.sent[-1][2].errback(problem)


@pytest.fixture
def hub():
    made = Hub()
    yield made
    made.document.stop()
    assert not made.clock.getDelayedCalls()


def more(**keys):
    return lambda value: {**(value or {}), **keys}


def test_a_change_is_sent_with_the_version_it_was_made_from(hub):
    stored = hub.document.change(more(pid=7))
    assert hub.last == ({"n": 0, "pid": 7}, 1)
    case.assertNoResult(stored)
    hub.success()
    assert case.successResultOf(stored) == {"n": 0, "pid": 7}
    assert (hub.document.value, hub.document.version) == ({"n": 0, "pid": 7}, 2)


def test_a_mismatch_is_adopted_and_the_change_made_again_on_it_at_once__N07(hub):
    stored = hub.document.change(more(pid=7))
    hub.mismatch({"n": 5, "other": True}, 9)
    assert hub.last == ({"n": 5, "other": True, "pid": 7}, 9)
    hub.success()
    assert case.successResultOf(stored) == {"n": 5, "other": True, "pid": 7}
    assert hub.document.version == 10


def test_a_hub_that_always_mismatches_gets_a_few_quick_tries_and_then_slow_ones__N07(hub):
    hub.document.change(more(pid=7)).addErrback(lambda _: None)
    for version in range(2, 12):
        hub.mismatch({}, version)
        hub.clock.pump([0.1] * 400)
    assert len(hub.sent) == 11
    hub.mismatch({}, 99)
    hub.clock.advance(14)
    assert len(hub.sent) == 11  # by now the pause is between 15 and 30 s
    hub.clock.advance(16)
    assert len(hub.sent) == 12


def test_one_write_is_in_flight_and_what_comes_meanwhile_goes_together(hub):
    first, second, third = (
        hub.document.change(more(a=1)),
        hub.document.change(more(b=2)),
        hub.document.change(more(c=3)),
    )
    assert len(hub.sent) == 1
    hub.success()
    case.successResultOf(first)
    assert hub.last == ({"n": 0, "a": 1, "b": 2, "c": 3}, 2)
    hub.success()
    assert (
        case.successResultOf(second)
        == case.successResultOf(third)
        == {"n": 0, "a": 1, "b": 2, "c": 3}
    )
    assert len(hub.sent) == 2


def test_a_change_that_changes_nothing_is_not_sent(hub):
    assert case.successResultOf(hub.document.change(dict)) == {"n": 0}
    assert hub.sent == []


@pytest.mark.parametrize("problem", [LinkLost("gone"), AckTimeout("late")])
def test_a_write_without_an_answer_is_sent_again__N08(hub, problem):
    stored = hub.document.change(more(a=1))
    hub.fail(problem)
    hub.clock.advance(1)
    assert hub.last == ({"n": 0, "a": 1}, 1)
    hub.success()
    case.successResultOf(stored)


def test_a_write_that_had_arrived_before_the_answer_was_lost_ends_well(hub):
    stored = hub.document.change(more(a=1))
    hub.fail(LinkLost("gone"))
    hub.clock.advance(1)
    hub.mismatch({"n": 0, "a": 1}, 2)  # the hub had it
    hub.clock.advance(1)
    assert case.successResultOf(stored) == {"n": 0, "a": 1}
    assert len(hub.sent) == 2


@pytest.mark.parametrize(
    "answer",
    [{"result": "error", "reason": "not-found"}, {"result": "error"}, None, [], {"result": "huh"}],
)
def test_an_answer_that_takes_nothing_is_tried_again(hub, answer):
    stored = hub.document.change(more(a=1))
    hub.sent[-1][2].callback(answer)
    hub.clock.advance(1)
    assert len(hub.sent) == 2
    hub.success()
    case.successResultOf(stored)


def test_a_change_too_large_fails_alone_and_the_next_goes(hub):
    large, small = hub.document.change(more(big="x")), None
    small = hub.document.change(more(a=1))
    hub.fail(FrameTooLarge("too large"))
    case.failureResultOf(large, FrameTooLarge)
    assert hub.last == ({"n": 0, "a": 1}, 1)
    hub.success()
    case.successResultOf(small)


def test_a_rebuild_that_fails_fails_its_own_change_only(hub):
    hub.document.change(more(a=1)).addErrback(lambda _: None)
    bad, good = hub.document.change(lambda value: value["missing"]), hub.document.change(more(b=2))
    hub.success()
    case.failureResultOf(bad, KeyError)
    assert hub.last == ({"n": 0, "a": 1, "b": 2}, 2)
    hub.success()
    case.successResultOf(good)


def test_a_push_from_the_hub_is_adopted_if_it_is_newer(hub):
    hub.document.adopt({"n": 9}, 5)
    hub.document.adopt({"n": 1}, 3)
    hub.document.adopt({"n": 2}, 5)
    assert (hub.document.value, hub.document.version) == ({"n": 9}, 5)
    hub.document.change(more(a=1)).addErrback(lambda _: None)
    assert hub.last == ({"n": 9, "a": 1}, 5)


def test_a_push_during_a_write_is_the_base_of_the_next_try(hub):
    hub.document.change(more(a=1)).addErrback(lambda _: None)
    hub.document.adopt({"n": 9}, 5)
    hub.mismatch({"n": 9}, 5)
    hub.clock.advance(1)
    assert hub.last == ({"n": 9, "a": 1}, 5)


def test_a_database_set_back_to_an_older_version_is_adopted_from_a_mismatch(hub):
    hub.document.adopt({"n": 9}, 50)
    hub.document.change(more(a=1)).addErrback(lambda _: None)
    hub.mismatch({"n": 1}, 2)
    hub.clock.advance(1)
    assert hub.last == ({"n": 1, "a": 1}, 2)


def test_retry_now_does_not_wait_for_the_pause(hub):
    hub.document.change(more(a=1)).addErrback(lambda _: None)
    hub.fail(LinkLost("gone"))
    hub.document.retry_now()
    assert len(hub.sent) == 2
    hub.document.retry_now()
    assert len(hub.sent) == 2


def test_flushed_tells_whether_everything_arrived_in_time(hub):
    assert case.successResultOf(hub.document.flushed(1)) is True
    hub.document.change(more(a=1)).addErrback(lambda _: None)
    early, late = hub.document.flushed(1), hub.document.flushed(5)
    hub.clock.advance(1)
    assert case.successResultOf(early) is False
    hub.success()
    assert case.successResultOf(late) is True


def test_a_cancelled_change_is_not_sent(hub):
    hub.document.change(more(a=1)).addErrback(lambda _: None)
    withdrawn = hub.document.change(more(b=2))
    withdrawn.cancel()
    case.failureResultOf(withdrawn, CancelledError)
    hub.success()
    assert len(hub.sent) == 1


def test_stopping_fails_what_is_not_stored_and_ignores_late_answers(hub):
    stored, flushed = hub.document.change(more(a=1)), hub.document.flushed(5)
    hub.document.stop()
    case.failureResultOf(stored, LinkLost)
    assert case.successResultOf(flushed) is False
    hub.success()
    assert len(hub.sent) == 1


def test_a_send_that_raises_is_a_failure_like_another(hub, logged_failures):
    hub.document._send = lambda value, version: 1 / 0
    stored = hub.document.change(more(a=1))
    hub.document._send = hub._send
    hub.clock.advance(1)
    hub.success()
    case.successResultOf(stored)
    assert logged_failures.take(ZeroDivisionError)
