"""Spawns: their checks in order, their lease, one answer for all who ask."""

import os

import pytest
from twisted.internet.defer import fail

from hapi.attempts import attempts
from hapi.process import Exit, LaunchFailed
from hapi.process.in_memory import FakeProgram, MemoryProcesses
from hapi.protocol.attempt import AttemptHub, AttemptReport, StopOrder
from hapi.protocol.spawn import NeedsDirectory, Spawned, SpawnRefused, Worktree
from hapi.runner.control.announcements import Accepted, Rejected
from hapi.runner.spawn.spawner import CANCELLED
from hapi.runner.workspace.roots import WorkspaceRoots
from tests.support.runner_stage import NoWorktrees, SlowDisk, Stage, assert_waiting, result_of

TREE = Worktree("/repo", "hapi-x", "x", "/repo-worktrees/x", 1)


@pytest.fixture
def stage(home):
    return Stage(home)


def test_a_spawn_is_answered_when_the_session_announces_itself(stage):
    answer = stage.spawn()
    assert_waiting(answer)
    assert stage.announce(stage.pid, "s1") == Accepted()
    assert result_of(answer) == Spawned("s1")
    assert stage.folder.session.session_id == "s1"
    assert [(one.happy_session_id, one.started_by, one.pid) for one in stage.children.listed()] == [
        ("s1", "runner", stage.pid)
    ]


def test_a_session_that_runs_without_its_hub_is_not_resumed_and_the_answer_says_why(stage):
    child = stage.started("e1", existingSessionId="e1")

    def report(phase, ago):
        hub = AttemptHub("http://hub", phase, stage.now() - ago, "the hub refused us: no")
        child.folder.report = AttemptReport(at=stage.now(), ready=True, hub=hub)
        return result_of(stage.spawn(existingSessionId="e1"))

    refused = report("refused", 10)
    assert f"pid {child.pid}) but is not connected to http://hub: the hub refused us" in (
        refused.message
    )
    assert report("connecting", 1) == Spawned("e1")  # it reconnects by itself
    assert report("connected", 10) == Spawned("e1")


def test_an_announcement_from_below_the_launched_program_is_its_own(stage):
    answer = stage.spawn()
    inner = stage.processes.add(
        "node", parent=stage.pid, environment={"HAPI_ATTEMPT": stage.folder.id}
    )
    assert stage.announce(inner.pid, "s1") == Accepted()
    assert result_of(answer) == Spawned("s1")
    assert stage.children.listed()[0].pid == inner.pid


def test_the_folder_holds_the_request_without_its_token(stage):
    stage.spawn(agent="codex", token="very-secret", model="m", existingSessionId="e1")
    request = stage.folder.request
    assert request.argv[:2] == ("/bin/session", "codex")
    assert (request.asked_by, request.existing_session_id, request.options["model"]) == (
        "hub",
        "e1",
        "m",
    )
    assert "very-secret" not in (stage.folder.path / "request.json").read_text()


def test_a_codex_token_lies_in_a_private_directory_that_goes_with_the_child__K06(stage, home):
    stage.spawn(agent="codex", token="T")
    made = stage.processes.launched[-1].environment["CODEX_HOME"]
    assert os.stat(made).st_mode & 0o777 == 0o700
    assert os.stat(f"{made}/auth.json").st_mode & 0o777 == 0o600
    assert made.startswith(str(home.path))
    stage.processes.exit(stage.folder.process.child, 1)
    assert not os.path.exists(made)


def test_the_child_gets_home_hub_token_and_attempt_in_its_environment(stage):
    stage.spawn()
    environment = stage.processes.launched[-1].environment
    assert environment["HAPI_ATTEMPT"] == stage.folder.id
    assert environment["HAPI_HOME"] == str(stage.home.path)
    assert environment["CLI_API_TOKEN"] == "secret-token"
    assert environment["HAPI_CLI_EXECUTABLE"] == "/bin/session"


def test_a_silent_session_is_ended_with_its_tree_and_the_start_refused__W01(stage):
    answer = stage.spawn()
    pid = stage.pid
    (stage.folder.output).write_text("still\n starting")
    stage.clock.advance(1.0)  # seen: a sign of life
    stage.pass_time(14.9)
    assert_waiting(answer)
    stage.clock.advance(0.2)
    assert result_of(answer) == SpawnRefused(
        f"Session webhook timeout for PID {pid}. stderr: still starting"
    )
    assert stage.folder.stop.reason == "Start timed out"
    assert stage.folder.end.signal == "SIGTERM"
    assert stage.children.listed() == []
    assert len(stage.failed) == 1


def test_a_late_announcement_is_refused_and_the_rest_of_its_tree_ended__W01(home):
    stage = Stage(home, programs={"session": FakeProgram(unkillable=True)})
    answer = stage.spawn()
    stage.pass_time(15.1)
    stage.pass_time(5.0)
    assert isinstance(result_of(answer), SpawnRefused)
    child = stage.processes.launched[-1].attempt.process.child
    stage.processes.entry(child).unkillable = False
    verdict = stage.announce(child.pid, "late")
    assert isinstance(verdict, Rejected)
    assert verdict.status == 403
    assert stage.children.listed() == []
    assert not stage.processes.is_running(child)


def test_a_child_that_exits_before_its_announcement_is_reported_at_once_with_code_and_output__C07(
    stage,
):
    answer = stage.spawn()
    pid = stage.pid
    stage.folder.output.write_text("boom on stderr\nline two\n")
    stage.processes.exit(stage.folder.process.child, 1)
    expected = (
        f"Session process exited before webhook for PID {pid} (exit code 1). "
        "stderr: boom on stderr line two"
    )
    assert result_of(answer) == SpawnRefused(expected)
    assert stage.folder.end.exit_code == 1


def test_a_child_killed_before_its_announcement_is_reported_with_the_signal__C07(stage):
    answer = stage.spawn()
    pid = stage.pid
    stage.processes.exit(stage.folder.process.child, None, "SIGKILL")
    assert result_of(answer) == SpawnRefused(
        f"Session process exited before webhook for PID {pid} (signal SIGKILL)"
    )


def test_a_program_that_is_missing_leaves_no_attempt_open__C08(home):
    stage = Stage(home, programs=())
    refused = result_of(stage.spawn())
    assert refused.message.startswith("Failed to spawn HAPI process - no PID returned")
    assert "there is no such program" in refused.message
    assert stage.children.live() == []
    assert stage.folder.end is not None


def test_four_resumes_of_one_session_are_one_child_and_four_answers__C16(stage):
    answers = [stage.spawn(agent="opencode", existingSessionId="e1") for _ in range(4)]
    assert len(stage.processes.launched) == 1
    stage.announce(stage.pid, "e1")
    assert [result_of(answer) for answer in answers] == [Spawned("e1")] * 4
    assert result_of(stage.spawn(agent="opencode", existingSessionId="e1")) == Spawned("e1")
    assert len(stage.processes.launched) == 1


def test_a_session_that_ended_is_started_anew__C16(stage):
    first = stage.started("e1", existingSessionId="e1")
    stage.processes.exit(first.identity, 0)
    answer = stage.spawn(existingSessionId="e1")
    stage.announce(stage.pid, "e1")
    assert result_of(answer) == Spawned("e1")
    assert len(stage.processes.launched) == 2


def test_a_session_that_is_being_ended_is_started_anew_when_it_is_gone__C16(stage):
    leaving = stage.started("e1", existingSessionId="e1")
    leaving.folder.stop = StopOrder("User terminated", "session", "terminated", 1.0)
    answers = [stage.spawn(existingSessionId="e1"), stage.spawn(existingSessionId="e1")]
    assert len(stage.processes.launched) == 1
    stage.processes.exit(leaving.identity, 0)
    assert len(stage.processes.launched) == 2
    stage.announce(stage.pid, "e1")
    assert [result_of(answer) for answer in answers] == [Spawned("e1"), Spawned("e1")]


def test_a_session_that_is_being_ended_and_does_not_go_is_not_started_twice__C16(stage):
    leaving = stage.started("e1", existingSessionId="e1")
    leaving.folder.stop = StopOrder("User terminated", "session", "terminated", 1.0)
    answer = stage.spawn(existingSessionId="e1")
    stage.clock.advance(10)
    assert "still runs after 10 s" in result_of(answer).message
    assert len(stage.processes.launched) == 1
    stage.children.detach()


def test_spawns_without_an_id_are_never_merged(stage):
    stage.spawn(), stage.spawn()
    assert len(stage.processes.launched) == 2
    stage.children.detach()


def test_a_caller_that_disconnects_cancels_nothing__X13(stage):
    impatient, patient = stage.spawn(existingSessionId="e1"), stage.spawn(existingSessionId="e1")
    impatient.addErrback(lambda _: None)
    impatient.cancel()
    stage.announce(stage.pid, "e1")
    assert result_of(patient) == Spawned("e1")
    assert len(stage.children.listed()) == 1


def test_a_stop_while_starting_ends_the_attempt__C17(stage):
    answer = stage.spawn(existingSessionId="e1")
    assert result_of(stage.stop("e1")) == "stopped"
    assert result_of(answer) == SpawnRefused("Session was stopped while it was being started")
    assert stage.children.live() == []
    assert stage.folder.stop.reason == "stopped on request"


def test_an_agent_that_is_missing_is_refused_before_a_directory_is_made(home, tmp_path):
    stage = Stage(home, missing={"pi": "not_found"})
    refused = result_of(stage.spawn(tmp_path / "new", agent="pi"))
    assert refused == SpawnRefused(
        "pi is not installed or is not on PATH", "agent_unavailable", "pi"
    )
    assert not (tmp_path / "new").exists()
    assert stage.failed[0][0] == refused


def test_a_directory_outside_the_roots_is_refused__X17(home, tmp_path):
    (tmp_path / "root").mkdir()
    stage = Stage(home, roots=WorkspaceRoots.parse([str(tmp_path / "root")]))
    for path in (tmp_path / "rootless", tmp_path / "root/../other", "/etc"):
        assert result_of(stage.spawn(path)).code == "outside_workspace_roots"
    assert stage.processes.launched == []
    assert stage.failed == []


def test_a_root_that_is_gone_refuses_spawns__D04(home, tmp_path):
    root = tmp_path / "root"
    root.mkdir()
    stage = Stage(home, roots=WorkspaceRoots.parse([str(root)]))
    root.rmdir()
    assert "does not exist; is it mounted?" in result_of(stage.spawn(root / "x")).message
    assert not root.exists()


def test_a_missing_directory_is_made_or_asked_for(stage, tmp_path):
    assert result_of(
        stage.spawn(tmp_path / "a", approvedNewDirectoryCreation=False)
    ) == NeedsDirectory(str(tmp_path / "a"))
    stage.spawn(tmp_path / "b/c")
    assert (tmp_path / "b/c").is_dir()
    stage.children.detach()


def test_a_worktree_is_removed_when_its_session_never_came__D07(home):
    stage = Stage(home, worktrees=NoWorktrees(TREE))
    answer = stage.spawn(sessionType="worktree", worktreeName="x")
    assert stage.processes.launched[-1].cwd == TREE.path
    assert stage.worktrees.removed == []
    stage.pass_time(15.1)
    assert isinstance(result_of(answer), SpawnRefused)
    assert stage.worktrees.removed == [TREE]


def test_a_worktree_whose_session_never_came_goes_after_a_restart_too__D07(home):
    stage = Stage(home, worktrees=NoWorktrees(TREE))
    stage.spawn(sessionType="worktree")
    child = stage.folder.process.child
    stage.children.detach()
    stage.processes.exit(child, 1)
    stage.restart()
    stage.adopt()
    assert stage.worktrees.removed == [TREE]


def test_a_worktree_stays_after_a_session_that_came__D07(home):
    stage = Stage(home, worktrees=NoWorktrees(TREE))
    child = stage.started(sessionType="worktree")
    stage.processes.exit(child.identity, 0)
    assert stage.worktrees.removed == []


def test_no_session_is_started_while_the_runner_leaves(stage):
    stage.spawner.closed_reason = "leaving"
    assert result_of(stage.spawn()) == SpawnRefused("leaving")
    assert stage.processes.launched == []


def test_a_caller_that_waits_while_the_runner_leaves_is_answered(stage):
    answer = stage.spawn()
    stage.children.detach()
    assert "stopping" in result_of(answer).message
    assert stage.processes.is_running(stage.folder.process.child)
    assert not stage.clock.getDelayedCalls()


def test_the_default_agent_is_the_wires(stage):
    stage.spawn(agent=None)
    assert stage.folder.request.agent == "claude"
    stage.children.detach()


def test_a_symlink_turned_elsewhere_before_the_start_is_refused__D03(home, tmp_path, monkeypatch):
    root, outside = tmp_path / "root", tmp_path / "outside"
    (root / "inside").mkdir(parents=True), outside.mkdir()
    (root / "link").symlink_to(root / "inside")
    stage = Stage(home, roots=WorkspaceRoots.parse([str(root)]))
    pinned = WorkspaceRoots.pinned

    def turn(self, *args):
        (root / "link").unlink()
        (root / "link").symlink_to(outside)
        return pinned(self, *args)

    monkeypatch.setattr(WorkspaceRoots, "pinned", turn)
    refused = result_of(stage.spawn(root / "link"))
    assert "moved out of the workspace roots" in refused.message
    assert stage.processes.launched == []


def test_the_child_starts_in_the_directory_that_was_checked__D03(home, tmp_path, monkeypatch):
    root = tmp_path / "root"
    (root / "a").mkdir(parents=True)
    stage, places = Stage(home, roots=WorkspaceRoots.parse([str(root)])), []
    launch = MemoryProcesses.launch
    monkeypatch.setattr(
        MemoryProcesses,
        "launch",
        lambda self, plan: (places.append(os.stat(plan.cwd)), launch(self, plan))[1],
    )
    stage.spawn(root / "a")
    assert places[0].st_ino == (root / "a").stat().st_ino
    assert stage.folder.request.cwd == str(root / "a")
    stage.children.detach()


def test_a_session_that_was_ended_because_its_launch_failed_is_recorded_with_its_end__P05_C15(home):
    class Silent(MemoryProcesses):
        def launch(self, plan):
            child = result_of(super().launch(plan)).child
            self.exit(child, signal="SIGKILL")
            return fail(LaunchFailed("session", "its holder did not report within 10 s"))

    stage, recorded = Stage(home), []
    stage.processes = Silent(stage.programs, stage.clock)
    stage.restart()
    stage.children.record_event = lambda event, ids=None, **facts: recorded.append(
        (event, ids.pid, facts["signal"])
    )
    answer = stage.spawn(existingSessionId="e1")
    stage.clock.advance(1.0)
    assert "its holder did not report" in result_of(answer).message
    child = stage.children.find_all("e1")[0]
    assert (child.identity, child.exit, child.is_live) == (
        stage.folder.process.child,
        Exit(None, "SIGKILL"),
        False,
    )
    assert recorded == [("ended", child.pid, "SIGKILL")]


def test_a_start_whose_private_directory_cannot_be_made_leaves_no_attempt__S02(
    home, stage, monkeypatch
):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("hapi.runner.spawn.start_request.create_codex_home", full)
    refused = result_of(stage.spawn(agent="codex", token="T"))
    assert "No space left on device" in refused.message
    assert (attempts(home), stage.children.live(), stage.spawner.pending) == ([], [], 0)


def test_a_cancelled_start_leaves_no_private_directory__K06_C17(home):
    stage = Stage(home)
    stage.spawner._disk = disk = SlowDisk()
    answer = stage.spawn(agent="codex", token="T", existingSessionId="e1")
    assert stage.spawner.cancel("e1")
    disk.go(), disk.go()
    assert result_of(answer).message == CANCELLED
    assert list(home.directory("tmp").iterdir()) == []
    assert attempts(home) == []
