"""What the runner delivers for sessions that have ended. Hub and link are in memory."""

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from hapi.net.client.delivery import UnconfirmedEvent
from hapi.net.common.errors import AckTimeout, HubRefused, HubUnreachable
from hapi.protocol.json import from_json, to_json
from hapi.runner.storage.disk import SynchronousDisk
from hapi.runner.uplink.spool_delivery import DELIVERY_TIMEOUT, SpoolDelivery
from hapi.settings import HubAccess
from hapi.spool import SpoolFile, SpoolHeader, spooled_sessions

HUB = "http://127.0.0.1:3006"


def content(number):
    return {"role": "agent", "content": {"type": "codex", "data": {"id": str(number)}}}


class Case:
    """One session at the hub; the link delivers at once unless it is `silent`."""

    def __init__(self, home):
        self.home, self.clock = home, Clock()
        self.url, self.silent, self.problem = HUB, False, None
        self.row = {"id": "s", "active": False, "metadata": {"hostPid": 7}}
        self.rows, self.received, self.links, self.now = [], [], 0, 1e9
        self.delivery = SpoolDelivery(
            self.clock,
            home,
            SynchronousDisk(),
            lambda: HubAccess(self.url, "t"),
            lambda: True,
            lambda: self.now,
            self.link,
            lambda clock, access: self,
        )

    def leave_behind(self, *numbers, end=False, after=0, pid=7, event="message"):
        spool = SpoolFile(self.home, "s", lambda: SpoolHeader("s", pid, HUB, after))
        for number in numbers:
            spool.append(to_json([event, {"sid": "s", "message": content(number)}]))
        if end:
            spool.append('["session-end",{"sid":"s","reason":"completed"}]')
        spool.close()

    # --- the hub's REST side
    async def session(self, session_id):
        if self.problem is not None:
            raise self.problem
        return self.row

    async def messages(self, session_id, after_seq):
        return [row for row in self.rows if row["seq"] > after_seq]

    # --- the link
    def link(self, clock, access, session_id):
        self.links += 1
        return self

    def reconcile_with(self, reconcile):
        self.reconcile = reconcile

    def adopt(self, texts, delivered):
        self.adopted = [tuple(from_json(text)) for text in texts]
        self.delivered = delivered

    def startService(self):
        if self.silent:
            return
        events = [UnconfirmedEvent(name, (given,)) for name, given in self.adopted]
        found = []
        Deferred.fromCoroutine(self.reconcile(events)).addCallback(found.extend)
        self.received += [(event.event, event.args[0]) for event in found]
        self.delivered()

    async def leave(self):
        pass

    def deliver(self):
        outcome = []
        Deferred.fromCoroutine(self.delivery.deliver("s")).addBoth(outcome.append)
        return outcome

    @property
    def numbers(self):
        return [
            int(given["message"]["content"]["data"]["id"])
            for name, given in self.received
            if name == "message"
        ]


@pytest.fixture
def case(home):
    return Case(home)


def test_without_files_nobody_is_asked(case):
    case.problem = HubUnreachable("away")
    assert case.deliver() == [None]


def test_what_the_hub_lacks_is_delivered_in_order_and_the_file_removed(case):
    case.leave_behind(1, 2, 3, after=10)
    case.rows = [{"seq": 5, "content": content(3)}, {"seq": 11, "content": content(1)}]
    assert case.deliver() == [None]
    assert case.numbers == [2, 3]
    assert spooled_sessions(case.home) == []


def test_several_files_of_a_session_are_all_delivered(case):
    case.leave_behind(1)
    case.leave_behind(2)
    case.deliver()
    assert sorted(case.numbers) == [1, 2]
    assert case.links == 2


@pytest.mark.parametrize(
    ("row", "pid", "ended"),
    [
        ({"active": True, "metadata": {"hostPid": 7}}, 7, True),
        ({"active": True, "metadata": {"hostPid": 8}}, 7, False),  # another process goes on
        ({"active": False, "metadata": {"hostPid": 7}}, 7, False),
        ({"active": True, "metadata": None}, 7, False),
    ],
)
def test_an_end_is_delivered_only_for_the_last_process_of_an_active_session(case, row, pid, ended):
    case.row = row
    case.leave_behind(1, end=True, pid=pid)
    case.deliver()
    assert case.numbers == [1]
    assert ("session-end" in [name for name, _ in case.received]) is ended


def test_readiness_of_an_ended_process_is_not_delivered(case):
    case.leave_behind(1, event="session-ready")
    assert case.deliver() == [None]
    assert case.links == 0
    assert spooled_sessions(case.home) == []


@pytest.mark.parametrize("problem", [HubUnreachable("away"), HubRefused(401, "Invalid token")])
def test_the_file_stays_while_the_hub_cannot_be_asked(case, problem):
    case.leave_behind(1)
    case.problem = problem
    (failure,) = case.deliver()
    assert failure.value is problem
    case.problem = None
    case.deliver()
    assert case.numbers == [1]


def test_the_file_stays_when_the_hub_does_not_confirm(case):
    case.leave_behind(1)
    case.silent = True
    outcome = case.deliver()
    case.clock.advance(DELIVERY_TIMEOUT)
    assert outcome[0].check(AckTimeout)
    case.silent = False
    case.deliver()
    assert case.numbers == [1]


def test_events_of_a_session_that_the_hub_has_deleted_are_removed(case):
    case.leave_behind(1)
    case.problem = HubRefused(404, "Session not found")
    assert case.deliver() == [None]
    assert spooled_sessions(case.home) == []


def test_events_for_another_hub_stay_for_two_weeks(case):
    case.leave_behind(1)
    case.url, case.problem = "http://other:3006", HubRefused(404, "Session not found")
    case.now = spooled_sessions(case.home)[0].stat().st_mtime + 13 * 86400
    assert case.deliver() == [None]
    assert len(spooled_sessions(case.home)) == 1
    case.now += 86401
    case.deliver()
    assert spooled_sessions(case.home) == []


def test_two_deliveries_at_once_deliver_once(case):
    case.leave_behind(1)
    case.silent = True
    first = case.deliver()
    second = case.deliver()
    case.received = [("message", {"message": content(1)})]
    case.delivered()
    assert (first, second) == ([None], [None])
    assert case.links == 1
