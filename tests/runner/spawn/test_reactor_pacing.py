"""Pacing: of many callers at once, one goes on in each turn of the reactor."""

from twisted.internet.task import Clock

from hapi.runner.spawn.reactor_pacing import MIN_PAUSE, OnePerReactorTurn, Unpaced, pacer_for


def test_of_callers_at_once_one_goes_on_in_each_turn_in_order():
    turns, done = OnePerReactorTurn(clock := Clock()), []
    for number in range(3):
        turns.take().addCallback(lambda _, number=number: done.append(number))
    assert done == [0]
    clock.advance(MIN_PAUSE)
    assert done == [0, 1]
    clock.advance(MIN_PAUSE)
    assert done == [0, 1, 2]
    clock.advance(MIN_PAUSE)
    assert clock.getDelayedCalls() == []
    turns.take().addCallback(lambda _: done.append("at once"))
    assert done[-1] == "at once"


def test_a_caller_that_comes_while_others_wait_comes_last():
    turns, done = OnePerReactorTurn(clock := Clock()), []
    turns.take(), turns.take().addCallback(lambda _: done.append("second"))
    clock.advance(MIN_PAUSE)
    turns.take().addCallback(lambda _: done.append("third"))
    assert done == ["second"]
    clock.advance(MIN_PAUSE)
    assert done == ["second", "third"]


def test_a_clock_has_no_turns():
    assert isinstance(pacer_for(Clock()), Unpaced)
