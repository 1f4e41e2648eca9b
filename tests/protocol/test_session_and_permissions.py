"""Metadata, agent state, permission decisions and endings of a session."""

import json

import pytest

from hapi.protocol import machine
from hapi.protocol import session_metadata as sessionfacts
from hapi.protocol.permissions import (
    ABORTED,
    MAX_COMPLETED_REQUESTS,
    PermissionAnswer,
    PermissionOutcome,
    automatic_decision,
    can_name_request,
    read_permission_answer,
    request_entry,
    with_all_requests_canceled,
    with_completed_request,
    with_request,
)
from hapi.protocol.session import (
    BY_INTERRUPT,
    BY_SIGNAL,
    BY_USER,
    COMPLETED,
    CRASHED,
    Ending,
    initial_state,
    launch_failed,
)
from hapi.protocol.session_metadata import (
    SessionFacts,
    archived_metadata,
    take_over_metadata,
    worktree_of,
)
from tests.support.paths import FIXTURES

FACTS = SessionFacts(
    "/w",
    "box",
    "linux",
    "m-1",
    "/home/u",
    "/home/u/.hapi",
    "/lib/hapi",
    77,
    "runner",
    "opencode",
    1000,
)


def requests_of(fixture):
    lines = [json.loads(line) for line in (FIXTURES / fixture).read_text().splitlines()]
    return {
        line["request"]["path"]: line["request"]["body"]
        for line in lines
        if line.get("api") in ("cli", "runner-control")
    }


def test_the_first_bodies_have_the_recorded_keys():
    recorded = requests_of("session-full-acp.jsonl")
    registered = recorded["/cli/machines"]
    assert FACTS.machine().keys() == registered.keys()
    assert FACTS.machine()["metadata"].keys() == registered["metadata"].keys()
    assert FACTS.metadata().keys() == recorded["/cli/sessions"]["metadata"].keys()


def test_sessions_and_machines_speak_for_the_same_release():
    assert sessionfacts.COMPATIBLE_VERSION == machine.COMPATIBLE_VERSION


def test_a_row_that_is_taken_over_keeps_what_belongs_to_the_conversation():
    stored = {
        "path": "/old",
        "name": "N",
        "summary": {"text": "S", "updatedAt": 1},
        "opencodeSessionId": "ses",
        "lifecycleState": "archived",
        "archivedBy": "cli",
        "archiveReason": "User terminated",
        "hostPid": 1,
        "supersededBySessionId": "x",
        "preferredPermissionMode": "plan",
        "unknown": 1,
    }
    found = take_over_metadata(FACTS.metadata(), stored)
    kept = {"name", "summary", "opencodeSessionId", "preferredPermissionMode"}
    assert found == FACTS.metadata() | {key: stored[key] for key in kept}
    assert take_over_metadata(FACTS.metadata(), None) == FACTS.metadata()


def test_a_worktree_of_the_runner_becomes_metadata():
    environ = {
        "HAPI_WORKTREE_BASE_PATH": "/b",
        "HAPI_WORKTREE_BRANCH": "br",
        "HAPI_WORKTREE_NAME": "n",
        "HAPI_WORKTREE_CREATED_AT": "5",
    }
    assert worktree_of(environ) == {"basePath": "/b", "branch": "br", "name": "n", "createdAt": 5}
    assert worktree_of({"HAPI_WORKTREE_NAME": "n"}) is None


def test_an_archive_says_who_why_and_since_when():
    assert archived_metadata(
        {"path": "/w", "lifecycleState": "running"}, "Session completed", 9
    ) == {
        "path": "/w",
        "lifecycleState": "archived",
        "lifecycleStateSince": 9,
        "archivedBy": "cli",
        "archiveReason": "Session completed",
    }


# --- agent state


def test_a_request_goes_from_waiting_to_answered():
    entry = request_entry("Shell: ls", {"command": "ls"}, 5)
    state = with_request(initial_state(), "c", entry)
    assert state["requests"] == {
        "c": {"tool": "Shell: ls", "arguments": {"command": "ls"}, "createdAt": 5}
    }
    state = with_completed_request(state, "c", PermissionOutcome("approved", "approved"), 7)
    assert state == {
        "controlledByUser": False,
        "startingMode": "remote",
        "requests": {},
        "completedRequests": {
            "c": {
                "tool": "Shell: ls",
                "arguments": {"command": "ls"},
                "createdAt": 5,
                "completedAt": 7,
                "status": "approved",
                "decision": "approved",
            }
        },
    }


def test_whatever_waits_is_canceled_at_once():
    state = with_request(None, "a", request_entry("A", {}, 1))
    state = with_request(state, "b", request_entry("B", {}, 2))
    state = with_all_requests_canceled(state, ABORTED, 3)
    assert state["requests"] == {}
    assert {entry["status"] for entry in state["completedRequests"].values()} == {"canceled"}
    assert state["completedRequests"]["a"]["reason"] == "User aborted"
    assert with_all_requests_canceled(state, ABORTED, 4) == state


def test_a_request_that_somebody_else_settled_is_left_as_it_is():
    assert with_completed_request(initial_state(), "c", ABORTED, 1) == {
        **initial_state(),
        "requests": {},
    }


def test_old_answers_are_let_go():
    state = initial_state()
    for number in range(MAX_COMPLETED_REQUESTS + 5):
        state = with_completed_request(
            state, str(number), ABORTED, number, {"tool": "t", "arguments": {}, "createdAt": 0}
        )
    assert next(iter(state["completedRequests"])) == "5"
    assert len(state["completedRequests"]) == MAX_COMPLETED_REQUESTS


# --- answers


@pytest.mark.parametrize(
    ("params", "decision", "status"),
    [
        ({"id": "c", "approved": True}, "approved", "approved"),
        (
            {"id": "c", "approved": True, "decision": "approved_for_session"},
            "approved_for_session",
            "approved",
        ),
        ({"id": "c", "approved": True, "allowTools": ["Bash"]}, "approved_for_session", "approved"),
        ({"id": "c", "approved": False}, "denied", "denied"),
        ({"id": "c", "approved": False, "decision": "abort"}, "abort", "denied"),
        ({"id": "c", "approved": False, "decision": "approved"}, "denied", "denied"),
        ({"id": "c", "approved": True, "decision": "nonsense"}, "approved", "approved"),
    ],
)
def test_answers_of_both_families_of_pages_are_understood(params, decision, status):
    answer = read_permission_answer(params)
    assert (answer.decision, answer.outcome.status) == (decision, status)


@pytest.mark.parametrize(
    "params",
    [None, {}, {"id": "", "approved": True}, {"id": "c"}, {"id": "c", "approved": "yes"}, [1]],
)
def test_an_answer_that_decides_nothing_is_refused(params):
    with pytest.raises(ValueError, match="permission needs"):
        read_permission_answer(params)


def test_an_answered_request_keeps_what_was_decided_and_not_its_long_texts():
    more = {"kind": "edit", "options": [{"id": "x"}], "changes": [{"path": "a"}], "text": "t"}
    entry = request_entry("Edit", {"old_string": "x" * 9000, "file_path": "a"}, 1, more)
    state = with_completed_request(with_request(None, "c", entry), "c", ABORTED, 2)
    done = state["completedRequests"]["c"]
    assert done.keys() >= {"tool", "status"}
    assert not done.keys() & {"kind", "options", "changes", "text"}
    assert done["arguments"]["file_path"] == "a"
    assert len(done["arguments"]["old_string"]) < 3000


@pytest.mark.parametrize("name", ["", ".", "..", "\ud83d", "x" * 2000])
def test_ids_that_no_path_can_hold_name_no_request(name):
    assert not can_name_request(name)


@pytest.mark.parametrize("name", ["turn/call", "a b", "日本", "100%", "..."])
def test_any_other_id_names_a_request(name):
    assert can_name_request(name)


@pytest.mark.parametrize(
    ("mode", "tool", "kind", "decision"),
    [
        ("yolo", "rm -rf /", "execute", "approved_for_session"),
        ("always-proceed", "x", None, "approved_for_session"),
        ("safe-yolo", "x", "edit", "approved"),
        ("read-only", "Read file", "read", "approved"),
        ("read-only", "ls", "execute", None),
        ("read-only", "WriteFile", "other", None),
        ("read-only", "grep", None, "approved"),
        ("default", "Read file", "read", None),
        ("plan", "x", None, None),
        (None, "x", None, None),
        ("default", "mcp__hapi__change_title", "other", "approved"),
        ("default", "hapi_display_image", "other", "approved"),
        ("plan", "display_media (hapi MCP Server)", None, "approved"),
        ("yolo", "mcp__hapi__change_title", "other", "approved_for_session"),
        ("default", "mcp__hapi__ping_peer", "other", None),
        ("default", "mcp__other__change_title", "other", None),
        ("default", "hapi_change_title", "execute", None),
        ("default", "hapi_change_title; rm -rf /", "other", None),
    ],
)
def test_modes_decide_without_a_person(mode, tool, kind, decision):
    assert automatic_decision(mode, tool, kind) == decision


def test_an_answer_keeps_what_came_with_it():
    settled = PermissionAnswer(
        "c", True, "approved_for_session", None, "acceptEdits", ("Edit",), {"q": ["a"]}
    ).outcome
    assert settled.entry() == {
        "status": "approved",
        "decision": "approved_for_session",
        "mode": "acceptEdits",
        "allowTools": ["Edit"],
        "answers": {"q": ["a"]},
    }


# --- endings


@pytest.mark.parametrize(
    ("ending", "order", "expected"),
    [
        (BY_SIGNAL, None, ("terminated", "Hub restart", 0)),
        (BY_SIGNAL, "Stopped by runner", ("terminated", "Stopped by runner", 0)),
        (BY_INTERRUPT, None, ("terminated", "User terminated", 0)),
        (BY_INTERRUPT, "Machine shuts down", ("terminated", "Machine shuts down", 0)),
        (BY_USER, "Stopped by runner", ("terminated", "User terminated", 0)),
        (COMPLETED, None, ("completed", "Session completed", 0)),
        (COMPLETED, "Stopped by runner", ("terminated", "Stopped by runner", 0)),
        (CRASHED, None, ("error", "Session crashed", 1)),
        (CRASHED, "Stopped by runner", ("terminated", "Stopped by runner", 0)),
        (launch_failed("no key"), None, ("error", "Local launch failed: no key", 1)),
    ],
)
def test_the_archive_tells_the_true_reason__R08(ending, order, expected):
    told: Ending = ending.with_stop_reason(order)
    assert (told.reason, told.archive_reason, told.exit_code) == expected


def test_the_reason_of_an_end_steers_no_terminal__K03():
    found = archived_metadata(
        {"path": "/x"}, "Local launch failed: \x1b[31mno\x1b]0;title\x07\nagent", 5
    )
    assert found["archiveReason"] == "Local launch failed: \\x1b[31mno\\x1b]0;title\\x07\\nagent"
