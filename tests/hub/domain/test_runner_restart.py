"""The restart of a runner from the hub: what the caller is told, and when, whoever is killed after
the request.
"""

from __future__ import annotations

import pytest

from hapi.hub.domain.runner_restart import HANDOFF_TIMEOUT
from hapi.protocol.rpc import REQUEST
from tests.support.hub_stage import Stage, waits

OLD, NEW, OTHER = 11, 12, 13  # process ids
METHODS = ("stop-runner", "runner-handoff")


class Restart:
    """One request to restart the runner of a machine, and the sockets of its runners."""

    def __init__(self):
        self.stage = Stage()
        body = {
            "id": "m",
            "metadata": {"host": "devbox", "capabilities": list(METHODS)},
            "runnerState": {"pid": OLD},
        }
        assert self.stage.rest("POST", "/cli/machines", body).status == 200
        self.old = self.runner()
        self.pending = self.stage.begin("POST", "/api/machines/m/restart-runner", {})

    def runner(self):
        peer = self.stage.connect(machineId="m", clientType="machine-scoped")
        peer.send("machine-alive", {"machineId": "m", "time": self.stage.now()})
        peer.serve("m", *METHODS)
        return peer

    def begun(self):
        self.old.answer({"message": "The runner is being replaced", "replacement": NEW})
        return self

    def pass_time(self, seconds):
        """Let time pass in steps; connected runners answer nothing."""
        for _ in range(int(seconds / 0.5)):
            self.stage.clock.advance(0.5)
            self.stage.stub.flush()

    @property
    def waits(self):
        self.stage.stub.flush()
        return waits(self.pending)

    def outcome(self):
        answer = self.stage.finish(self.pending)
        return answer.status, answer.body.get("message") or answer.body["error"]


def calls_of(peer):
    return [asked["method"] for event, asked in peer.heard if event == REQUEST]


def test_a_runner_that_is_killed_before_it_answers_is_told_of_at_once():
    restart = Restart()
    restart.old.drop()
    status, told = restart.outcome()
    assert status >= 500
    assert told.startswith("The connection to the runner was lost before it answered. ")
    assert "hapi runner status" in told


def test_a_replacement_that_serves_after_the_old_runner_was_killed_is_a_restart():
    restart = Restart().begun()
    restart.old.drop()
    restart.pass_time(3)
    assert restart.waits
    new = restart.runner()
    restart.pass_time(0.5)
    new.answer({"pid": NEW, "underWay": False})
    assert restart.outcome() == (200, "The runner has been restarted")


def test_a_replacement_that_was_killed_leaves_the_old_runner_whose_reason_is_told():
    restart = Restart().begun()
    restart.old.answer({"pid": OLD, "underWay": False, "error": "it was ended by SIGKILL"})
    assert restart.outcome()[1] == "The runner keeps running, because it was ended by SIGKILL"


def test_a_runner_that_somebody_starts_after_both_were_killed_is_not_taken_for_the_old_one():
    restart = Restart().begun()
    restart.old.drop()
    other = restart.runner()
    restart.pass_time(0.5)
    other.answer({"pid": OTHER, "underWay": False, "error": "the hand-off was stopped"})
    assert restart.outcome()[1].startswith(f"Process {OTHER} is the machine's runner now. ")


def test_a_machine_without_any_runner_left_is_given_up_in_time():
    restart = Restart().begun()
    restart.old.drop()
    restart.pass_time(HANDOFF_TIMEOUT - 1)
    assert restart.waits
    restart.pass_time(1.5)
    _, told = restart.outcome()
    assert told.startswith(f"No runner of the machine has told within {HANDOFF_TIMEOUT:.0f} s")


@pytest.mark.parametrize("answers_before", [0.0, 30.0], ids=["at once", "late"])
def test_a_runner_that_stops_answering_holds_nobody_up_beyond_the_time_limit(answers_before):
    """The page waits for 90 s, of which a trial start before may take 30."""
    restart = Restart().begun()
    for _ in range(int(answers_before / 0.5)):
        restart.old.answer({"pid": OLD, "underWay": True})
        restart.pass_time(0.5)
    restart.pass_time(HANDOFF_TIMEOUT - answers_before - 1)
    assert restart.waits
    restart.pass_time(1.5)
    assert not restart.waits


def test_a_hand_off_that_goes_on_for_too_long_is_told_as_such():
    restart = Restart().begun()
    while restart.waits:
        restart.old.answer({"pid": OLD, "underWay": True})
        restart.pass_time(0.5)
    assert restart.stage.clock.seconds() <= HANDOFF_TIMEOUT
    assert restart.outcome()[1] == f"Process {NEW} has not replaced the runner after 45 s"
