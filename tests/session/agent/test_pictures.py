"""Pictures of an agent: in its tools' results and in its answers, kept and shown in their place."""

from __future__ import annotations

import base64
import os
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.defer import Deferred, ensureDeferred, fail, maybeDeferred, succeed

from hapi.pictures import MAX_PICTURE_SIZE
from hapi.protocol.acp.pictures import Picture
from hapi.protocol.acp.updates import Text, ToolCall
from hapi.session.agent import pictures as session_pictures
from tests.support.pictures import png
from tests.support.session_stage import SessionStage

RED, BLUE = png(2, 2, b"\xff\0\0"), png(2, 2, b"\0\0\xff")


def block(content: bytes = RED, kind: str = "image", mime_type: str = "image/png") -> Any:
    return {"type": kind, "mimeType": mime_type, "data": base64.b64encode(content).decode()}


@pytest.fixture
def stage(home):
    stage = SessionStage(home).up()
    stage.session.pictures._in_thread = lambda call, *given: succeed(call(*given))
    stage.link.message("draw")
    yield stage
    stage.settle()


def update_tool(stage: SessionStage, *blocks: Any, call_id: str = "c1", **more: Any) -> None:
    content = [{"type": "content", "content": block} for block in blocks]
    stage.agent.update("tool_call_update", toolCallId=call_id, content=content, **more)


def shown(stage: SessionStage) -> list[Any]:
    return [record for record in stage.link.records if record["type"] == "generated-image"]


def statuses(stage: SessionStage) -> list[str]:
    return [record["message"] for record in stage.link.records if record["type"] == "message"]


async def read(stage: SessionStage, picture_id: Any) -> Any:
    return await ensureDeferred(stage.session.pictures.read({"id": picture_id}))


@pytest_twisted.ensureDeferred
async def test_a_picture_in_a_tools_result_follows_it_and_can_be_read(stage):
    stage.agent.update("tool_call", toolCallId="c1", title="Screenshot", status="in_progress")
    update_tool(stage, block(), status="completed")
    kinds = [record["type"] for record in stage.link.records]
    assert kinds[-3:] == ["tool-call", "tool-call-result", "generated-image"]
    (record,) = shown(stage)
    assert (record["fileName"], record["mimeType"], record["size"]) == (
        "picture.png",
        "image/png",
        len(RED),
    )
    assert record["source"] == {"ingress": "acp", "toolCallId": "c1"}
    assert await read(stage, record["imageId"]) == {
        "success": True,
        "content": base64.b64encode(RED).decode(),
        "mimeType": "image/png",
    }


def test_a_picture_that_each_update_of_a_call_repeats_is_shown_once(stage):
    for _ in range(3):
        update_tool(stage, block(RED), status="in_progress")
    update_tool(stage, block(RED), block(BLUE), status="completed")
    assert len(shown(stage)) == 2


def test_a_picture_in_the_content_and_in_the_raw_result_of_an_mcp_tool_is_shown_once(stage):
    raw = {"content": [{"type": "text", "text": "done"}, block(RED)]}
    update_tool(stage, block(RED), rawOutput=raw, status="completed")
    update_tool(stage, call_id="c2", rawOutput=raw, status="completed")
    assert len(shown(stage)) == 2


def test_a_picture_in_the_answer_stands_between_its_texts(stage):
    stage.agent.say("before")
    stage.agent.update("agent_message_chunk", content=block())
    stage.agent.say("after")
    stage.agent.finish()
    records = [record for record in stage.link.records if record["type"] != "ready"]
    assert [record.get("message", record["type"]) for record in records] == [
        "before",
        "generated-image",
        "after",
    ]


def test_a_large_picture_is_decoded_in_a_thread_and_the_next_update_waits_for_it(stage):
    calls: list[Any] = []

    def in_thread(call, *given):
        calls.append((Deferred(), call, given))
        return calls[-1][0]

    stage.session.pictures._in_thread = in_thread
    turns, large = stage.session.turns, block(RED + bytes(1 << 20))["data"]
    tool_call = ToolCall("c1", pictures=(Picture("image/png", large),))
    pending = turns.updated(tool_call)
    for count in (1, 2):  # its digest, then its content
        assert not pending.called
        assert len(calls) == count
        assert shown(stage) == []
        reading, call, given = calls[-1]
        maybeDeferred(call, *given).chainDeferred(reading)
    assert pending.called
    assert [record["size"] for record in shown(stage)] == [len(RED) + (1 << 20)]
    assert turns.updated(Text("after", None)) is None


@pytest.mark.parametrize("data", ["QUJ", "QUJD" * 400_000 + "QQ==" + "QUJD" * 400_000, "é" * 8])
def test_what_is_no_base64_is_refused_wherever_it_is_wrong(data):
    with pytest.raises(session_pictures.PictureRefused, match="not valid base64"):
        session_pictures.decode(Picture("image/png", data))


def test_a_large_picture_is_decoded_to_the_last_byte():
    for more in range(3):
        content = RED + os.urandom((5 << 20) + more)
        assert (
            session_pictures.decode(Picture("image/png", block(content)["data"])).content == content
        )


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ({"data": "%%%"}, "A picture of type image/png cannot be shown: its data is not valid"),
        ({"data": None}, "A picture of type image/png cannot be shown: its data is not valid"),
        (block(b"<html>"), "A picture of type image/png cannot be shown: its data is of another"),
        (
            {"data": "A" * (MAX_PICTURE_SIZE * 4 // 3 + 8)},
            "A picture of type image/png was not kept: it has 32M",
        ),
    ],
    ids=["no base64", "no data", "another type", "too large"],
)
def test_what_cannot_be_shown_is_told_in_words(stage, content, sentence):
    stage.agent.update(
        "agent_message_chunk", content={"type": "image", "mimeType": "image/png", **content}
    )
    assert shown(stage) == []
    assert statuses(stage)[-1].startswith(sentence)


def test_a_document_that_could_run_scripts_becomes_a_file_to_save(stage):
    svg = block(b"<svg onload=alert(1)>", mime_type="image/svg+xml")
    stage.agent.update("agent_message_chunk", content=svg)
    (record,) = shown(stage)
    assert (record["fileName"], record["mimeType"]) == ("picture.svg", "application/octet-stream")


def test_sounds_and_embedded_files_are_kept_with_their_names(stage):
    resource = {"uri": "file:///tmp/a%20b.png", "mimeType": "image/png", "blob": block()["data"]}
    stage.agent.update("agent_message_chunk", content=block(b"ID3...", "audio", "audio/mpeg"))
    stage.agent.update("agent_message_chunk", content={"type": "resource", "resource": resource})
    assert [(record["fileName"], record["mimeType"]) for record in shown(stage)] == [
        ("sound.mp3", "audio/mpeg"),
        ("a_b.png", "image/png"),
    ]


def test_a_disk_that_takes_no_picture_is_told(stage):
    stage.session.pictures._in_thread = lambda *_: fail(OSError(28, "No space left on device"))
    stage.agent.update("agent_message_chunk", content=block())
    assert statuses(stage)[-1] == "picture.png could not be kept: No space left on device"


@pytest_twisted.ensureDeferred
async def test_a_reader_that_is_quicker_than_the_disk_waits_for_it(stage):
    disk: Deferred[None] = Deferred()
    pictures = stage.session.pictures
    pictures._in_thread = lambda *_: disk
    stage.agent.update("agent_message_chunk", content=block())
    picture_id = shown(stage)[0]["imageId"]
    reading = ensureDeferred(pictures.read({"id": picture_id}))
    assert not reading.called
    pictures._in_thread = lambda call, *given: succeed(call(*given))
    pictures._store.store(picture_id, RED, "image/png")
    disk.callback(None)
    assert (await reading)["success"] is True


def test_a_name_of_the_agent_is_made_a_plain_file_name():
    found = session_pictures.decode(Picture("image/png", block()["data"], "../../.x/evil.png"))
    assert found.file_name == "evil.png"
