"""Share links: what they show, to whom, and until when."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hapi.hub.records.shared_content import shared_content
from hapi.hub.records.sharing import DEFAULT_LIFETIME, MAX_LIFETIME, MAX_LINKS, READS
from tests.support.access_tokens import create_token, request, web_token
from tests.support.hub_stage import EPOCH, Stage
from tests.support.records_stage import add_message, add_session, answer, prompt, record, run

SECRETS = {
    "attachment": {
        "role": "user",
        "content": {
            "type": "text",
            "text": "look at this",
            "attachments": [{"filename": "plan.pdf", "path": "/home/me/PRIVATE/plan.pdf"}],
        },
        "meta": {"sentFrom": "PRIVATE"},
    },
    "tool": record(type="tool-call", callId="c", name="Bash", input={"command": "cat PRIVATE"}),
    "output": record(type="tool-call-result", callId="c", output="PRIVATE"),
    "thought": record(type="reasoning", id="r", message="PRIVATE"),
    "count": record(type="token_count", model="PRIVATE"),
    "unknown": record(type="something-new", message="PRIVATE"),
    "picture": record(type="generated-image", imageId="PRIVATE", fileName="cat.png"),
    "event": {"role": "agent", "content": {"type": "event", "data": {"type": "x", "y": "PRIVATE"}}},
    "summary": {
        "role": "agent",
        "content": {"type": "output", "data": {"type": "summary", "summary": "PRIVATE"}},
    },
}


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    stage = Stage(audit_directory=tmp_path)
    add_session(stage.store, "s1", path="/home/me/PRIVATE", name="My talk", flavor="opencode")
    add_session(stage.store, "foreign", namespace="other")
    add_message(stage.store, prompt("hello"), "s1", name="m1")
    add_message(stage.store, answer("Hi, how can I help?"), "s1", name="m2")
    run(stage.registry.load())
    return stage


def share(stage: Stage, session: str = "s1", **body: Any) -> dict[str, Any]:
    reply = stage.rest("POST", f"/api/sessions/{session}/share-links", body)
    assert reply.status == 201, reply
    return dict(reply.body)


def read(stage: Stage, link: dict[str, Any], query: str = "", **headers: str) -> Any:
    path = "/api" + link["path"] + query
    return stage.rest("GET", path, None, None, **headers)


def texts(reply: Any) -> list[str]:
    return [json.dumps(message["content"]) for message in reply.body["messages"]]


def test_a_link_shows_the_conversation_without_a_token(stage: Stage) -> None:
    reply = read(stage, share(stage))
    assert reply.status == 200
    assert [message["id"] for message in reply.body["messages"]] == ["m1", "m2"]
    assert (reply.body["title"], reply.body["agent"]) == ("My talk", "opencode")
    assert reply.body["cursor"] is None
    assert reply.headers["cache-control"] == "no-store"
    assert reply.headers["x-robots-tag"] == "noindex, nofollow"
    assert reply.headers["referrer-policy"] == "no-referrer"
    assert "PRIVATE" not in json.dumps(reply.body)


def test_a_link_shows_no_secrets_unless_they_are_asked_for(stage: Stage) -> None:
    for content in SECRETS.values():
        add_message(stage.store, content, "s1")
    shown = "".join(texts(read(stage, share(stage))))
    assert "PRIVATE" not in shown
    assert "plan.pdf" in shown
    assert "cat.png" in shown
    shown = "".join(texts(read(stage, share(stage, includesTools=True))))
    assert shown.count("PRIVATE") == 2
    shown = "".join(texts(read(stage, share(stage, includesThoughts=True))))
    assert shown.count("PRIVATE") == 1


def test_what_is_said_later_is_shown_only_if_that_was_asked_for(stage: Stage) -> None:
    now, growing = share(stage), share(stage, includesLater=True)
    add_message(stage.store, answer("later"), "s1", name="m3")
    waiting = {"local_id": "L", "invoked_at": None}
    add_message(stage.store, prompt("not sent yet"), "s1", name="m4", **waiting)
    assert len(read(stage, now).body["messages"]) == 2
    assert [m["id"] for m in read(stage, growing).body["messages"]] == ["m1", "m2", "m3"]


def test_a_link_outlives_the_token_that_made_it_and_the_audit_tells_whose_it_is(
    stage: Stage,
) -> None:
    token = create_token(stage, "admin", name="desk")
    page = web_token(stage, token["token"])
    link = request(stage, page, "POST", "/api/sessions/s1/share-links", {}).body
    assert stage.rest("DELETE", f"/api/tokens/{token['id']}").status == 200
    assert read(stage, link).status == 200
    (entry,) = stage.get("/api/audit?action=share")["entries"]
    assert (entry["subject"], entry["facts"]) == ({"session": "s1"}, {"id": link["id"]})
    assert (entry["actor"], entry["tokenId"]) == ("desk", token["id"])
    path = f"/api/sessions/s1/share-links/{link['id']}"
    assert stage.rest("DELETE", path).status == 200
    assert read(stage, link).status == 404


def test_a_link_ends_when_it_expires_or_is_revoked_or_its_session_goes(stage: Stage) -> None:
    short, revoked, kept = share(stage, expiresIn=60_000), share(stage), share(stage)
    listed = stage.rest("GET", "/api/sessions/s1/share-links").body["links"]
    assert [link["id"] for link in listed] == [short["id"], revoked["id"], kept["id"]]
    assert "path" not in listed[0]
    stage.clock.advance(61)
    path = f"/api/sessions/s1/share-links/{revoked['id']}"
    assert stage.rest("DELETE", path).status == 200
    assert stage.rest("DELETE", path).status == 404
    gone = [read(stage, link) for link in (short, revoked, {"path": "/share/guessed"})]
    assert {(reply.status, reply.body["error"]) for reply in gone} == {
        (404, "This link does not exist, has expired or was revoked")
    }
    assert len(stage.rest("GET", "/api/sessions/s1/share-links").body["links"]) == 1
    assert read(stage, kept).status == 200
    assert stage.rest("DELETE", "/api/sessions/s1").status == 200
    assert read(stage, kept).status == 404


@pytest.mark.parametrize("lifetime", [0, -1, MAX_LIFETIME + 1, "1d"])
def test_a_link_expires_within_ninety_days(stage: Stage, lifetime: Any) -> None:
    body = {"expiresIn": lifetime}
    assert stage.rest("POST", "/api/sessions/s1/share-links", body).status == 400
    assert share(stage)["expiresAt"] == EPOCH + DEFAULT_LIFETIME


def test_a_session_has_a_limited_number_of_links(stage: Stage) -> None:
    for _ in range(MAX_LINKS):
        share(stage)
    reply = stage.rest("POST", "/api/sessions/s1/share-links", {})
    assert (reply.status, reply.body["code"]) == (409, "too_many_links")


def test_only_who_administers_the_hub_shares_and_only_what_is_theirs(stage: Stage) -> None:
    chatting = web_token(stage, create_token(stage, "chat", "read")["token"])
    path = "/api/sessions/s1/share-links"
    assert request(stage, chatting, "POST", path, {}).status == 403
    assert request(stage, chatting, "GET", path).status == 200
    assert stage.rest("POST", "/api/sessions/foreign/share-links", {}).status == 403
    assert stage.rest("POST", path, {}, None).status == 401


def test_the_secret_of_a_link_is_stored_nowhere(stage: Stage, tmp_path: Path) -> None:
    link = share(stage)
    secret = link["path"].rpartition("/")[2]
    assert len(secret) == 32
    read(stage, link)
    stage.rest("DELETE", f"/api/sessions/s1/share-links/{link['id']}")
    share(stage)
    rows = stage.store.database.read_now("SELECT * FROM share_links")
    dump = str([tuple(row) for row in rows])
    log = (tmp_path / "audit.jsonl").read_text()
    assert secret not in dump
    assert secret not in log
    assert [json.loads(line)["action"] for line in log.splitlines()] == [
        *("share", "share-revoke", "share")
    ]


def test_a_link_opens_nothing_else(stage: Stage) -> None:
    secret = share(stage)["path"].rpartition("/")[2]
    for path in ("/api/sessions", "/api/sessions/s1", "/api/sessions/s1/messages"):
        reply = stage.rest("GET", path, None, None, Authorization=f"Bearer {secret}")
        assert reply.status == 401


def test_pages_of_a_long_conversation_follow_each_other(stage: Stage) -> None:
    for number in range(3, 260):
        add_message(stage.store, answer(f"text {number}"), "s1", name=f"m{number}")
    link, seen, query = share(stage), [], ""
    for _ in range(10):
        body = read(stage, link, query).body
        seen += [message["id"] for message in body["messages"]]
        if body["cursor"] is None:
            break
        query = f"?cursor={body['cursor']}"
    assert seen == [f"m{number}" for number in range(1, 260)]
    assert read(stage, link, "?cursor=x").status == 400


def test_reading_is_limited_by_address(stage: Stage) -> None:
    link = share(stage)
    replies = [read(stage, link).status for _ in range(READS.burst + 1)]
    assert replies[-2:] == [200, 429]
    stage.clock.advance(2)
    assert read(stage, link).status == 200


def test_a_merge_keeps_the_links_and_what_they_show(stage: Stage) -> None:
    add_session(stage.store, "s2")
    add_message(stage.store, answer("new"), "s2", name="n1")
    run(stage.registry.load())
    old, new = share(stage), share(stage, "s2")
    add_message(stage.store, answer("newer"), "s2", name="n2")
    row = next(row for row in run(stage.store.sessions()) if row.id == "s2")
    run(stage.store.merge_session("s1", "s2", row))
    assert [m["id"] for m in read(stage, old).body["messages"]] == ["m1", "m2"]
    assert [m["id"] for m in read(stage, new).body["messages"]] == ["m1", "m2", "n1"]


WORDS = st.sampled_from(
    ["user", "agent", "codex", "output", "event", "message", "assistant", "tool_use", "SECRET"]
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | WORDS,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["role", "content", "type", "data", "message", "text", "attachments"]),
            inner,
            max_size=6,
        )
    ),
    max_leaves=15,
)


@given(JSON, st.booleans(), st.booleans())
def test_no_content_makes_sharing_fail(content: Any, tools: bool, thoughts: bool) -> None:
    shown = shared_content(content, tools, thoughts)
    assert shown is None or set(shown) == {"role", "content"}
