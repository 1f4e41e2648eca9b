"""Stalled sessions: alive but silent, waiting for a permission, prompts that stay queued."""

import os

import pytest

from hapi.protocol.attempt import AttemptReport
from hapi.runner.attempts.stall import StallThresholds, describe_activity, stall_reason
from tests.support.runner_stage import Stage

AFTER = StallThresholds(silent=300, approval=600, queued=60)


def report(**facts):
    return AttemptReport(at=0.0, **{"ready": True, **facts})


@pytest.mark.parametrize(
    ("facts", "last_sign", "now", "expected"),
    [
        ({}, 0.0, 1e6, None),  # idle for days
        ({"turn_since": 10.0}, 10.0, 309.0, None),
        ({"turn_since": 10.0}, 10.0, 310.0, "silent"),
        ({"turn_since": 10.0}, 5000.0, 5100.0, None),  # a long turn that shows life
        ({"turn_since": 10.0}, None, 310.0, "silent"),
        ({"turn_since": 10.0, "waiting_since": 20.0}, 20.0, 400.0, None),
        ({"turn_since": 10.0, "waiting_since": 20.0}, 20.0, 620.0, "approval"),
        ({"queued": 1, "queued_since": 100.0}, 100.0, 159.0, None),
        ({"queued": 1, "queued_since": 100.0}, 100.0, 160.0, "queued"),
        (
            {"queued": 1, "queued_since": 100.0, "turn_since": 90.0},
            350.0,
            380.0,
            None,
        ),  # behind a turn
        ({"queued": 1, "queued_since": 100.0, "ready": False}, 100.0, 160.0, None),  # starting
        ({"turn_since": 5000.0}, 5000.0, 10.0, None),  # the clock was set back: N17
    ],
)
def test_what_counts_as_a_stall__N17(facts, last_sign, now, expected):
    assert stall_reason(report(**facts), last_sign, now, AFTER) == expected


def test_a_session_that_does_not_report_is_never_stalled():
    assert stall_reason(None, 0.0, 1e9, AFTER) is None
    assert describe_activity(None, None) == {"doing": "unknown"}


@pytest.mark.parametrize(
    ("facts", "doing", "since"),
    [
        ({}, "idle", None),
        ({"ready": False}, "starting", None),
        ({"turn_since": 1.5}, "turn", 1500),
        ({"turn_since": 1.5, "waiting_since": 2.0}, "approval", 2000),
    ],
)
def test_the_activity_of_a_session_is_listed_with_its_beginning(facts, doing, since):
    activity = describe_activity(report(**facts), None)
    assert (activity["doing"], activity.get("since")) == (doing, since)


def test_the_activity_names_the_permission_mode_and_the_model():
    activity = describe_activity(report(mode="plan", model="m"), None)
    assert (activity["mode"], activity["model"]) == ("plan", "m")


def test_thresholds_come_from_the_settings_and_invalid_ones_are_ignored():
    assert StallThresholds.read(
        {"stuckAfter": {"silent": 30, "approval": "x", "queued": -1, "other": 5}}
    ) == StallThresholds(silent=30.0)
    assert StallThresholds.read({"stuckAfter": []}) == StallThresholds.read({}) == StallThresholds()


def test_the_list_shows_what_a_session_does_and_why_it_is_stalled(home):
    stage = Stage(home)
    child = stage.started("s1")
    stage.started("npm")
    child.folder.report = AttemptReport(
        at=stage.now(), ready=True, turn_since=stage.now(), queued=2
    )
    os.utime(child.folder.report_path, (stage.now(), stage.now()))
    stage.clock.advance(0.5)
    assert stage.children.listed()[0].activity == {
        "doing": "turn",
        "since": int((stage.now() - 0.5) * 1000),
        "queued": 2,
    }
    stage.clock.advance(400)
    assert stage.children.listed()[0].activity["stuck"] == "silent"
    os.utime(child.folder.report_path, (stage.now(), stage.now()))  # it does something
    stage.clock.advance(0.5)  # what was listed counts as of now for a moment
    assert "stuck" not in stage.children.listed()[0].activity
    assert stage.children.listed()[1].activity == {"doing": "unknown"}  # it does not report
