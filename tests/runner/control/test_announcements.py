"""`/session-started`: what is believed and refused; no request chooses a process to signal."""

import os

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from twisted.internet.defer import Deferred

from hapi.process.in_memory import MemoryProcesses
from hapi.protocol.control import STARTED_BY_USER, SessionStarted
from hapi.protocol.spawn import Spawned
from hapi.runner.control.announcements import Accepted, Rejected
from hapi.runner.control.guard import PeerInfo
from hapi.runner.control.peer_credentials import Caller
from tests.support.runner_stage import Stage, result_of


@pytest.fixture
def stage(home):
    return Stage(home)


def test_the_same_announcement_twice_is_one_session__W02(stage):
    stage.started("s1")
    assert stage.announce(stage.pid, "s1") == Accepted()
    assert len(stage.children.listed()) == 1


def test_a_session_may_go_on_under_another_id(stage):
    child = stage.started("s1")
    assert stage.announce(stage.pid, "s2") == Accepted()
    assert [one.happy_session_id for one in stage.children.listed()] == ["s2"]
    assert stage.children.find_live("s1") is child is stage.children.find_live("s2")


def test_a_claim_to_be_runner_started_is_refused_and_nobody_signalled__W03(stage):
    bystander = stage.processes.add("sleep", "60")
    verdict = stage.announce(bystander.pid, "forged")
    assert isinstance(verdict, Rejected)
    assert verdict.status == 403
    assert stage.processes.entry(bystander).signals == []
    assert stage.children.listed() == []


def test_a_session_from_a_terminal_is_tracked__W04(stage):
    process = stage.processes.add("hapi", "opencode")
    assert (
        stage.announce(process.pid, "t1", startedBy="terminal", path="/work", flavor="opencode")
        == Accepted()
    )
    (listed,) = stage.children.listed()
    assert (listed.started_by, listed.happy_session_id, listed.pid) == (
        STARTED_BY_USER,
        "t1",
        process.pid,
    )
    assert (listed.agent, listed.directory, listed.unverified) == ("opencode", "/work", False)
    assert result_of(stage.stop("t1")) == "stopped"
    assert not stage.processes.is_running(process)


def test_a_terminal_session_named_by_another_process_is_refused__W04(stage):
    bystander = stage.processes.add("editor")
    stranger = stage.processes.add("curl")
    verdict = stage.announce(bystander.pid, "t1", caller=stranger.pid, startedBy="terminal")
    assert isinstance(verdict, Rejected)
    assert stage.children.listed() == []


def test_a_helper_of_the_session_may_announce_it__W04(stage):
    process = stage.processes.add("hapi", "opencode")
    helper = stage.processes.add("node", parent=process.pid)
    assert stage.announce(process.pid, "t1", caller=helper.pid, startedBy="terminal") == Accepted()


def test_a_terminal_session_started_from_within_a_session_is_one_of_its_own__W04(stage):
    outer = stage.started("s1")
    inner = stage.processes.add(
        "hapi", parent=stage.pid, environment={"HAPI_ATTEMPT": outer.attempt}
    )
    assert stage.announce(inner.pid, "t1", startedBy="terminal") == Accepted()
    assert {one.happy_session_id for one in stage.children.listed()} == {"s1", "t1"}
    assert outer.session_id == "s1"


def test_a_second_process_of_a_session_takes_its_place_only_when_the_first_is_gone(stage):
    child = stage.started("s1")
    other = stage.processes.add(
        "hapi", parent=stage.pid, environment={"HAPI_ATTEMPT": child.attempt}
    )
    assert isinstance(stage.announce(other.pid, "s2"), Rejected)
    assert child.session_id == "s1"


def test_where_nothing_can_be_proved_the_session_is_listed_as_unverified__X15(stage):
    process = stage.processes.add("hapi", "opencode")
    message = SessionStarted("t1", {"hostPid": process.pid, "startedBy": "terminal"})
    peer = PeerInfo(None, is_verifiable=False)
    assert (
        result_of(Deferred.fromCoroutine(stage.announcements.receive(message, peer))) == Accepted()
    )
    assert stage.children.listed()[0].unverified


def test_hidden_descriptors_make_a_session_unverified__C13(stage):
    process = stage.processes.add("hapi", "opencode")
    stage.holds[process.pid, 1_000_000 + process.pid] = None
    assert stage.announce(process.pid, "t1", startedBy="terminal") == Accepted()
    assert stage.children.listed()[0].unverified


def test_a_process_of_another_user_is_refused__X01(stage):
    process = stage.processes.add("hapi", owner=os.geteuid() + 1)
    assert isinstance(stage.announce(process.pid, startedBy="terminal"), Rejected)


def test_a_pid_that_was_reused_since_the_spawn_is_not_the_child__W05(stage):
    stage.spawn()
    pid = stage.pid
    child = stage.processes.launched[-1].attempt.process.child
    del stage.processes.table[pid]  # nobody saw its end
    stranger = stage.processes.add("stranger", pid=pid)
    assert isinstance(stage.announce(pid, "s1"), Rejected)
    assert stage.processes.entry(stranger).signals == []
    assert child != stranger
    stage.children.detach()


@pytest.mark.parametrize("pid", [-1, 1, 10**30, "12", 1.5, True, False, [], {}, 1 << 40])
def test_a_pid_that_is_none_is_malformed__W06(stage, pid):
    verdict = stage.announce(pid)
    assert isinstance(verdict, Rejected)
    assert verdict.status == 400


@pytest.mark.parametrize("metadata", [None, {}, {"hostPid": None}, {"hostPid": 0}])
def test_an_announcement_without_a_pid_is_of_no_consequence(stage, metadata):
    verdict = stage.announcements.receive(
        SessionStarted("s1", metadata), PeerInfo(Caller(0, 1), is_verifiable=True)
    )
    assert result_of(Deferred.fromCoroutine(verdict)) == Accepted()
    assert stage.children.listed() == []


def test_the_runner_itself_is_no_session__W06(stage):
    stage.processes.add("runner", pid=99)
    assert isinstance(stage.announce(99, startedBy="terminal"), Rejected)


def test_a_pid_that_nobody_has_is_refused__W06(stage):
    assert isinstance(stage.announce(4_000_000, startedBy="terminal"), Rejected)


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text() | st.floats(), st.lists))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_claimed_pid_raises_or_is_tracked__W06(stage, claimed):
    stage.announce(claimed, startedBy="terminal")
    assert stage.children.listed() == []


def test_an_announcement_that_is_faster_than_the_launch_still_counts__W07(stage, monkeypatch):
    launch, slow, done = MemoryProcesses.launch, Deferred(), []

    def launch_slowly(self, plan):
        done.append(result_of(launch(self, plan)))
        return slow

    monkeypatch.setattr(MemoryProcesses, "launch", launch_slowly)
    answer = stage.spawn()
    child = done[0].child
    stage.processes.entry(child).environment = {"HAPI_ATTEMPT": stage.folder.id}
    heard = Deferred.fromCoroutine(
        stage.announcements.receive(
            SessionStarted("s1", {"hostPid": child.pid, "startedBy": "runner"}),
            PeerInfo(Caller(os.geteuid(), 1_000_000 + child.pid), is_verifiable=True),
        )
    )
    slow.callback(done[0])
    assert result_of(heard) == Accepted()
    assert result_of(answer) == Spawned("s1")


def test_an_announcement_after_a_restart_of_the_runner_is_taken__W08(stage):
    stage.spawn()
    pid = stage.pid
    stage.children.detach()
    stage.restart()
    assert stage.adopt() == 1
    assert stage.announce(pid, "s1") == Accepted()
    assert [one.happy_session_id for one in stage.children.listed()] == ["s1"]


def test_the_lease_runs_on_from_the_launch_over_a_restart__W08(stage):
    stage.spawn()
    child = stage.folder.process.child
    stage.pass_time(10.0)
    stage.children.detach()
    stage.restart()
    stage.adopt()
    stage.pass_time(4.0)
    assert stage.processes.is_running(child)
    stage.pass_time(1.5)
    assert not stage.processes.is_running(child)


def test_a_thousand_announcements_are_all_recorded_once__W11(stage):
    for number in range(1000):
        stage.announce(stage.processes.add("hapi").pid, f"t{number}", startedBy="terminal")
    assert len({one.happy_session_id for one in stage.children.listed()}) == 1000
    assert len(list(stage.home.attempts.iterdir())) == 1000


def test_one_process_with_several_sessions(stage):
    child = stage.started("s1", agent="codex")
    several = {"capabilities": {"concurrentClients": True}}
    assert stage.announce(stage.pid, "s2", **several) == Accepted()
    assert stage.children.find_live("s2") is child
    assert stage.announce(stage.pid, "s2", lifecycleState="archived", **several) == Accepted()
    assert stage.children.find_live("s2") is None
    assert stage.children.find_live("s1") is child
