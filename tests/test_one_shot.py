"""A result many wait for."""

from twisted.internet.defer import CancelledError
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from hapi.one_shot import Once

case = SynchronousTestCase()


def test_everybody_gets_the_result_before_and_after():
    once: Once[int] = Once()
    early = [once.when(), once.when()]
    once.happen(7)
    assert [case.successResultOf(waiting) for waiting in [*early, once.when()]] == [7, 7, 7]


def test_one_that_gives_up_cancels_nothing_for_the_others():
    once: Once[int] = Once()
    leaves, stays = once.when(), once.when()
    leaves.cancel()
    case.failureResultOf(leaves, CancelledError)
    once.happen(7)
    assert case.successResultOf(stays) == 7


def test_the_first_result_stands():
    once: Once[int] = Once()
    once.happen(1)
    once.happen(2)
    assert case.successResultOf(once.when()) == 1


def test_a_failure_reaches_each_waiter():
    once: Once[int] = Once()
    early = once.when()
    once.happen(Failure(ValueError("no")))
    case.failureResultOf(early, ValueError)
    case.failureResultOf(once.when(), ValueError)
