"""The runner around a hand-off, on a Clock: when it begins, what callers get meanwhile, and what is
left afterwards.
"""

import json
import os
from pathlib import Path

import pytest
from twisted.internet.defer import Deferred

from hapi.attempts import AttemptFolder
from hapi.protocol.attempt import AttemptProcess, AttemptRequest, AttemptSession
from hapi.protocol.control import (
    HandoffBegan,
    LeavesForSupervisor,
    MalformedRequest,
    ReplacementRefused,
    ReplaceRunner,
    RestartRefused,
)
from hapi.protocol.spawn import SpawnRefused
from hapi.runner.handoff.requested import start_command
from hapi.runner.sessions import BEING_REPLACED
from hapi.runner.supervision.supervisor import Supervision
from tests.support.coordinator_stage import OTHER, Scene
from tests.support.handoff_stage import NEW, OLD
from tests.support.runner_service import Run
from tests.support.runner_stage import assert_waiting, result_of


@pytest.fixture
def scene(home):
    made = Scene(home)
    yield made
    if made.service.running:
        made.run.stop()


def test_a_new_build_gets_the_home_and_the_old_runner_touches_nothing(scene):
    scene.upgrade()
    scene.will_answer()
    scene.send("ready")
    scene.advance(0.1)
    assert scene.replacements[0].channel.said[-1] == {"word": "yours"}
    assert not scene.reactor.port.reading
    scene.send("mine")
    scene.advance(2)
    assert scene.run.retired == [0]
    assert scene.files() == [True, True, True]
    assert scene.run.machine.said == [
        "closed"
    ]  # the hub does not hear that this machine shuts down
    assert scene.replacements[0].terminated == 0


def test_the_successor_learns_token_and_count(scene):
    scene.upgrade()
    scene.send("ready")
    assert scene.replacements[0].channel.said == [
        {"word": "go", "token": scene.service.token, "ages": [0.0]}
    ]
    scene.replacements[0].dies()


def test_after_a_failure_it_serves_as_before_and_tells__H01(scene):
    scene.upgrade()
    scene.send("ready")
    scene.advance(0.1)
    scene.home.npm_lock.write_text(str(OTHER))  # as the replacement does it, more or less
    scene.replacements[0].dies("the replacement exited with code 1")
    scene.advance(1)
    assert scene.reactor.port.reading
    assert scene.service.sessions.spawner.closed_reason is None
    assert scene.home.npm_lock.read_text() == str(os.getpid())
    assert scene.run.state["pid"] == os.getpid()
    assert "claimed again" in scene.run.machine.said
    status = scene.service.status()
    assert status["current"] is False  # never pretending
    assert status["handoff"]["lastFailure"]["reason"] == "the replacement exited with code 1"
    assert 298 < status["handoff"]["nextTryIn"] <= 300
    scene.service.handoff.check_for_upgrade()
    assert len(scene.replacements) == 1
    scene.advance(301)
    scene.service.handoff.check_for_upgrade()
    assert len(scene.replacements) == 2
    scene.replacements[1].dies()
    scene.advance(1)


def test_beats_rest_while_the_files_change_hands(scene):
    scene.upgrade()
    scene.send("ready")
    scene.advance(0.1)
    scene.home.npm_lock.unlink()
    scene.home.npm_lock.write_text(str(OTHER))
    result_of(Deferred.fromCoroutine(scene.service.heartbeat._beat()))
    assert scene.run.retired == []
    assert scene.home.npm_lock.read_text() == str(OTHER)
    scene.replacements[0].dies()
    scene.advance(1)


def test_a_start_that_is_under_way_is_finished_first__H10(scene):
    answer = scene.spawn()
    scene.advance(0.1)
    scene.upgrade()
    scene.send("ready")
    scene.advance(1)
    assert scene.replacements[0].channel.said == []
    assert scene.reactor.port.reading  # its announcement must come in
    assert_waiting(answer)
    assert (
        scene.service.sessions.spawner.closed_reason == BEING_REPLACED
        or scene.service.sessions.spawner.closed_reason is None
    )
    scene.replacements[0].dies()
    scene.advance(1)


def test_a_start_asked_for_by_the_hub_meanwhile_is_told_to_try_again__H10(scene):
    scene.upgrade()
    scene.send("ready")
    scene.advance(0.1)
    assert result_of(scene.spawn()) == SpawnRefused(BEING_REPLACED)
    assert not list(scene.service.children)
    scene.replacements[0].dies()
    scene.advance(1)
    answer = scene.spawn()
    scene.advance(0.1)
    assert_waiting(answer)


def test_a_session_that_the_failed_one_began_is_ours__H02_H09(scene):
    scene.upgrade()
    scene.send("ready")
    scene.advance(0.1)
    identity = scene.service._processes.add("session")
    folder = AttemptFolder.create(
        scene.home, AttemptRequest(("s",), "/", 0.0, "hub", agent="claude")
    )
    folder.process = AttemptProcess(child=identity, holder=None)
    folder.session = AttemptSession("s1", None)
    scene.replacements[0].dies()
    scene.advance(1)
    assert [child.happy_session_id for child in scene.service.list()] == ["s1"]


def test_without_the_hub_nothing_is_tried(scene):
    scene.run.machine.registered = False
    scene.upgrade()
    assert scene.replacements == []
    assert "the hub is not connected" in scene.handoff()["waitsFor"]


def test_a_runner_that_is_drained_for_a_restart_is_not_replaced(scene):
    scene.service.api.drain("control: pid 1", keep=False)
    scene.upgrade()
    assert scene.replacements == []
    assert "drained" in scene.handoff()["waitsFor"]


def accepts(scene):
    return scene.service.status()["admission"]["accepting"]


def test_a_runner_that_a_command_drained_accepts_sessions_again_when_that_command_is_gone(scene):
    for _ in range(4):
        scene.service.api.drain("control: pid 1", keep=False, lease=10)
        scene.advance(8)
    assert not accepts(scene)
    scene.advance(3)
    assert accepts(scene)
    assert events(scene)[-1]["event"] == "resume"


@pytest.mark.parametrize("order", [{"keep": True}, {"keep": False}])
@pytest.mark.parametrize("is_first", [True, False])
def test_a_lease_ends_no_draining_that_was_asked_for_without_one(scene, order, is_first):
    if is_first:
        scene.service.api.drain("control: pid 2", **order)
    scene.service.api.drain("control: pid 1", keep=False, lease=10)
    if not is_first:
        scene.service.api.drain("control: pid 2", **order)
    scene.advance(11)
    assert not accepts(scene)


def test_a_lease_that_is_over_ends_nothing_that_began_after_a_resume(scene):
    scene.service.api.drain("control: pid 1", keep=False, lease=10)
    scene.advance(1)
    scene.service.api.resume("control: pid 1")
    scene.service.api.drain("control: pid 2", keep=False)
    scene.advance(11)
    assert not accepts(scene)


def test_a_drained_runner_is_replaced_by_a_drained_one(scene):
    scene.service.api.drain("control: pid 1")
    scene.upgrade()
    assert len(scene.replacements) == 1
    assert scene.run.home.runner_drained.exists()


def events(scene):
    return [json.loads(line) for line in scene.run.home.events.read_text().splitlines()]


def test_the_journal_tells_of_each_hand_off_how_it_went_and_between_whom__H01(scene):
    scene.upgrade()
    scene.send("failed", reason="no module named hapi")
    scene.advance(1)
    began, failed = (event for event in events(scene) if event["event"].startswith("handoff"))
    assert (began["event"], began["pid"]) == ("handoff-began", os.getpid())
    assert (failed["event"], failed["replacement"]) == ("handoff-failed", scene.replacements[0].pid)
    assert "no module named hapi" in failed["reason"]


def test_the_journal_tells_who_took_over(scene):
    scene.upgrade()
    scene.will_answer()
    scene.send("ready")
    scene.advance(0.1)
    scene.send("mine")
    scene.advance(2)
    done = next(event for event in events(scene) if event["event"] == "handoff-done")
    assert (done["pid"], done["replacement"]) == (os.getpid(), scene.replacements[0].pid)


def test_stopped_in_the_middle_it_ends_both_and_leaves_nothing__H13(scene):
    scene.upgrade()
    scene.send("ready")
    scene.advance(0.1)
    scene.run.stop()
    assert scene.replacements[0].killed == 1
    assert scene.files() == [False, False, False]


@pytest.mark.parametrize("step", ["starting", "answering"])
def test_a_hand_off_that_ends_because_the_runner_is_stopped_has_not_failed__H13(scene, step):
    scene.upgrade()
    if step == "answering":
        scene.send("ready")
        scene.advance(0.1)
    scene.run.stop()
    scene.advance(1.0)
    assert scene.replacements[0].killed == 1
    told = {
        event["event"]: event.get("reason")
        for event in events(scene)
        if event["event"].startswith("handoff-")
    }
    assert told == {
        "handoff-began": None,
        "handoff-stopped": "the outgoing runner was asked to stop",
    }


def test_a_signal_while_it_retires_reaches_the_successor__H13(scene):
    scene.upgrade()
    scene.will_answer()
    scene.send("ready")
    scene.advance(0.1)
    scene.run.machine.dead = True
    scene.send("mine")
    scene.advance(0.05)
    scene.service.stopService()
    assert scene.replacements[0].terminated == 1
    scene.advance(2)
    scene.service.stopService()  # the host's own, after we have left
    assert scene.replacements[0].terminated == 1


def test_a_successor_that_is_stopped_takes_the_runner_along__H13(scene):
    scene.upgrade()
    scene.send("ready")
    scene.send("leaving", reason="hapi-cli")
    scene.replacements[0].dies("the replacement exited with code 0")
    scene.advance(3)
    assert scene.run.retired == [0]
    assert scene.files() == [False, False, False]


def test_under_a_supervisor_it_asks_for_a_restart_once_no_session_is_live__H07_V02(home):
    scene = Scene(home, Supervision("restart", "supervisord"))
    scene.spawn()
    scene.advance(0.5)
    scene.upgrade()
    assert scene.run.retired == []
    assert (
        "supervisord restarts this runner when its 1 live sessions have ended"
        in scene.handoff()["waitsFor"]
    )
    assert scene.trials == []
    scene.advance(60)  # the start lease is over, and nobody is left
    scene.service.handoff.check_for_upgrade()
    scene.advance(3)
    assert [trial.build for trial in scene.trials] == [NEW]
    assert scene.run.retired == []
    assert scene.handoff()["underWay"] is True
    scene.trials[0].comes_up()
    scene.advance(3)
    assert scene.run.retired == [75]
    assert scene.replacements == []


def test_under_a_supervisor_it_does_not_leave_for_a_build_that_does_not_start__H01(home, tmp_path):
    scene = Scene(home, Supervision("restart", "supervisord"))
    scene.upgrade()
    scene.trials[0].fails(output=tmp_path / "trial.out")
    scene.advance(3)
    assert scene.run.retired == []
    failure = scene.handoff()["lastFailure"]
    assert "SyntaxError" in failure["reason"]
    assert failure["output"] == str(tmp_path / "trial.out")
    failed = events(scene)[-1]
    assert (failed["event"], failed["output"]) == ("trial-start-failed", failure["output"])
    assert (failed["reason"], failed["version"]) == (failure["reason"], NEW.version)
    scene.service.handoff.check_for_upgrade()
    assert len(scene.trials) == 1
    assert "the last try failed less than 5 minutes ago" in scene.handoff()["waitsFor"]
    scene.advance(301)
    scene.service.handoff.check_for_upgrade()
    scene.trials[1].comes_up()
    scene.advance(3)
    assert scene.run.retired == [75]


def test_a_session_that_begins_during_the_trial_start_is_waited_for__V02(home):
    scene = Scene(home, Supervision("restart", "supervisord"))
    scene.upgrade()
    scene.spawn()
    scene.advance(0.5)
    scene.trials[0].comes_up()
    scene.advance(3)
    assert scene.run.retired == []
    assert "when its 1 live sessions have ended" in scene.handoff()["waitsFor"]


def test_a_runner_that_is_stopped_during_the_trial_start_ends_that_too__H13(home):
    scene = Scene(home, Supervision("restart", "supervisord"))
    scene.upgrade()
    scene.run.stop()
    assert scene.trials[0].cancelled
    assert scene.files() == [False, False, False]
    assert scene.handoff()["lastFailure"] is None


def test_the_pages_restart_button_ends_it_so_that_a_supervisor_starts_it_again__V02(home):
    scene = Scene(home, Supervision("restart", "systemd"))
    answer = Deferred.fromCoroutine(scene.service.api.restart("hub"))
    scene.advance(3)
    assert scene.run.retired == []
    scene.trials[0].comes_up()
    assert result_of(answer) == LeavesForSupervisor()
    scene.advance(3)
    assert scene.run.retired == [75]


def restart(scene):
    """What the restart button of the page asks for."""
    return result_of(Deferred.fromCoroutine(scene.service.api.restart("hub")))


def test_the_pages_restart_button_without_a_supervisor_begins_one_hand_off(scene):
    assert restart(scene) == restart(scene) == HandoffBegan(OTHER)
    assert scene.service.api.handoff_to(OTHER) == {"pid": os.getpid(), "underWay": True}
    scene.will_answer(argv=list(scene.service.options.argv))
    scene.send("ready")
    scene.advance(0.1)
    assert scene.run.retired == []
    scene.send("mine")
    scene.advance(3)
    assert scene.run.retired == [0]
    assert (len(scene.replacements), scene.trials) == (1, [])


def test_whoever_asked_for_a_restart_is_told_why_the_replacement_did_not_take_over__H01(scene):
    restart(scene)
    scene.send("failed", reason="SyntaxError")
    scene.advance(3)
    assert scene.run.retired == []
    told = scene.service.api.handoff_to(OTHER)
    assert (told["pid"], told["underWay"]) == (os.getpid(), False)
    assert told["error"].startswith("the installed version does not take over: ")
    assert "SyntaxError" in told["error"]
    assert scene.service.api.handoff_to(OTHER + 1)["error"] == "the hand-off was stopped"


def test_a_runner_that_only_another_program_can_start_refuses_a_restart(home):
    scene = Scene(home, Supervision("none", "twistd", is_replaceable=False))
    assert restart(scene) == RestartRefused("only twistd may restart it")
    scene.advance(3)
    assert (scene.run.retired, scene.replacements) == ([], [])


def test_the_pages_restart_button_ends_no_runner_whose_next_build_does_not_start__V02_H01(home):
    scene = Scene(home, Supervision("notify", "systemd (Type=notify)"))
    answer = Deferred.fromCoroutine(scene.service.api.restart("hub"))
    scene.trials[0].fails(output=Path("/logs/1-trial.out"))
    assert result_of(answer) == RestartRefused(
        "the installed version does not start: the trial start exited with code 1: SyntaxError; "
        "see /logs/1-trial.out"
    )
    scene.advance(3)
    assert scene.run.retired == []
    assert "SyntaxError" in scene.handoff()["lastFailure"]["reason"]


def test_a_trial_start_that_a_command_made_is_told_like_one_of_its_own__H01(scene):
    scene.service.api.trial_start_failed("cli", "exited with code 1: SyntaxError", "/l/trial.out")
    failure = scene.handoff()["lastFailure"]
    assert (failure["reason"], failure["output"]) == (
        "exited with code 1: SyntaxError",
        "/l/trial.out",
    )
    assert scene.handoff()["failures"] == 1
    event = events(scene)[-1]
    assert (event["event"], event["actor"]) == ("trial-start-failed", "cli")


def asked(**other):
    """A command's request for a runner with a workspace root and an environment of its own."""
    words = ["runner", "start-sync", "--workspace-root", "/w"]
    given = {"argv": ["python", *words], "environment": {"A": "\xe9", "B": "\xc3\xa9"}}
    return ReplaceRunner(**{"pid": os.getpid(), "directory": "/", "words": words, **given, **other})


def test_a_runner_that_a_command_asks_for_gets_the_home_whatever_its_flags(scene):
    assert scene.service.api.replace(asked(), "cli") == OTHER
    scene.will_answer(argv=asked().words, workspaceRoots=["/w"], version="9")
    scene.send("ready")
    scene.advance(0.1)
    assert scene.replacements[0].channel.said == [
        {"word": "go", "token": scene.service.token, "ages": []},
        {"word": "yours"},
    ]
    scene.send("mine")
    scene.advance(2)
    assert scene.run.retired == [0]
    assert scene.files() == [True, True, True]
    began = next(event for event in events(scene) if event["event"] == "handoff-began")
    assert began["actor"] == "cli"


def test_a_command_that_asks_for_a_runner_that_dies_leaves_the_old_one__H02(scene):
    replacement = scene.service.api.replace(asked(), "cli")
    scene.send("ready")
    scene.replacements[0].dies()
    scene.advance(1)
    assert scene.run.retired == []
    assert scene.handoff()["lastFailure"]["replacement"] == replacement
    assert not scene.handoff()["underWay"]
    scene.service.api.replace(asked(), "cli")
    assert len(scene.replacements) == 2
    scene.replacements[1].dies()


def test_a_command_starts_no_second_hand_off_and_ends_no_other_runner(scene):
    for wrong, reason in (
        ({"pid": 1}, "another command has stopped or replaced the runner"),
        ({"argv": ["\u20ac"]}, "argv, directory and environment must be Latin-1"),
    ):
        with pytest.raises((ReplacementRefused, MalformedRequest), match=reason):
            scene.service.api.replace(asked(**wrong), "cli")
    scene.service.api.replace(asked(), "cli")
    with pytest.raises(ReplacementRefused, match="a hand-off is going on already") as refused:
        scene.service.api.replace(asked(), "cli")
    assert refused.value.replacement == OTHER
    assert len(scene.replacements) == 1
    scene.replacements[0].dies()


def test_a_command_replaces_no_runner_that_others_end(home):
    scene = Scene(home, Supervision("none", "its container", is_replaceable=False))
    with pytest.raises(ReplacementRefused, match="only its container may restart this runner"):
        scene.service.api.replace(asked(), "cli")
    assert scene.replacements == []
    scene.run.stop()


def test_words_of_the_operating_system_reach_the_replacement_as_they_are():
    start = start_command(asked())
    assert start.environment == {"A": os.fsdecode(b"\xe9"), "B": "\xe9"}


def test_a_runner_in_another_program_never_replaces_itself_and_says_so(home):
    scene = Scene(home, Supervision("none", "the program that it is part of"))
    scene.upgrade()
    scene.advance(700)
    assert scene.replacements == []
    assert scene.handoff()["mode"] == "none"
    assert (
        scene.handoff()["waitsFor"] == "only the program that it is part of may restart this runner"
    )
    assert scene.service.status()["current"] is False
    scene.run.stop()


def test_a_runner_is_part_of_another_program_unless_told_otherwise(home):
    run = Run(home).up()
    assert run.service.status()["handoff"]["mode"] == "none"
    run.stop()


def test_status_tells_the_build(scene):
    status = scene.service.status()
    assert status["build"] == {"version": OLD.version, "digest": OLD.digest}
    assert (status["current"], status["handoff"]["mode"]) == (True, "self")
    assert "secret-token" not in json.dumps(status)
