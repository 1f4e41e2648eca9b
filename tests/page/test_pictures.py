"""The page: pictures and files that an agent shows."""

from __future__ import annotations

import base64

import pytest
from playwright.sync_api import expect

from tests.support.page_sessions import ScriptedSession, now
from tests.support.pictures import png

pytestmark = pytest.mark.peer("chromium")
# A red square of 2 x 2 pixels.
PNG = base64.b64encode(png(2, 2, b"\xff\0\0")).decode()


def test_a_picture_of_the_agent_is_drawn_and_can_be_saved(place):
    session: ScriptedSession = place.session()
    session.answers["readGeneratedImage"] = {
        "success": True,
        "content": PNG,
        "mimeType": "image/png",
    }
    session.serve("readGeneratedImage")
    page = place.open(session)
    image = {"mimeType": "image/png", "fileName": "cat.png", "size": 75, "id": str(now())}
    session.record(type="generated-image", imageId="i", **image)
    canvas = page.get_by_role("img", name="cat.png")
    expect(canvas).to_be_visible()
    assert canvas.evaluate("(canvas) => [canvas.width, canvas.height]") == [2, 2]
    assert canvas.evaluate(
        "(canvas) => [...canvas.getContext('2d').getImageData(0, 0, 1, 1).data]"
    ) == [255, 0, 0, 255]
    with page.expect_download() as download:
        page.get_by_role("button", name="Save cat.png").click()
    assert download.value.suggested_filename == "cat.png"


def test_a_document_of_the_agent_can_only_be_saved(place):
    session: ScriptedSession = place.session()
    page = place.open(session)
    file = {"mimeType": "application/octet-stream", "fileName": "chart.svg", "id": str(now())}
    session.record(type="generated-image", imageId="i", **file)
    expect(page.locator(".image")).to_contain_text("chart.svg")
    expect(page.get_by_role("button", name="Save chart.svg")).to_be_visible()
    expect(page.locator(".image canvas")).to_have_count(0)
