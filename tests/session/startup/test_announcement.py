"""Saying it again: the announcement to a runner that restarts, the row at a hub that is away."""

import pytest
from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock

from hapi.net.common.errors import HubRefused, HubUnreachable
from hapi.session.startup.announcement import ANNOUNCE_TIMEOUT, Announcer, wait_for_row
from hapi.session.startup.early_registration import RegistrationOutcome


def announcing(clock, statuses, port=lambda: 80):
    told = []

    def announce(port, body):
        told.append((clock.seconds(), port))
        return succeed(statuses[min(len(told), len(statuses)) - 1])

    done = []
    Deferred.fromCoroutine(Announcer(clock, port, announce).run({})).addCallback(done.append)
    return told, done


def test_an_announcement_is_repeated_until_the_runner_has_it__W09():
    clock = Clock()
    told, done = announcing(clock, [None, None, 503, 200])
    clock.pump([0.25] * 40)
    assert [at for at, _ in told] == [0.25, 0.75, 1.75, 3.75]
    assert done == [True]


def test_a_runner_that_says_no_is_asked_once():
    clock = Clock()
    told, done = announcing(clock, [403])
    clock.pump([0.1] * 100)
    assert (len(told), done) == (1, [False])


def test_the_runners_port_is_looked_up_each_time_and_after_ten_minutes_it_is_enough__W09():
    clock, ports = Clock(), iter([None, 81])
    told, done = announcing(clock, [None], lambda: next(ports, 82))
    clock.pump([1.0] * int(ANNOUNCE_TIMEOUT + 20))
    assert [port for _, port in told[:2]] == [81, 82]
    assert done == [False]
    assert len(told) < 60


def first(clock, outcomes, give_up=False):
    left = list(outcomes)
    result = []
    waiting = Deferred.fromCoroutine(
        wait_for_row(clock, left.pop(0), lambda: succeed(left.pop(0)), give_up)
    )
    waiting.addBoth(result.append)
    return result


def test_a_session_of_a_runner_waits_for_its_hub__N01():
    clock = Clock()
    away = RegistrationOutcome(problem=HubUnreachable("nobody there"))
    result = first(clock, [away, away, RegistrationOutcome({"id": "s"})])
    assert result == []
    clock.pump([0.25, 0.5])
    assert result[0].row == {"id": "s"}


@pytest.mark.parametrize(
    ("problem", "give_up"),
    [(HubRefused(401, "Invalid token"), False), (HubUnreachable("away"), True)],
)
def test_a_refusal_ends_it_and_a_person_does_not_wait(problem, give_up):
    result = first(Clock(), [RegistrationOutcome(problem=problem)], give_up)
    assert result[0].value is problem
