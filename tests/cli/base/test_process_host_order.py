"""Programs of several services leave one service at a time."""

from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from hapi.process_host import ReverseOrderServices

case = SynchronousTestCase()


class Leaver(Service):
    def __init__(self, name, order):
        self.name, self.order, self.left = name, order, Deferred()

    def stopService(self):
        super().stopService()
        self.order.append(self.name)
        return self.left


def started(*names):
    order = []
    services = ReverseOrderServices()
    leavers = [Leaver(name, order) for name in names]
    for leaver in leavers:
        leaver.setServiceParent(services)
    services.startService()
    return services, leavers, order


def test_what_was_added_last_has_left_before_the_next_is_asked():
    services, (hub, runner), order = started("hub", "runner")
    leaving = services.stopService()
    assert order == ["runner"]
    runner.left.callback(None)
    assert order == ["runner", "hub"]
    case.assertNoResult(leaving)
    hub.left.callback(None)
    case.successResultOf(leaving)


def test_one_that_fails_to_leave_does_not_keep_the_others(logged_failures):
    services, (hub, runner), order = started("hub", "runner")
    leaving = services.stopService()
    runner.left.errback(ValueError("stuck"))
    hub.left.callback(None)
    case.successResultOf(leaving)
    assert order == ["runner", "hub"]
    assert len(logged_failures.take(ValueError)) == 1
