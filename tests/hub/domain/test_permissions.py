"""Permission requests answered over REST: the first answer counts, and those who come too late are
told so.
"""

import json
from typing import Any
from urllib.parse import quote

import pytest

from tests.support.hub_stage import MemoryPeer, Stage

ODD_IDS = [
    "turn/call",  # kimi
    "/",
    "a//b/",
    "a b+c&d=e?f#g;h:i",
    "100%",
    "%2F",
    "..%2f..",
    "日本語 🎈",
    "line\nbreak\x00",
    "x" * 3000,
]
REQUEST = {"tool": "Bash", "arguments": {}, "createdAt": 1}


def asking(stage: Stage) -> tuple[str, MemoryPeer]:
    session, peer = stage.live()
    peer.serve(session, "permission")
    show(peer, session, {"r1": REQUEST}, 1)
    return session, peer


def show(peer: MemoryPeer, session: str, requests: dict[str, Any], version: int) -> None:
    told = peer.ask(
        "update-state",
        {"sid": session, "expectedVersion": version, "agentState": {"requests": requests}},
    )
    assert told["result"] == "success"


@pytest.mark.parametrize("late", ["approve", "deny"])
def test_of_two_answers_at_once_the_later_one_hears_that_nothing_waits_any_more(late: str) -> None:
    stage = Stage()
    session, peer = asking(stage)
    path = f"/api/sessions/{session}/permissions/r1"
    first = stage.begin("POST", f"{path}/approve", {})
    second = stage.rest("POST", f"{path}/{late}", {})
    assert (second.status, second.body) == (404, {"error": "Request not found"})
    assert len(peer.calls) == 1
    peer.answer("{}")
    assert stage.finish(first).status == 200
    third = stage.rest(
        "POST", f"{path}/{late}", {}
    )  # the session has not taken it out of its state yet
    assert third.status == 404
    assert peer.calls == []


def test_an_answer_that_did_not_arrive_may_be_given_again() -> None:
    stage = Stage()
    session, peer = asking(stage)
    path = f"/api/sessions/{session}/permissions/r1/deny"
    first = stage.begin("POST", path, {})
    for _ in range(4):
        stage.tick(10)
        stage.alive(peer, session)
    assert stage.finish(first).status == 500
    again = stage.begin("POST", path, {})
    peer.answer("{}")
    assert stage.finish(again).status == 200


def test_a_later_request_of_the_same_name_is_another_one() -> None:
    stage = Stage()
    session, peer = asking(stage)
    path = f"/api/sessions/{session}/permissions/r1/approve"
    for version, created in ((2, 2), (3, 3)):
        pending = stage.begin("POST", path, {})
        peer.answer("{}")
        assert stage.finish(pending).status == 200
        show(peer, session, {"r1": {**REQUEST, "createdAt": created}}, version)
    assert stage.rest("POST", path, {"decision": "nonsense"}).status == 400


@pytest.mark.parametrize("verdict", ["approve", "deny"])
@pytest.mark.parametrize("request_id", ODD_IDS)
def test_a_request_of_any_id_is_answered(request_id: str, verdict: str) -> None:
    stage = Stage()
    session, peer = stage.live()
    peer.serve(session, "permission")
    show(peer, session, {request_id: REQUEST}, 1)
    path = f"/api/sessions/{session}/permissions/{quote(request_id, safe='')}/{verdict}"
    pending = stage.begin("POST", path, {})
    assert [json.loads(call["params"])["id"] for _, _, call in peer.calls] == [request_id]
    peer.answer("{}")
    assert stage.finish(pending).status == 200


@pytest.mark.parametrize("name", ODD_IDS[:-1])  # the names of machines are at most 255 long
def test_machines_and_queued_prompts_of_any_id_are_found(name: str) -> None:
    stage = Stage()
    stage.machine(name=name)
    encoded = quote(name, safe="")
    assert stage.get(f"/cli/machines/{encoded}")["machine"]["id"] == name
    answer = stage.rest("PATCH", f"/api/machines/{encoded}", {"displayName": "Desk"})
    assert answer.status == 200, answer
    session, _ = stage.live()
    path = f"/api/sessions/{session}/messages"
    assert stage.rest("POST", path, {"text": "hi", "localId": name}).status == 200
    cancelled = stage.begin("DELETE", f"{path}/{encoded}")
    stage.tick(30)
    assert "status" in stage.finish(cancelled).body


def test_a_slash_that_is_not_encoded_separates_segments() -> None:
    stage = Stage()
    session, peer = asking(stage)
    show(peer, session, {"a/b": REQUEST}, 2)
    answer = stage.rest("POST", f"/api/sessions/{session}/permissions/a/b/approve", {})
    assert answer.status == 404
    assert peer.calls == []


def test_a_route_may_be_written_with_escape_sequences() -> None:
    """RFC 3986, section 6.2.2.2: an encoded unreserved character is the same path."""
    stage = Stage()
    session, _ = stage.live()
    assert stage.rest("GET", f"/api/%73essions/{session}").status == 200


def test_an_answer_that_the_session_refuses_fails_in_its_words_and_may_be_given_again() -> None:
    stage = Stage()
    session, peer = asking(stage)
    path = f"/api/sessions/{session}/permissions/r1/approve"
    first = stage.begin("POST", path, {"decision": "approved"})
    peer.answer('{"error": "Choose one of its options: Red, Blue"}')
    refused = stage.finish(first)
    assert (refused.status, refused.body["error"]) == (409, "Choose one of its options: Red, Blue")
    again = stage.begin("POST", path, {"optionId": "red"})
    assert json.loads(peer.calls[-1][2]["params"])["optionId"] == "red"
    peer.answer("null")
    assert stage.finish(again).status == 200


def test_the_reason_of_a_denial_and_the_option_reach_the_session() -> None:
    stage = Stage()
    session, peer = asking(stage)
    body = {"optionId": "no", "reason": "Not now"}
    pending = stage.begin("POST", f"/api/sessions/{session}/permissions/r1/deny", body)
    assert json.loads(peer.calls[-1][2]["params"]) == {"id": "r1", "approved": False, **body}
    peer.answer("null")
    assert stage.finish(pending).status == 200


# --- rules

RULES = [
    {"id": "a/1", "kind": "execute", "command": "make", "createdAt": 5},
    {"id": "b", "kind": "edit", "paths": ["/w/a"], "createdAt": 6},
]


def test_the_rules_of_a_session_are_listed_with_it_and_by_themselves() -> None:
    stage = Stage()
    session = stage.session(permissionRules=[*RULES, "odd"])
    assert stage.get(f"/api/sessions/{session}/permission-rules") == {"rules": RULES}
    shown = stage.get(f"/api/sessions/{session}")["session"]["metadata"]["permissionRules"]
    assert shown[:2] == RULES


def test_a_rule_of_a_running_session_is_removed_by_the_session() -> None:
    stage = Stage()
    session, peer = stage.live(permissionRules=RULES)
    peer.serve(session, "remove-permission-rule")
    pending = stage.begin("DELETE", f"/api/sessions/{session}/permission-rules/a%2F1")
    assert json.loads(peer.calls[-1][2]["params"]) == {"id": "a/1"}
    peer.answer(json.dumps({"success": True, "rules": RULES[1:]}))
    assert stage.finish(pending).body == {"rules": RULES[1:]}


def test_a_rule_of_a_session_that_has_ended_is_removed_by_the_hub() -> None:
    stage = Stage()
    session = stage.session(permissionRules=RULES)
    path = f"/api/sessions/{session}/permission-rules"
    assert stage.rest("DELETE", f"{path}/a%2F1").body == {"rules": RULES[1:]}
    assert stage.get(path) == {"rules": RULES[1:]}
    assert stage.rest("DELETE", f"{path}/a%2F1").status == 404


def test_rules_of_other_namespaces_are_out_of_reach() -> None:
    stage = Stage()
    session = stage.session(permissionRules=RULES)
    path = f"/api/sessions/{session}/permission-rules"
    assert stage.rest("GET", path, namespace="other").status in (403, 404)
    assert stage.rest("DELETE", f"{path}/b", namespace="other").status in (403, 404)
