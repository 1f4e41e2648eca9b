"""Interrupted sessions: who counts as one, how they are brought back, and when that is given up."""

import pytest
from twisted.internet.defer import Deferred

from hapi.process.in_memory import FakeProgram
from hapi.protocol.attempt import AttemptEnd, AttemptReport, StopOrder
from hapi.protocol.spawn import NeedsDirectory, Spawned, SpawnRefused, Worktree
from hapi.runner.config.admission_limits import AdmissionLimits
from hapi.runner.spawn.revive import MAX_TRIES, MIN_RETRY_DELAY, Reviver, interruption
from hapi.runner.workspace.roots import WorkspaceRoots
from tests.support.runner_stage import NoWorktrees, Stage, result_of

NEW_BOOT = "11111111-0000-4000-8000-000000000000"


@pytest.fixture
def stage(home):
    return Stage(home)


def reviver(stage):
    return Reviver(stage.children, stage.spawner.spawn, stage.clock.callLater, stage.now)


def after_a_reboot(stage):
    """Every process is gone, and no runner saw its end."""
    stage.children.detach()
    stage.processes.table.clear()
    stage.restart()
    stage.processes.boot = NEW_BOOT
    stage.adopt()


def revive(stage, name):
    return Deferred.fromCoroutine(reviver(stage).revive(name, "me"))


def test_what_a_reboot_interrupted_is_offered_with_its_resume_id__V06(stage):
    child = stage.started("s1", model="m")
    child.folder.report = AttemptReport(at=1.0, ready=True, agent_session_id="agent-7")
    stage.clock.advance(0.5)
    after_a_reboot(stage)
    (one,) = reviver(stage).offered()
    assert (one.session_id, one.resume_id, one.reason, one.agent) == (
        "s1",
        "agent-7",
        "machine stopped",
        "claude",
    )


def test_it_comes_back_as_the_same_session_with_what_was_asked__V06(stage):
    child = stage.started(
        "s1", agent="opencode", model="m", permissionMode="plan", startingMode="remote"
    )
    child.folder.report = AttemptReport(at=1.0, ready=True, agent_session_id="agent-7")
    stage.clock.advance(0.5)
    after_a_reboot(stage)
    answer = revive(stage, "s1")
    words = list(stage.processes.launched[-1].argv)
    assert words[words.index("--resume") + 1] == "agent-7"
    assert words[words.index("--existing-session-id") + 1] == "s1"
    assert words[words.index("--model") + 1] == "m"
    stage.announce(stage.pid, "s1")
    assert result_of(answer) == Spawned("s1")
    assert stage.children.find_all("s1")[0].folder.request.asked_by == "revive: me"
    assert reviver(stage).offered() == []


@pytest.mark.parametrize(
    ("stop", "end", "reason"),
    [
        (None, None, None),  # it lives
        (None, AttemptEnd(0, None, 1.0), None),
        (None, AttemptEnd(1, None, 1.0), "exit code 1"),
        (None, AttemptEnd(None, "SIGKILL", 1.0), "ended by SIGKILL"),
        (None, AttemptEnd(None, None, 1.0), "exit status unknown"),
        (
            StopOrder("machine stopped", "machine", "found at start", 1.0),
            AttemptEnd(None, None, 1.0),
            "machine stopped",
        ),
        (StopOrder("Stopped by runner", "hub", "hub", 1.0), AttemptEnd(None, "SIGTERM", 1.0), None),
        (
            StopOrder("Start timed out", "runner", "lease", 1.0),
            AttemptEnd(None, "SIGKILL", 1.0),
            None,
        ),
        (
            StopOrder("User terminated", "session", "terminated", 1.0),
            AttemptEnd(0, None, 1.0),
            None,
        ),
    ],
)
def test_only_an_end_that_was_not_asked_for_is_an_interruption__C19(stop, end, reason):
    assert interruption(stop, end) == reason


def test_a_session_that_was_stopped_later_or_lives_again_is_not_offered__C19(stage):
    first = stage.started("e1", existingSessionId="e1")
    stage.processes.exit(first.identity, 1)
    assert [one.session_id for one in reviver(stage).offered()] == ["e1"]
    stage.started("e1", existingSessionId="e1")
    assert reviver(stage).offered() == []
    result_of(stage.stop("e1"))
    assert reviver(stage).offered() == []


def test_sessions_of_a_terminal_are_their_users(stage):
    person = stage.processes.add("hapi", "claude")
    stage.announce(person.pid, "t1", startedBy="terminal")
    stage.processes.exit(person)
    assert reviver(stage).offered() == []


def test_a_directory_that_is_gone_is_not_made_anew(stage, tmp_path):
    place = tmp_path / "project"
    place.mkdir()
    child = stage.started("s1", directory=place)
    stage.processes.exit(child.identity, 1)
    place.rmdir()
    assert result_of(revive(stage, "s1")) == NeedsDirectory(str(place))
    assert not place.exists()


def test_what_is_not_on_offer_is_refused(stage):
    assert result_of(revive(stage, "nobody")).code == "not_interrupted"


def test_they_come_back_one_after_another_through_admission__M01(home):
    stage = Stage(home, limits=AdmissionLimits(sessions=2))
    for name in ("s1", "s2"):
        child = stage.started(name)
        stage.processes.exit(child.identity, None, "SIGKILL")
    done = Deferred.fromCoroutine(reviver(stage).revive_all())
    assert len(stage.processes.launched) == 3  # the second waits for the first
    stage.announce(stage.pid, "s1")
    assert len(stage.processes.launched) == 4
    stage.announce(stage.pid, "s2")
    assert result_of(done) == 2


def test_one_that_fails_is_tried_again_with_longer_and_longer_pauses_and_then_left__V08(home):
    stage = Stage(home, programs={"session": FakeProgram()})
    child = stage.started("s1")
    stage.processes.exit(child.identity, 1)
    stage.processes.programs = {"session": FakeProgram(exit_code=1)}
    done = Deferred.fromCoroutine(reviver(stage).revive_all())
    assert len(stage.processes.launched) == 2
    stage.clock.advance(MIN_RETRY_DELAY)
    assert len(stage.processes.launched) == 3
    stage.clock.advance(MIN_RETRY_DELAY)
    assert len(stage.processes.launched) == 3
    stage.clock.advance(MIN_RETRY_DELAY)
    assert len(stage.processes.launched) == 1 + MAX_TRIES
    assert result_of(done) == 0
    (one,) = reviver(stage).offered()  # still there for a person
    assert one.tries == MAX_TRIES
    stage.restart()
    stage.adopt()
    assert result_of(Deferred.fromCoroutine(reviver(stage).revive_all())) == 0
    assert len(stage.processes.launched) == 1 + MAX_TRIES
    assert isinstance(result_of(revive(stage, "s1")), SpawnRefused)
    assert len(stage.processes.launched) == 2 + MAX_TRIES


def worktree_of(plan):
    return {
        name: value for name, value in plan.environment.items() if name.startswith("HAPI_WORKTREE_")
    }


def test_a_revived_session_knows_its_worktree_again_however_often__V06(home, tmp_path):
    tree = Worktree(str(tmp_path), "hapi-x", "x", str(tmp_path / "x"), 1)
    (tmp_path / "x").mkdir()
    stage = Stage(home, worktrees=NoWorktrees(tree))
    child = stage.started("s1", sessionType="worktree", worktreeName="x")
    known = worktree_of(stage.processes.launched[0])
    assert known["HAPI_WORKTREE_BRANCH"] == "hapi-x"
    for number in (1, 2):
        stage.processes.exit(child.identity, signal="SIGKILL")
        stage.children.detach()
        stage.restart()
        stage.adopt()
        answer = stage.spawn(tmp_path / "x", existingSessionId="s1")
        assert worktree_of(stage.processes.launched[number]) == known
        stage.announce(stage.pid, "s1")
        result_of(answer)
        child = stage.children.find_live("s1")
    assert stage.worktrees.removed == []


def test_a_worktree_stays_when_a_revival_in_it_fails__D07_D08(home, tmp_path):
    tree = Worktree(str(tmp_path), "hapi-x", "x", str(tmp_path / "x"), 1)
    (tmp_path / "x").mkdir()
    stage = Stage(home, worktrees=NoWorktrees(tree))
    child = stage.started("s1", sessionType="worktree")
    stage.processes.exit(child.identity, signal="SIGKILL")
    answer = stage.spawn(tmp_path / "x", existingSessionId="s1")
    stage.processes.exit(stage.processes.launched[1].attempt.process.child, 1)
    assert isinstance(result_of(answer), SpawnRefused)
    stage.children.detach()
    stage.restart()
    stage.adopt()
    assert stage.worktrees.removed == []


def test_only_its_own_session_goes_on_in_a_worktree_beside_the_workspace_root__X17(home, tmp_path):
    root, beside = tmp_path / "repo", tmp_path / "repo-worktrees/x"
    root.mkdir(), beside.mkdir(parents=True)
    tree = Worktree(str(root), "hapi-x", "x", str(beside), 1)
    stage = Stage(home, roots=WorkspaceRoots.parse([str(root)]), worktrees=NoWorktrees(tree))
    child = stage.started("s1", directory=root, sessionType="worktree")
    stage.processes.exit(child.identity, signal="SIGKILL")
    assert result_of(stage.spawn(beside)).code == "outside_workspace_roots"
    assert result_of(stage.spawn(beside, existingSessionId="s2")).code == "outside_workspace_roots"
    assert (
        result_of(stage.spawn(beside.parent, existingSessionId="s1")).code
        == "outside_workspace_roots"
    )
    answer = stage.spawn(beside, existingSessionId="s1")
    stage.announce(stage.pid, "s1")
    assert result_of(answer) == Spawned("s1")
    stage.processes.exit(stage.children.find_live("s1").identity, signal="SIGKILL")
    beside.rmdir()
    beside.symlink_to("/")
    assert result_of(stage.spawn(beside, existingSessionId="s1")).code == "outside_workspace_roots"
