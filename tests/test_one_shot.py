"""A result many wait for."""

from twisted.internet.defer import CancelledError
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from hapi.one_shot import OneShotObserver

case = SynchronousTestCase()


def test_everybody_gets_the_result_before_and_after():
    once: OneShotObserver[int] = OneShotObserver()
    early = [once.when_fired(), once.when_fired()]
    once.fire(7)
    assert [case.successResultOf(waiting) for waiting in [*early, once.when_fired()]] == [7, 7, 7]


def test_one_that_gives_up_cancels_nothing_for_the_others():
    once: OneShotObserver[int] = OneShotObserver()
    leaves, stays = once.when_fired(), once.when_fired()
    leaves.cancel()
    case.failureResultOf(leaves, CancelledError)
    once.fire(7)
    assert case.successResultOf(stays) == 7


def test_the_first_result_stands():
    once: OneShotObserver[int] = OneShotObserver()
    once.fire(1)
    once.fire(2)
    assert case.successResultOf(once.when_fired()) == 1


def test_a_failure_reaches_each_waiter():
    once: OneShotObserver[int] = OneShotObserver()
    early = once.when_fired()
    once.fire(Failure(ValueError("no")))
    case.failureResultOf(early, ValueError)
    case.failureResultOf(once.when_fired(), ValueError)
