"""Real agents below our session program: what they remember, what they are told, how they end."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.support.peers import NPM, OURS, Refused, User
from tests.support.programs import until

pytestmark = [pytest.mark.peer("hapi", "opencode", "claude")]
AGENTS = {"opencode": "opencodeSessionId", "claude": "claudeSessionId"}


@pytest.fixture(params=[OURS, NPM], ids=lambda make: f"{make}-hub")
def user(request, cast) -> User:
    return cast.hub(request.param)[1]


@pytest.mark.parametrize("agent", AGENTS)
def test_a_command_is_run_when_it_is_approved_and_not_when_it_is_denied(cast, user, agent):
    running = cast.runner(OURS, user)
    directory = cast.directory("project")
    sid = user.started(running.machine_id, directory, agent)

    user.say(sid, "Please run: touch denied && echo so-$((20+1))")
    request_id, _ = user.asked(sid)
    user.deny(sid, request_id)
    user.idle(sid)
    assert not (directory / "denied").exists()
    assert user.session(sid)["agentState"]["completedRequests"][request_id]["status"] == "denied"

    user.say(sid, "Please run: touch approved && echo so-$((21+1))")
    request_id, _ = user.asked(sid)
    user.approve(sid, request_id)
    user.heard(sid, "Output: so-22")
    user.idle(sid)
    assert (directory / "approved").exists()
    assert user.session(sid)["metadata"][AGENTS[agent]]


@pytest.mark.parametrize("agent", AGENTS)
def test_a_reopened_session_remembers_what_was_said(cast, user, model, agent):
    running = cast.runner(OURS, user)
    sid = user.started(running.machine_id, cast.directory("project"), agent)
    user.say(sid, "The word is rhubarb")
    user.heard(sid, "You said: The word is rhubarb")
    user.idle(sid)
    user.post(f"/api/sessions/{sid}/archive")
    user.archived(sid)

    resumed = user.post(f"/api/sessions/{sid}/reopen")["sessionId"]
    until(lambda: user.session(resumed)["active"])
    user.say(resumed, "What was it")
    user.heard(resumed, "You said: What was it")
    user.idle(resumed)
    turns = [json.dumps(request["messages"]) for request in model.requests if request.get("tools")]
    assert "The word is rhubarb" in next(
        messages for messages in turns if "What was it" in messages
    )
    assert user.texts(resumed).count("You said: The word is rhubarb") == 1
    assert [row["id"] for row in user.sessions()] == [resumed]
    assert user.session(resumed)["metadata"]["lifecycleState"] == "running"


@pytest.mark.parametrize(
    ("agent", "tool"),
    [("opencode", "hapi_change_title"), ("claude", "mcp__hapi__change_title")],
)
def test_an_agent_offers_the_tools_of_its_session_to_its_model(cast, model, agent, tool):
    user = cast.hub(OURS)[1]
    running = cast.runner(OURS, user)
    sid = user.started(running.machine_id, cast.directory("project"), agent)
    user.say(sid, "Hello")
    user.heard(sid, "You said: Hello")
    assert tool in json.dumps([request.get("tools") for request in model.requests])


def test_the_model_and_the_permission_mode_change_while_the_session_runs(cast, user, model):
    running = cast.runner(OURS, user)
    directory = cast.directory("project")
    sid = user.started(running.machine_id, directory, "opencode")
    user.say(sid, "Hello")
    user.heard(sid, "You said: Hello")
    user.idle(sid)

    user.post(f"/api/sessions/{sid}/permission-mode", {"mode": "yolo"})
    until(lambda: user.session(sid)["permissionMode"] == "yolo")
    user.say(sid, "Please run: touch unasked")
    until((directory / "unasked").exists, what="a command run without a question")
    user.idle(sid)

    user.post(f"/api/sessions/{sid}/model", {"model": "scripted/other"})
    until(lambda: user.session(sid)["model"] == "scripted/other")
    user.say(sid, "Another one")
    user.heard(sid, "You said: Another one")
    turns = [request for request in model.requests if request.get("tools")]
    assert (
        next(turn["model"] for turn in turns if "Another one" in json.dumps(turn["messages"]))
        == "other"
    )

    with pytest.raises(Refused) as refused:
        user.post(f"/api/sessions/{sid}/permission-mode", {"mode": "acceptEdits"})
    assert refused.value.status == 400


def test_sessions_that_start_opencode_at_once_in_a_fresh_home_all_answer(cast):
    """OpenCode makes its database at its first start; processes that do so together may fail."""
    _, user = cast.hub(OURS)
    running = cast.runner(OURS, user)
    directory = cast.directory("project")
    with ThreadPoolExecutor(3) as together:
        starts = [
            together.submit(user.started, running.machine_id, directory, "opencode")
            for _ in range(3)
        ]
        sessions = [start.result() for start in starts]
    for sid in sessions:
        user.say(sid, "Hello")
    for sid in sessions:
        user.heard(sid, "You said: Hello")


def test_a_model_that_fails_is_told_and_the_session_lives_on(cast, user):
    running = cast.runner(OURS, user)
    sid = user.started(running.machine_id, cast.directory("project"), "opencode")
    user.say(sid, "fail please")
    user.idle(sid)
    told = [
        str(record)
        for record in user.records(sid)
        if record["type"] in ("event", "error", "message")
    ]
    assert any("out of order" in text for text in told), told
    user.say(sid, "And now")
    user.heard(sid, "You said: And now")


def test_a_missing_agent_a_missing_directory_and_a_bad_request_are_refused_in_words(cast, user):
    running = cast.runner(OURS, user)
    machine = running.machine_id
    assert user.spawn(machine, cast.directory("project"), "grok") == {
        "type": "error",
        "code": "agent_unavailable",
        "agent": "grok",
        "message": user.spawn(machine, cast.directory("project"), "grok")["message"],
    }
    problem = until(lambda: (user.machine(machine)["runnerState"] or {}).get("lastSpawnError"))
    assert "grok" in problem["message"]
    (cast.path / "file").write_text("")
    in_the_way = user.spawn(machine, cast.path / "file", "opencode")
    assert in_the_way["type"] == "error"
    assert str(cast.path / "file") in in_the_way["message"]
    with pytest.raises(Refused) as refused:
        user.post(f"/api/machines/{machine}/spawn", {"agent": "opencode"})
    assert refused.value.status == 400
