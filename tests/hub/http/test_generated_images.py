"""The images that a session's process hands to a page: bitmaps, in one normal form, or nothing."""

from __future__ import annotations

import base64
import hashlib
import json
from typing import Any

import pytest

from hapi.hub.http.pictures import MAX_READS
from hapi.pictures import MAX_PICTURE_SIZE, PIECE_SIZE
from hapi.protocol import rpc_methods
from tests.support.hub_stage import Answer, Stage

CONTENT = base64.b64encode(b"<svg onload=alert(1)>").decode()


def image_of(kind: Any) -> Answer:
    """The reply to a page when the session's process says that the image is of `kind`."""
    stage = Stage()
    session, peer = stage.live()
    peer.serve(session, rpc_methods.READ_GENERATED_IMAGE)
    pending = stage.begin("GET", f"/api/sessions/{session}/generated-images/i")
    peer.answer({"success": True, "content": CONTENT, "mimeType": kind})
    return stage.finish(pending)


def picture_of_machine(stage: Stage, session: str, namespace: str = "default") -> Answer:
    """The reply to a page about a session without a process, with a machine that has pictures."""
    machine, peer = stage.machine(namespace)
    peer.serve(machine, rpc_methods.READ_GENERATED_IMAGE)
    pending = stage.begin("GET", f"/api/sessions/{session}/generated-images/i")
    if peer.calls:
        assert json.loads(peer.calls[0][2]["params"]) == {
            "sessionId": session,
            "id": "i",
            "offset": 0,
            "limit": PIECE_SIZE,
        }
        peer.answer({"success": True, "content": CONTENT, "mimeType": "image/png"})
    return stage.finish(pending)


@pytest.mark.parametrize(
    "kind",
    [
        "image/svg+xml",
        "image/SVG+xml",
        "IMAGE/svg+XML; charset=utf-8",
        " image/svg+xml",
        "image/x-svg",
        "image/xml",
        "image/anything",
        "text/html",
        "image/png\r\nContent-Type: text/html",
        "image/png, text/html",
        "image/",
        None,
        7,
    ],
)
def test_what_is_no_bitmap_is_not_sent(kind: Any) -> None:
    assert image_of(kind).status == 404


@pytest.mark.parametrize(
    ("kind", "sent"), [("image/png", "image/png"), ("Image/JPEG; q=1", "image/jpeg")]
)
def test_a_bitmap_is_sent_with_its_type_and_may_run_nothing(kind: str, sent: str) -> None:
    answer = image_of(kind)
    assert answer.status == 200
    assert answer.headers["content-type"] == sent
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["content-security-policy"] == "default-src 'none'; sandbox"


def test_a_file_that_is_no_bitmap_may_only_be_saved() -> None:
    answer = image_of("application/octet-stream")
    assert (answer.status, answer.headers["content-disposition"]) == (200, "attachment")
    assert answer.headers["x-content-type-options"] == "nosniff"


def test_a_recording_is_sent_with_its_type() -> None:
    answer = image_of("video/mp4")
    assert (answer.status, answer.headers["content-type"]) == (200, "video/mp4")


def test_the_machine_serves_the_pictures_of_a_session_that_has_ended() -> None:
    stage = Stage()
    session = stage.session(machineId="m1")
    answer = picture_of_machine(stage, session)
    assert (answer.status, answer.headers["content-type"]) == (200, "image/png")


def test_a_large_picture_is_read_in_pieces() -> None:
    stage = Stage()
    session, peer = stage.live()
    peer.serve(session, rpc_methods.READ_GENERATED_IMAGE)
    pending = stage.begin("GET", f"/api/sessions/{session}/generated-images/i")
    pieces, offset = (b"a" * PIECE_SIZE, b"b" * PIECE_SIZE, b"c"), 0
    for piece in pieces:
        asked = json.loads(peer.calls[-1][2]["params"])
        assert asked == {"id": "i", "offset": offset, "limit": PIECE_SIZE}
        offset += len(piece)
        content = base64.b64encode(piece).decode()
        size = 2 * PIECE_SIZE + 1
        peer.answer({"success": True, "content": content, "mimeType": "image/png", "size": size})
    tag = hashlib.sha256(b"".join(pieces)).hexdigest()[:32]
    answer = stage.finish(pending)
    assert (answer.status, answer.headers["etag"]) == (200, f'"{tag}"')


@pytest.mark.parametrize("size", [2 * MAX_PICTURE_SIZE, PIECE_SIZE + 1])
def test_pieces_without_end_are_given_up(size: int) -> None:
    stage = Stage()
    session, peer = stage.live()
    peer.serve(session, rpc_methods.READ_GENERATED_IMAGE)
    pending = stage.begin("GET", f"/api/sessions/{session}/generated-images/i")
    full = base64.b64encode(bytes(PIECE_SIZE)).decode()
    count = MAX_PICTURE_SIZE // PIECE_SIZE + 1 if size > MAX_PICTURE_SIZE else 1
    for content in [full] * count + ([] if count > 1 else [""]):
        peer.answer({"success": True, "content": content, "mimeType": "image/png", "size": size})
    assert stage.finish(pending).status == 404


def test_few_pictures_of_a_namespace_are_read_at_once_and_the_others_wait() -> None:
    stage = Stage()
    session, peer = stage.live()
    other, stranger = stage.live("other")
    for each, name in ((peer, session), (stranger, other)):
        each.serve(name, rpc_methods.READ_GENERATED_IMAGE)
    path = f"/api/sessions/{session}/generated-images/i"
    waiting = [stage.begin("GET", path) for _ in range(MAX_READS + 2)]
    stage.begin("GET", f"/api/sessions/{other}/generated-images/i", namespace="other")
    assert (len(peer.calls), len(stranger.calls)) == (MAX_READS, 1)
    for number, pending in enumerate(waiting):
        peer.answer({"success": True, "content": CONTENT, "mimeType": "image/png"})
        assert stage.finish(pending).status == 200, number
    peer.drop()


def test_the_machine_of_another_person_is_not_asked() -> None:
    stage = Stage()
    session = stage.session(machineId="m1")
    assert picture_of_machine(stage, session, "other").status == 404


def test_a_machine_that_is_away_is_named_as_the_reason() -> None:
    stage = Stage()
    session = stage.session(machineId="m1")
    stage.machine()
    answer = stage.rest("GET", f"/api/sessions/{session}/generated-images/i")
    assert (answer.status, answer.body["error"]) == (
        404,
        "The machine that keeps this picture is not connected",
    )
