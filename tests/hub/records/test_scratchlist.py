"""What people keep beside a conversation, and the prompts that they have saved."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from hapi.hub.records.scratchlist import MAX_ENTRIES
from tests.support.hub_stage import EPOCH, Answer, Stage
from tests.support.records_stage import run

ENTRY = "11111111-1111-4111-8111-111111111111"
PNG = base64.b64encode(b"ten bytes.").decode()


@pytest.fixture
def stage() -> Stage:
    return Stage()


def at(session_id: str, rest: str = "") -> str:
    return f"/api/sessions/{session_id}/scratchlist{rest}"


def add(stage: Stage, session_id: str, **body: Any) -> Answer:
    return stage.rest("POST", at(session_id), body)


def texts(stage: Stage, session_id: str) -> list[str]:
    return [entry["text"] for entry in stage.get(at(session_id))["entries"]]


def upload(stage: Stage, session_id: str, **more: Any) -> Answer:
    body = {"filename": "a.png", "content": PNG, "mimeType": "image/png", **more}
    return stage.rest("POST", at(session_id, "/upload"), body)


def test_entries_are_listed_newest_first_and_changed_and_deleted(stage: Stage) -> None:
    session_id, page = stage.session(), stage.listen()
    assert stage.get(at(session_id)) == {"entries": []}
    one = add(stage, session_id, text="one")
    assert (one.status, one.body["entry"]["createdAt"]) == (201, EPOCH)
    stage.clock.advance(1)
    add(stage, session_id, text="two", entryId=ENTRY)
    again = add(stage, session_id, text="not this", entryId=ENTRY)
    assert (again.status, again.body["entry"]["text"]) == (200, "two")
    assert texts(stage, session_id) == ["two", "one"]
    changed = stage.rest("PUT", at(session_id, f"/{ENTRY}"), {"text": "two, changed"})
    assert changed.body["entry"] == {
        "entryId": ENTRY,
        "text": "two, changed",
        "createdAt": EPOCH + 1000,
        "updatedAt": EPOCH + 1000,
        "attachments": [],
    }
    assert stage.rest("DELETE", at(session_id, f"/{ENTRY}")).body == {"ok": True}
    assert stage.rest("DELETE", at(session_id, f"/{ENTRY}")).status == 404
    assert stage.rest("PUT", at(session_id, "/nope"), {"text": "x"}).body["error"] == (
        "Scratchlist entry not found"
    )
    told = [event["data"] for event in page.of("session-updated")]
    assert sum("scratchlistUpdatedAt" in data for data in told) == 4


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({}, "Scratchlist entry requires text or attachments"),
        ({"text": ""}, "Scratchlist entry requires text or attachments"),
        ({"text": "x", "attachments": [{"id": "unknown"}]}, "Unknown attachment"),
    ],
)
def test_an_entry_without_content_is_refused(stage: Stage, body: Any, message: str) -> None:
    answer = add(stage, stage.session(), **body)
    assert (answer.status, answer.body["error"]) == (400, "Invalid body")
    assert answer.body["issues"][0]["message"] == message


def test_too_long_too_many_and_empty_changes_are_refused(stage: Stage) -> None:
    session_id = stage.session()
    assert add(stage, session_id, text="x" * 10_001).status == 400
    entry = add(stage, session_id, text="x").body["entry"]["entryId"]
    assert stage.rest("PUT", at(session_id, f"/{entry}"), {}).body["issues"][0]["message"] == (
        "Update requires text and/or attachments"
    )
    assert stage.rest("PUT", at(session_id, f"/{entry}"), {"text": ""}).status == 400
    for _ in range(MAX_ENTRIES - 1):
        add(stage, session_id, text="x")
    full = add(stage, session_id, text="x")
    assert (full.status, full.body["code"]) == (409, "scratchlist_at_cap")


def test_a_file_is_kept_by_the_hub_until_no_entry_has_it(stage: Stage) -> None:
    session_id = stage.session()
    limits = stage.get(at(session_id, "/limits"))["limits"]
    assert (limits["maxBytesPerFile"], limits["maxAttachmentsPerEntry"]) == (10 << 20, 4)
    kept = upload(stage, session_id, filename="../../a b.png").body
    file = kept["attachment"]
    assert kept["success"] is True
    assert (file["filename"], file["size"]) == ("a b.png", 10)
    assert file["path"] == f"hapi-hub:scratchlist/default/{session_id}/{file['id']}-a b.png"
    entry = add(stage, session_id, attachments=[file]).body["entry"]
    assert entry["attachments"] == [file]
    read = stage.rest("GET", at(session_id, f"/attachments/{file['id']}"))
    assert (read.status, read.headers["content-type"]) == (200, "image/png")
    assert "sandbox" in read.headers["content-security-policy"]
    used = stage.rest("DELETE", at(session_id, f"/attachments/{file['id']}"))
    assert (used.status, used.body["code"]) == (409, "scratchlist_attachment_in_use")
    stage.rest("DELETE", at(session_id, f"/{entry['entryId']}"))
    assert stage.rest("DELETE", at(session_id, f"/attachments/{file['id']}")).status == 200
    assert stage.rest("GET", at(session_id, f"/attachments/{file['id']}")).status == 404


@pytest.mark.parametrize(
    ("more", "status"),
    [
        ({"mimeType": "text/html"}, 400),
        ({"content": "%%%"}, 400),
        ({"content": base64.b64encode(b"x" * ((10 << 20) + 1)).decode()}, 413),
    ],
)
def test_files_that_cannot_be_kept_are_refused(stage: Stage, more: Any, status: int) -> None:
    answer = upload(stage, stage.session(), **more)
    assert answer.status == status
    if status == 413:
        assert answer.body["code"] == "scratchlist_attachment_too_large"


def test_a_kept_file_goes_to_the_session_when_it_is_sent(stage: Stage) -> None:
    session_id, peer = stage.live()
    file = upload(stage, session_id).body["attachment"]
    peer.serve(session_id, "uploadFile")
    body = {"text": "look", "localId": "l", "attachments": [file]}
    pending = stage.begin("POST", f"/api/sessions/{session_id}/messages", body)
    (call,) = peer.events("rpc-request")
    params = json.loads(call["params"])
    assert (params["filename"], params["content"]) == ("a.png", PNG)
    peer.answer(json.dumps({"success": True, "path": "/tmp/up/a.png"}))
    assert stage.finish(pending).status == 200
    messages = stage.get(f"/api/sessions/{session_id}/messages")["messages"]
    sent = messages[0]["content"]["content"]["attachments"]
    assert sent == [{**file, "path": "/tmp/up/a.png"}]


def test_nobody_sees_the_scratchlist_of_another_namespace(stage: Stage) -> None:
    session_id = stage.session()
    add(stage, session_id, text="secret")
    assert stage.rest("GET", at(session_id), namespace="other").status == 403


def test_a_scratchlist_goes_into_the_export_and_away_with_its_session(stage: Stage) -> None:
    session_id = stage.session()
    add(stage, session_id, text="kept")
    exported = stage.get(f"/api/sessions/{session_id}/export")
    assert [entry["text"] for entry in exported["scratchlist"]] == ["kept"]
    assert stage.rest("DELETE", f"/api/sessions/{session_id}").status == 200
    assert run(stage.store.scratch_entries(session_id)) == []


def test_a_scratchlist_follows_a_session_that_is_merged_into_another(stage: Stage) -> None:
    old, new = stage.session(tag="old"), stage.session(tag="new")
    add(stage, old, text="kept", attachments=[upload(stage, old).body["attachment"]])
    row = next(each for each in run(stage.store.sessions()) if each.id == new)
    run(stage.store.merge_session(old, new, row))
    (entry,) = stage.get(at(new))["entries"]
    assert (entry["text"], len(entry["attachments"])) == ("kept", 1)


def test_prompts_are_saved_for_all_devices_of_a_namespace(stage: Stage) -> None:
    made = stage.rest("POST", "/api/prompts", {"text": "Run all tests.", "name": "tests"})
    assert made.status == 201
    prompt = made.body["prompt"]
    stage.clock.advance(1)
    stage.rest("POST", "/api/prompts", {"text": "Deploy."})
    listed = stage.get("/api/prompts")["prompts"]
    assert [each["text"] for each in listed] == ["Run all tests.", "Deploy."]
    assert stage.get("/api/prompts", namespace="other") == {"prompts": []}
    path = f"/api/prompts/{prompt['id']}"
    assert stage.rest("PUT", path, {"name": "all tests"}).body["prompt"] == {
        **prompt,
        "name": "all tests",
        "updatedAt": EPOCH + 1000,
    }
    assert stage.rest("PUT", path, {"name": "x"}, namespace="other").status == 404
    assert stage.rest("DELETE", path, namespace="other").status == 404
    assert stage.rest("DELETE", path).body == {"ok": True}
    assert stage.rest("DELETE", path).status == 404
    assert stage.rest("POST", "/api/prompts", {"text": ""}).status == 400
