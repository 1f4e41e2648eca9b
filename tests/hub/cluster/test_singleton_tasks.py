"""What is done once for all hubs, by the one that runs the singleton tasks."""

from __future__ import annotations

import pytest
from attrs import define, field
from twisted.internet.defer import Deferred

from hapi.hub.domain.notifications import Notice, NoticeKind
from hapi.hub.domain.retention_limits import RetentionLimits
from tests.support.cluster_stage import ClusterStage
from tests.support.hub_stage import result_of

DAY = 86_400.0  # seconds


@define
class Bot:
    """In the place of the Telegram bot."""

    is_running: bool = False
    told: list[str] = field(factory=list)
    settled_requests: list[str] = field(factory=list)

    def start(self) -> None:
        self.is_running = True

    def stop(self) -> None:
        self.is_running = False

    def notify(self, notice: Notice) -> None:
        self.told.append(f"{notice.kind}: {notice.body} ({notice.request_id})")

    def settled(self, session: object, request_ids: frozenset[str]) -> None:
        self.settled_requests += sorted(request_ids)


@pytest.fixture
def hubs():
    return ClusterStage()


def with_bots(hubs):
    for hub in hubs.hubs:
        hub.hub.devices.telegram = Bot()
        hub.hub.devices.start()
    return [hub.hub.devices.telegram for hub in hubs.hubs]


def test_one_hub_reads_what_people_write_to_the_bot(hubs):
    bots = with_bots(hubs)
    assert [bot.is_running for bot in bots] == [True, False, False]
    hubs.hubs.pop(0).leave()
    hubs.tick(5)
    assert [bot.is_running for bot in bots].count(True) == 1
    assert not bots[0].is_running


def test_the_bot_that_reads_answers_also_sends_what_they_answer(hubs):
    bots = with_bots(hubs)
    _, b, _ = hubs.hubs
    session_id = b.session()
    b.claim(session_id)
    hubs.settle()
    session = b.registry.sessions[session_id]
    request = {"tool": "Bash"}
    notice = Notice(NoticeKind.PERMISSION, session, "Permission Request", "p", "r1", request)
    b.hub.devices._notify_telegram(notice)
    b.hub.devices._settle_telegram(session, frozenset({"r1"}))
    hubs.settle()
    assert [bot.told for bot in bots] == [["permission-request: p (r1)"], [], []]
    assert [bot.settled_requests for bot in bots] == [["r1"], [], []]


def test_one_hub_removes_sessions_and_none_that_another_one_serves(hubs):
    a, b, c = hubs.hubs
    used, unused = b.session(tag="used"), b.session(tag="unused")
    hubs.settle()
    for hub in hubs.hubs:
        hub.hub.retention.limits = RetentionLimits(keep_sessions=DAY)
    for hub in hubs.hubs:
        hub.start += int(10 * DAY * 1000)
        hub.hub.retention._last = (hub.clock.seconds(), hub.now())
        hub.hub.retention._started_at -= DAY
    b.claim(used)
    hubs.settle()
    newer = c.session(tag="newer")
    hubs.settle()
    for hub in (c, b, a):
        sweep = Deferred.fromCoroutine(hub.hub.retention.sweep())
        hubs.tick(2)
        assert (unused in hub.registry.sessions) is (hub is not a)
        result_of(sweep)
    hubs.settle()
    for hub in hubs.hubs:
        assert set(hub.registry.sessions) == {used, newer}
