"""The page: files that a person attaches to a message."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.support.page_sessions import ScriptedSession
from tests.support.peers import NPM, OURS

pytestmark = pytest.mark.peer("chromium")
both_hubs = pytest.mark.parametrize(
    "place", [OURS, pytest.param(NPM, marks=pytest.mark.peer("hapi"))], indirect=True
)
PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
PASTE = """(data) => {
  const bytes = Uint8Array.from(atob(data), (character) => character.charCodeAt(0));
  const clipboardData = new DataTransfer();
  clipboardData.items.add(new File([bytes], "image.png", { type: "image/png" }));
  document.querySelector("textarea").dispatchEvent(
    new ClipboardEvent("paste", { clipboardData, bubbles: true, cancelable: true }));
}"""


def taking_uploads(session: ScriptedSession, *, refusal: str | None = None) -> None:
    def upload(params: dict[str, str]) -> dict[str, object]:
        if refusal:
            return {"success": False, "error": refusal}
        return {"success": True, "path": f"/up/{params['filename']}"}

    session.answers["uploadFile"] = upload
    session.answers["deleteUpload"] = {"success": True}
    session.serve("uploadFile", "deleteUpload")


def choose(page: Page, *files: dict[str, object]) -> None:
    with page.expect_file_chooser() as chooser:
        page.get_by_role("button", name="Attach files").click()
    chooser.value.set_files(list(files))


def file(name: str, kind: str, content: bytes) -> dict[str, object]:
    return {"name": name, "mimeType": kind, "buffer": content}


@both_hubs
def test_a_chosen_and_a_pasted_file_go_with_the_message(place):
    session = place.session()
    taking_uploads(session)
    page = place.open(session)
    choose(page, file("报告.txt", "text/plain", b"text"))
    page.evaluate(PASTE, base64.b64encode(PNG).decode())
    attached = page.get_by_role("list", name="Attached files")
    expect(attached.get_by_role("listitem")).to_have_count(2)
    expect(attached.locator("canvas")).to_have_count(1)
    expect(attached.get_by_text("Uploading…")).to_have_count(0)
    page.get_by_role("textbox", name="Message").fill("look")
    page.keyboard.press("Enter")
    expect(page.locator(".user.sent .files")).to_have_text("报告.txt, image.png")
    expect(page.locator(".user.sent").get_by_role("img", name="image.png")).to_be_visible()
    expect(attached).to_be_hidden()
    sent = session.prompts[0]["content"]["content"]
    assert sent["text"] == "look"
    assert [(one["filename"], one["mimeType"], one["path"]) for one in sent["attachments"]] == [
        ("报告.txt", "text/plain", "/up/报告.txt"),
        ("image.png", "image/png", "/up/image.png"),
    ]
    uploads = [params for method, params in session.calls if method == "uploadFile"]
    assert base64.b64decode(uploads[1]["content"]) == PNG


def test_files_alone_are_a_message_and_a_removed_one_is_not_sent(place):
    session = place.session()
    taking_uploads(session)
    page = place.open(session)
    send = page.get_by_role("button", name="Send")
    expect(send).to_be_disabled()
    choose(page, file("a.txt", "text/plain", b"a"), file("b.txt", "text/plain", b"b"))
    page.get_by_role("button", name="Remove a.txt").click()
    expect(send).to_be_enabled()
    send.click()
    expect(page.locator(".user.sent .files")).to_have_text("b.txt")
    assert session.wait_for_call("deleteUpload")["path"] == "/up/a.txt"


def test_a_file_that_cannot_be_attached_is_told_in_words(place, tmp_path: Path):
    session = place.session()
    taking_uploads(session, refusal="The uploads of this session would exceed 256 MB.")
    page = place.open(session)
    choose(page, file("a.txt", "text/plain", b"a"))
    expect(page.get_by_text("a.txt was not attached. The uploads of this session")).to_be_visible()
    large = tmp_path / "large.bin"
    with large.open("wb") as made:
        made.truncate((32 << 20) + 1)
    with page.expect_file_chooser() as chooser:
        page.get_by_role("button", name="Attach files").click()
    chooser.value.set_files(large)
    expect(page.get_by_text("large.bin is too large: a file may have 32 MB")).to_be_visible()
    expect(page.get_by_role("list", name="Attached files")).to_be_hidden()


def test_a_message_that_is_taken_back_gives_its_files_back(place):
    session = place.session(consume=False)
    taking_uploads(session)
    page = place.open(session)
    choose(page, file("a.txt", "text/plain", b"a"))
    page.get_by_role("textbox", name="Message").fill("look")
    page.get_by_role("button", name="Send").click()
    page.locator(".user.queued").get_by_role("button", name="Edit").click()
    expect(page.get_by_role("list", name="Attached files")).to_contain_text("a.txt")
    expect(page.get_by_role("textbox", name="Message")).to_have_value("look")


def test_attached_files_outlive_a_look_at_another_session(place):
    session, other = place.session(), place.session()
    taking_uploads(session)
    page = place.open(session)
    choose(page, file("a.txt", "text/plain", b"a"))
    expect(page.get_by_text("Uploading…")).to_have_count(0)
    page.locator(f"[data-session='{other.id}']").click()
    expect(page.get_by_role("list", name="Attached files")).to_be_hidden()
    page.locator(f"[data-session='{session.id}']").click()
    expect(page.get_by_role("list", name="Attached files")).to_contain_text("a.txt")


def test_a_sent_picture_is_shown_again_after_a_reload_while_its_file_is_there(place):
    session = place.session()
    taking_uploads(session)
    gone = False

    def read(params: dict[str, str]) -> dict[str, object]:
        if gone or params["path"] != "/up/logo.png":
            return {"success": False, "error": "No such file or directory"}
        return {"success": True, "content": base64.b64encode(PNG).decode(), "size": len(PNG)}

    session.answers["readFile"] = read
    session.serve("readFile")
    page = place.open(session)
    choose(page, file("logo.png", "image/png", PNG))
    attached = page.get_by_role("list", name="Attached files")
    expect(attached.get_by_text("Uploading…")).to_have_count(0)
    page.reload()
    expect(attached.locator("canvas")).to_have_count(1)
    page.get_by_role("button", name="Send").click()
    sent = page.locator(".user.sent")
    expect(sent.get_by_role("img", name="logo.png")).to_be_visible()
    page.reload()
    expect(sent.get_by_role("img", name="logo.png")).to_be_visible()
    gone = True
    page.reload()
    expect(sent.locator(".files")).to_have_text("logo.png")
    expect(sent.locator(".picture")).to_have_count(0)
    expect(page.get_by_text("could not be loaded")).to_have_count(0)
