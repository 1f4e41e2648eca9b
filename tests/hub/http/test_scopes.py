"""The table of scopes: complete, and enforced on every route."""

from __future__ import annotations

import pytest

from hapi.hub.http.audit_rules import AUDITED
from hapi.hub.http.scopes import ROUTE_SCOPES, route_key
from hapi.protocol.token import Scope
from tests.support.access_tokens import create_token, request, web_token
from tests.support.hub_stage import Stage

SCOPES = [scope.value for scope in Scope]


def served() -> set[str]:
    """The keys of all routes of the hub."""
    return {
        route_key(method, rule.rule)
        for rule in Stage().hub.routes.iter_rules()
        for method in rule.methods
        if method not in ("HEAD", "OPTIONS")
    } | {"GET /api/events"}


def test_every_route_has_one_line_and_every_line_a_route() -> None:
    assert served() == set(ROUTE_SCOPES)


def test_only_health_readiness_login_the_description_and_what_was_shared_are_open_to_anybody() -> (
    None
):
    assert {key for key, scope in ROUTE_SCOPES.items() if scope is None} == {
        "GET /health",
        "GET /ready",
        "POST /api/auth",
        "POST /api/bind",
        "GET /api/openapi.json",
        "GET /api/share/<secret>",
        "POST /api/notifications/answer",  # its body has a token for this one answer
    }


def test_every_route_that_the_audit_records_exists() -> None:
    assert set(AUDITED) <= set(ROUTE_SCOPES)


def test_the_audit_records_all_that_takes_more_than_reading_and_writing() -> None:
    powerful = {
        key
        for key, scope in ROUTE_SCOPES.items()
        if scope in (Scope.APPROVE, Scope.SPAWN, Scope.ADMIN) and not key.startswith("GET ")
    }
    browsing = {
        "POST /api/machines/<machine_id>/list-directory",
        "POST /api/machines/<machine_id>/paths/exists",
    }
    assert powerful - set(AUDITED) == browsing


def test_programs_and_people_are_kept_apart() -> None:
    for key, scope in ROUTE_SCOPES.items():
        assert (scope is Scope.MACHINE) == (" /cli/" in key), key


@pytest.mark.parametrize("key", [key for key, scope in ROUTE_SCOPES.items() if scope is not None])
def test_a_route_refuses_a_token_with_all_scopes_but_the_one_it_needs(key: str) -> None:
    stage = Stage()
    needed = ROUTE_SCOPES[key]
    others = [scope for scope in SCOPES if scope != needed]
    if needed is Scope.READ:  # which comes with all other scopes of people
        others = ["machine"]
    token = create_token(stage, *others)["token"]
    method, _, path = key.partition(" ")
    path = (
        path.replace("<path>", "opencode-models" if method == "GET" else "effort")
        .replace("<", "")
        .replace(">", "")
    )
    bearer = token if path.startswith(("/cli", "/metrics")) else web_token(stage, token)
    answer = request(stage, bearer, method, path, {} if method != "GET" else None)
    assert answer.status == 403, answer
    assert answer.body["code"] == "scope_missing"
    assert answer.body["scope"] == needed


def test_head_needs_what_get_needs() -> None:
    stage = Stage()
    token = web_token(stage, create_token(stage, "machine")["token"])
    assert request(stage, token, "HEAD", "/api/sessions").status in (403, 404, 405)


@pytest.mark.parametrize("name", ["worktreeName", "model", "effort"])
def test_no_value_of_a_start_reaches_a_runner_as_an_option(name: str) -> None:
    """npm's runner would start `--cursor-worktree --yolo`, without the scope that approves."""
    stage = Stage()
    machine, runner = stage.machine()
    runner.serve(machine, "spawn-happy-session")
    token = web_token(stage, create_token(stage, "spawn")["token"])
    body = {"directory": "/d", "agent": "cursor", "sessionType": "worktree", name: "--yolo"}
    answer = request(stage, token, "POST", f"/api/machines/{machine}/spawn", body)
    assert f"{name} must not begin with a hyphen" in answer.body["message"]
    assert runner.calls == []


def test_starting_a_session_that_asks_for_nothing_needs_the_scope_that_approves() -> None:
    stage = Stage()
    stage.machine(name="m1")
    token = web_token(stage, create_token(stage, "spawn")["token"])
    for more in (
        {"yolo": True},
        {"permissionMode": "bypassPermissions"},
        {"copilotAgentMode": "autopilot"},
        {"permissionMode": "a mode of tomorrow"},
    ):
        body = {"directory": "/tmp", "agent": "demo", **more}
        answer = request(stage, token, "POST", "/api/machines/m1/spawn", body)
        assert (answer.status, answer.body["scope"]) == (403, "approve"), more


def test_resuming_a_session_in_another_mode_needs_the_scope_that_approves() -> None:
    stage = Stage()
    session_id = stage.session(flavor="claude")
    token = web_token(stage, create_token(stage, "spawn", "chat")["token"])
    body = {"permissionMode": "bypassPermissions"}
    path = f"/api/sessions/{session_id}"
    answer = request(stage, token, "POST", f"{path}/resume", body)
    assert (answer.status, answer.body["scope"]) == (403, "approve")


SPELLINGS = ("yolo", "YOLO", "Yolo!", "y o-l_o", " yolo", "auto-approve", "#yolo", "x#yolo")


@pytest.mark.parametrize("spelling", [*SPELLINGS, "--yolo", " --yolo", "-yolo"])
def test_no_spelling_of_a_mode_that_asks_for_nothing_is_resumed_without_the_scope_that_approves(
    spelling: str,
) -> None:
    stage = Stage()
    fresh = stage.session(flavor="opencode")
    kept = stage.session(flavor="opencode", tag="kept", preferredPermissionMode=spelling)
    machine, runner = stage.machine()
    runner.serve(machine, "spawn-happy-session")
    token = web_token(stage, create_token(stage, "spawn")["token"])
    answers = [
        request(stage, token, "POST", f"/api/sessions/{name}/{verb}", body)
        for name, verb, body in (
            (fresh, "resume", {"permissionMode": spelling}),
            (kept, "resume", {}),
            (kept, "reopen", {}),
        )
    ]
    refused = 403 if spelling in SPELLINGS else 400  # no mode is called so
    assert [answer.status for answer in answers] == [refused, 403, 403]
    assert runner.calls == []


@pytest.mark.parametrize("verb", ["resume", "reopen"])
@pytest.mark.parametrize(
    "reported",
    [
        {"permissionMode": "bypassPermissions"},
        {"permissionMode": "yolo"},
        {"collaborationMode": "a mode of tomorrow"},
        {"copilotAgentMode": "autopilot"},
    ],
)
def test_resuming_a_session_that_asked_for_nothing_needs_the_scope_that_approves(
    verb: str, reported: dict[str, str]
) -> None:
    stage = Stage()
    session_id, peer = stage.live(flavor="claude")
    stage.alive(peer, session_id, **reported)
    peer.send("session-end", {"sid": session_id, "time": stage.now()})
    path = f"/api/sessions/{session_id}/{verb}"
    codes = []
    for more in ("chat", "approve"):
        token = web_token(stage, create_token(stage, "spawn", more, name=more)["token"])
        codes.append(request(stage, token, "POST", path, {}).body["code"])
    assert codes == ["scope_missing", "no_machine_online"]


@pytest.mark.parametrize(
    "reported", [{"permissionMode": "yolo"}, {"collaborationMode": "a mode of tomorrow"}]
)
def test_forking_a_session_that_asks_for_nothing_needs_the_scope_that_approves(
    reported: dict[str, str],
) -> None:
    stage = Stage()
    session_id, peer = stage.live(flavor="claude")
    path = f"/api/sessions/{session_id}/fork"
    codes = []
    for modes, more in (({}, "chat"), (reported, "read"), (reported, "approve")):
        stage.alive(peer, session_id, **modes)
        token = web_token(stage, create_token(stage, "spawn", more, name=more)["token"])
        codes.append(request(stage, token, "POST", path, {}).status)
    assert codes == [409, 403, 409]  # 409: this agent cannot fork


def test_a_preferred_mode_that_asks_for_nothing_is_not_resumed_without_the_scope() -> None:
    stage = Stage()
    session_id = stage.session(flavor="claude", preferredPermissionMode="bypassPermissions")
    token = web_token(stage, create_token(stage, "spawn")["token"])
    path = f"/api/sessions/{session_id}"
    assert request(stage, token, "POST", f"{path}/reopen", {}).status == 403
    assert request(stage, token, "POST", f"{path}/resume", {}).status == 403
    asking = request(stage, token, "POST", f"{path}/resume", {"permissionMode": "default"})
    assert asking.body["code"] == "no_machine_online"


@pytest.mark.parametrize(
    "path", ["permission-mode", "option", "collaboration-mode", "copilot-agent-mode"]
)
def test_a_chat_token_cannot_lift_the_permissions_of_a_session(path: str) -> None:
    stage = Stage()
    session_id, peer = stage.live(flavor="copilot")
    token = web_token(stage, create_token(stage, "chat", "spawn")["token"])
    body = {"mode": "autopilot", "id": "x", "value": "y"}
    answer = request(stage, token, "POST", f"/api/sessions/{session_id}/{path}", body)
    assert (answer.status, answer.body["scope"]) == (403, "approve")
    assert peer.calls == []
