"""Which sessions are told the runner's hub, and for how long. Processes are in memory."""

import stat

import pytest

from hapi.protocol.attempt import AttemptHub, AttemptHubAccess, AttemptReport
from hapi.runner.attempts.reports import ReportMonitor
from hapi.runner.storage.disk import SynchronousDisk
from hapi.runner.uplink.session_access import SessionAccess
from hapi.settings import HubAccess
from tests.support.runner_stage import Stage

OLD, NEW = HubAccess("http://old:3006", "t1"), HubAccess("http://new:3006", "t2", {"X-A": "b"})


class Case:
    def __init__(self, stage):
        self.stage, self.access, self.is_linked = stage, NEW, True
        self.child = stage.started("s1")
        self.folder = self.child.folder
        self.make()

    def make(self):
        stage = self.stage
        self.session_access = SessionAccess(
            stage.children,
            ReportMonitor(stage.clock, stage.clock.callLater),
            SynchronousDisk(),
            lambda: self.access,
            lambda: self.is_linked,
            stage.clock.callLater,
            stage.clock.seconds,
        )

    def report(self, url, phase, reason=None, ago=60.0):
        now = self.stage.clock.seconds()
        hub = AttemptHub(url, phase, now - ago, reason)
        self.folder.report = AttemptReport(at=now, ready=True, hub=hub)
        self.check()

    def check(self):
        self.stage.clock.advance(5)
        self.session_access.check()


@pytest.fixture
def case(stage):
    return Case(stage)


@pytest.fixture
def stage(home):
    return Stage(home)


def test_a_session_that_reports_no_hub_is_left_alone(case):
    case.folder.report = AttemptReport(at=1.0)
    case.check()
    assert case.folder.hub is None
    assert case.session_access.warnings() == []


def test_a_session_at_another_hub_is_told_at_once_and_the_file_goes_when_it_came_over(case):
    case.report(OLD.url, "connected", ago=0.0)
    told = case.folder.hub
    assert (told.url, told.token, told.headers) == (NEW.url, NEW.token, {"X-A": "b"})
    assert stat.S_IMODE(case.folder.hub_path.stat().st_mode) == 0o600
    assert NEW.token not in repr(told)
    (warning,) = case.session_access.warnings()
    assert "s1" in warning
    case.report(NEW.url, "connected")
    assert not case.folder.hub_path.exists()
    assert case.session_access.warnings() == []


def test_a_session_whose_token_is_refused_is_told_and_named(case):
    case.report(NEW.url, "refused", "the hub refused us: Invalid token")
    assert case.folder.hub is not None
    (warning,) = case.session_access.warnings()
    assert "the hub refused us: Invalid token" in warning
    assert "hapi runner logs s1" in warning


def test_a_session_that_has_just_lost_its_connection_is_not_told(case):
    case.stage.clock.advance(100)
    case.report(NEW.url, "connecting", ago=-4.0)
    assert case.folder.hub is None


def test_nobody_is_told_a_hub_that_does_not_accept_the_runner(case):
    case.is_linked = False
    case.report(OLD.url, "connecting", "connection refused")
    assert case.folder.hub is None
    (warning,) = case.session_access.warnings()
    assert "connection refused" in warning
    assert "hapi auth login" in warning
    case.is_linked = True
    case.check()
    assert case.folder.hub.url == NEW.url


def test_another_token_is_told_again(case):
    case.report(NEW.url, "refused")
    case.access = HubAccess(NEW.url, "t3")
    case.check()
    assert case.folder.hub.token == "t3"


def test_what_an_earlier_runner_told_is_removed_when_the_session_is_connected(case):
    case.report(NEW.url, "refused")
    case.make()
    case.report(NEW.url, "connected")
    assert not case.folder.hub_path.exists()


def test_the_file_goes_with_the_session(case):
    case.report(NEW.url, "refused")
    case.stage.processes.exit(case.child.identity, 0)
    assert not case.folder.hub_path.exists()


def test_the_file_of_a_session_that_ended_while_no_runner_ran_is_removed_at_the_start(case):
    case.stage.processes.exit(case.child.identity, 0)
    case.folder.hub = AttemptHubAccess(NEW.url, NEW.token)
    case.session_access.start()
    assert not case.folder.hub_path.exists()
