"""Starts that somebody stops before there is a process, and callers who wait no longer than a
hub does."""

import pytest
from twisted.internet.defer import Deferred

from hapi.attempts import attempts
from hapi.protocol.spawn import Spawned, Worktree, parse_spawn
from hapi.runner.config.admission_limits import AdmissionLimits
from hapi.runner.spawn.spawner import CANCELLED, STILL_STARTING
from tests.support.runner_stage import NoWorktrees, Stage, assert_waiting, result_of

TREE = Worktree("/repo", "hapi-x", "x", "/repo-worktrees/x", 1)


@pytest.fixture
def stage(home):
    return Stage(home)


def stopped(stage, name):
    """What `stop-session` answers."""
    stopping = stage.sessions().stop(name, reason="archived", actor="hub", method="hub")
    return Deferred.fromCoroutine(stopping)


def test_a_stop_cancels_a_start_in_the_queue__C17(home):
    stage = Stage(home, limits=AdmissionLimits(sessions=1, queue=1))
    stage.started("s1")
    answer = stage.spawn(existingSessionId="e1")
    assert_waiting(answer)
    assert result_of(stopped(stage, "e1")) == "stopped"
    assert result_of(answer).message == CANCELLED
    assert stage.admission.status()["waiting"] == 0
    stage.processes.exit(stage.children.find_all("s1")[0].identity, 0)
    assert len(stage.processes.launched) == 1
    assert result_of(stopped(stage, "e1")) == "still_alive"  # nothing is known of it any more
    stage.started("e1", existingSessionId="e1")


def test_a_stop_cancels_a_start_whose_worktree_is_being_made_and_removes_the_worktree__C17_D07(
    home,
):
    class Slow(NoWorktrees):
        made_at_last = Deferred()

        async def add(self, worktree):
            return await self.made_at_last

    stage = Stage(home, worktrees=Slow(TREE))
    answer = stage.spawn(existingSessionId="e1", sessionType="worktree")
    assert result_of(stopped(stage, "e1")) == "stopped"
    assert result_of(answer).message == CANCELLED
    stage.worktrees.made_at_last.callback(None)
    assert (stage.processes.launched, stage.worktrees.removed) == ([], [TREE])
    assert attempts(home) == []
    assert stage.spawner.pending == 0


def test_a_stop_cancels_a_start_that_waits_for_the_end_of_the_last_process__C17_C16(stage):
    stage.programs = {}
    child = stage.started("e1", existingSessionId="e1")
    stage.processes.entry(child.identity).ignores_sigterm = True
    first = stage.stop("e1")
    answer = stage.spawn(existingSessionId="e1")
    assert_waiting(answer)
    second = stopped(stage, "e1")
    assert result_of(answer).message == CANCELLED
    stage.clock.pump([0.5] * 10)
    assert (result_of(first), result_of(second)) == ("stopped", "stopped")
    assert len(stage.processes.launched) == 1


def test_a_cancelled_start_does_not_block_the_next__C17(home):
    stage = Stage(home, limits=AdmissionLimits(sessions=1, queue=2))
    stage.started("s1")
    first = stage.spawn(existingSessionId="e1")
    result_of(stopped(stage, "e1"))
    assert result_of(first).message == CANCELLED
    second = stage.spawn(existingSessionId="e1")
    stage.processes.exit(stage.children.find_all("s1")[0].identity, 0)
    stage.announce(stage.pid, "e1")
    assert result_of(second) == Spawned("e1")


def test_a_hub_is_answered_within_its_timeout_when_a_start_takes_longer__X13(home):
    stage = Stage(home, limits=AdmissionLimits(sessions=1, queue=1))
    stage.started("s1")
    request = parse_spawn({"directory": str(home.path), "agent": "claude"})
    answer = Deferred.fromCoroutine(stage.spawner.spawn_within(28.0, request, "hub"))
    stage.clock.advance(19.5)
    stage.processes.exit(stage.children.find_all("s1")[0].identity, 0)  # a place at last
    stage.clock.advance(8.4)
    assert_waiting(answer)
    stage.clock.advance(0.2)
    assert result_of(answer) == STILL_STARTING
    assert STILL_STARTING.code == "still_starting"
    stage.announce(stage.pid, "s2")  # and the start goes on
    assert [listed.happy_session_id for listed in stage.children.listed()] == ["s2"]
