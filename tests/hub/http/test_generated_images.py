"""The images that a session's process hands to a page: bitmaps, in one normal form, or nothing."""

from __future__ import annotations

import base64
from typing import Any

import pytest

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
