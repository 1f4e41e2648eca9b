"""The routes for a session's repository: what they ask of its process, and who may use them."""

from __future__ import annotations

import json

import pytest

from tests.support.hub_stage import Answer, Stage

BODIES = {
    "git-stage": {"paths": ["a"], "staged": False},
    "git-discard": {"paths": ["a"]},
    "git-commit": {"message": "Change a"},
    "git-push": {},
}


def asked(stage: Stage, method: str, path: str, body: object = None) -> tuple[object, Answer]:
    """The parameters that a live session gets for a request, and the reply to it; None if the
    session is not asked."""
    session, peer = stage.live()
    name = path.partition("?")[0]
    peer.serve(session, name)
    pending = stage.begin(method, f"/api/sessions/{session}/{path}", body)
    params = json.loads(peer.calls[0][2]["params"]) if peer.calls else None
    if peer.calls:
        peer.answer({"success": True})
    return params, stage.finish(pending)


@pytest.mark.parametrize("action", BODIES)
def test_an_action_reaches_the_session_where_the_hub_allows_it(action):
    params, answer = asked(Stage(git_actions=True), "POST", action, BODIES[action])
    assert (answer.status, answer.body) == (200, {"success": True})
    assert params == BODIES[action]


@pytest.mark.parametrize("action", BODIES)
def test_a_hub_without_git_actions_refuses_them(action):
    stage = Stage()
    params, answer = asked(stage, "POST", action, BODIES[action])
    assert (answer.status, answer.body["code"]) == (403, "git_actions_off")
    assert "--git-actions yes" in answer.body["error"]
    assert params is None
    params, answer = asked(stage, "GET", "git-actions")
    assert (params, answer.body["enabled"]) == (None, False)


@pytest.mark.parametrize(
    ("action", "body"),
    [
        ("git-stage", {}),
        ("git-stage", {"paths": []}),
        ("git-discard", {"paths": [""]}),
        ("git-commit", {"message": " \n "}),
        ("git-commit", {"message": "x" * 20_001}),
    ],
)
def test_a_malformed_action_is_refused(action, body):
    params, answer = asked(Stage(git_actions=True), "POST", action, body)
    assert (params, answer.status) == (None, 400)


def test_a_session_that_knows_no_history_says_so():
    stage = Stage()
    session, _ = stage.live()
    stage.tick(6)  # it may still register its methods before
    answer = stage.rest("GET", f"/api/sessions/{session}/git-log")
    assert answer.status == 200
    assert "RPC handler not registered" in answer.body["error"]


def test_the_history_is_asked_for_in_parts():
    params, _ = asked(Stage(), "GET", "git-log?limit=200&skip=20")
    assert params == {"limit": 200, "skip": 20, "path": None}


@pytest.mark.parametrize("query", ["limit=-1", "limit=0", "limit=201", "limit=x", "skip=-5"])
def test_a_wrong_number_of_commits_is_refused(query):
    params, answer = asked(Stage(), "GET", f"git-log?{query}")
    assert (params, answer.status) == (None, 400)


def test_actions_are_in_the_audit(tmp_path):
    stage = Stage(git_actions=True, audit_directory=tmp_path)
    asked(stage, "POST", "git-discard", BODIES["git-discard"])
    (entry,) = stage.get("/api/audit")["entries"]
    assert (entry["action"], entry["facts"]) == ("git-discard", {"paths": "a", "success": True})
