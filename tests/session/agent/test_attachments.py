"""Attached files reach the agent as the blocks that it takes."""

import base64
import os

import pytest
import pytest_twisted

from hapi.confined_directory import ConfinedDirectory
from hapi.protocol.acp import prompts
from hapi.protocol.acp.prompts import Attachment, PromptCapabilities, attachment_block, text_block
from hapi.session.agent.attachments import PromptBlocks

PNG = b"\x89PNG\r\n\x1a\n" + b"pixels"
WEBP = b"RIFF\x10\0\0\0WEBPVP8 "
ALL = PromptCapabilities(image=True, audio=True, embedded_context=True)
NONE = PromptCapabilities()


def block(content, capabilities, name="a.bin", kind=None, size=None):
    found = attachment_block(
        Attachment(f"/up/{name}", name, kind), content, size or len(content or b""), capabilities
    )
    return found["type"], found.get("mimeType")


@pytest.mark.parametrize(
    ("content", "capabilities", "claimed", "expected"),
    [
        (PNG, ALL, "image/png", ("image", "image/png")),
        (WEBP, ALL, "application/octet-stream", ("image", "image/webp")),
        (b"\xff\xd8\xff\xe0", ALL, "image/png", ("image", "image/jpeg")),
        (PNG, NONE, "image/png", ("resource_link", "image/png")),
        (PNG, PromptCapabilities(embedded_context=True), None, ("resource_link", None)),
        (b"\0not a picture\xff", ALL, "image/png", ("resource_link", "image/png")),
        (b"\xffwave", ALL, "audio/wav", ("audio", "audio/wav")),
        (b"\xffwave", NONE, "audio/wav", ("resource_link", "audio/wav")),
        ("CJK 报告".encode(), ALL, "text/plain", ("resource", None)),
        (b"text", NONE, "text/plain", ("resource_link", "text/plain")),
        (b"\xff\xfe", ALL, "text/plain", ("resource_link", "text/plain")),
        (None, ALL, "image/png", ("resource_link", "image/png")),
    ],
)
def test_an_attachment_is_sent_as_the_agent_takes_it(content, capabilities, claimed, expected):
    assert block(content, capabilities, kind=claimed) == expected


def test_a_picture_is_sent_with_all_of_its_bytes():
    found = attachment_block(Attachment("/up/1-a.png", "a.png"), PNG, len(PNG), ALL)
    assert base64.b64decode(found["data"]) == PNG
    assert found["uri"] == "file:///up/1-a.png"


def test_a_link_says_what_it_leads_to():
    found = attachment_block(
        Attachment("/up/报 告.pdf", "报 告.pdf", "application/pdf"), None, 9, ALL
    )
    assert found == {
        "type": "resource_link",
        "uri": "file:///up/%E6%8A%A5%20%E5%91%8A.pdf",
        "name": "报 告.pdf",
        "mimeType": "application/pdf",
        "size": 9,
    }


def test_an_embedded_text_says_where_it_comes_from():
    found = attachment_block(Attachment("/up/a.py", "a.py", "text/x-python"), b"x = 1\r\n", 7, ALL)
    assert found["resource"] == {
        "uri": "file:///up/a.py",
        "text": "x = 1\r\n",
        "mimeType": "text/x-python",
    }


@pytest.fixture
def blocks(tmp_path):
    """`PromptBlocks` for files in `tmp_path`, with what was reported as `.reported`."""

    def make(reads_paths=False):
        reported = []
        made = PromptBlocks(ConfinedDirectory(tmp_path / "in"), reads_paths, reported.append)
        return made, reported

    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.png").write_bytes(PNG)
    (tmp_path / "in" / "b.txt").write_text("text")
    (tmp_path / "out.txt").write_text("secret")
    return make


def attached(tmp_path, name):
    return Attachment(str(tmp_path / "in" / name), name, None)


@pytest_twisted.ensureDeferred
async def test_texts_become_one_block_with_empty_lines_between_them(blocks):
    made, _ = blocks()
    assert await made.of(("one", "two"), NONE) == [text_block("one\n\ntwo")]


@pytest_twisted.ensureDeferred
async def test_files_keep_their_place_between_the_texts(blocks, tmp_path):
    made, reported = blocks()
    parts = ("one", "two", attached(tmp_path, "a.png"), attached(tmp_path, "b.txt"), "look")
    found = await made.of(parts, ALL)
    assert [one["type"] for one in found] == ["text", "image", "resource", "text"]
    assert [one["text"] for one in found if "text" in one] == ["one\n\ntwo", "look"]
    assert reported == []


@pytest_twisted.ensureDeferred
async def test_an_agent_that_reads_paths_gets_them_in_the_text(blocks, tmp_path):
    made, _ = blocks(reads_paths=True)
    parts = ("one", attached(tmp_path, "a.png"), attached(tmp_path, "b.txt"), "look")
    place = tmp_path / "in"
    assert await made.of(parts, NONE) == [
        text_block(f"one\n\n@{place}/a.png @{place}/b.txt\n\nlook")
    ]


@pytest_twisted.ensureDeferred
async def test_pictures_are_not_left_to_an_agent_that_reads_paths_and_drops_large_ones(
    blocks, tmp_path
):
    made, _ = blocks(reads_paths=True)
    parts = (attached(tmp_path, "a.png"), attached(tmp_path, "b.txt"), "look")
    place = tmp_path / "in"
    picture, text = await made.of(parts, ALL)
    assert (picture["type"], picture["mimeType"]) == ("image", "image/png")
    assert base64.b64decode(picture["data"]) == PNG
    assert text == text_block(f"(Attached picture: {place}/a.png)\n\n@{place}/b.txt\n\nlook")


@pytest.mark.parametrize("reads_paths", [False, True])
@pytest_twisted.ensureDeferred
async def test_a_file_that_is_gone_is_told_and_the_rest_is_sent(blocks, tmp_path, reads_paths):
    made, reported = blocks(reads_paths)
    gone = [attached(tmp_path, "gone.png"), Attachment("/nowhere/at/all.png", "all.png")]
    found = await made.of((*gone, "look"), ALL)
    assert [one["type"] for one in found] == ["text"]
    assert found[0]["text"].endswith("(The attached file all.png is not available.)\n\nlook")
    assert reported == [
        f"The attachment {name} cannot be read: No such file or directory. "
        "The prompt was sent without it"
        for name in ("gone.png", "all.png")
    ]


@pytest_twisted.ensureDeferred
async def test_nothing_is_read_outside_of_the_directory(blocks, tmp_path):
    made, reported = blocks()
    os.symlink(tmp_path / "out.txt", tmp_path / "in" / "link.txt")
    outside = [
        Attachment(str(tmp_path / "out.txt"), "out.txt"),
        attached(tmp_path, "link.txt"),
        Attachment(str(tmp_path / "in"), "in"),
    ]
    found = await made.of((*outside, "look"), ALL)
    assert "secret" not in str(found)
    assert len(reported) == 3


@pytest.mark.parametrize("reads_paths", [False, True])
@pytest.mark.parametrize(
    "path", ["/etc/passwd", "../out.txt", "in/../../out.txt", "{up}/../other/a.txt", "a.png\0"]
)
@pytest_twisted.ensureDeferred
async def test_a_path_of_no_upload_is_neither_read_nor_named_to_the_agent(
    blocks, tmp_path, reads_paths, path
):
    """Whoever may write to a session chooses the paths in a message; a session takes those of its
    directory and of its own uploads."""
    blocks()
    uploads = tmp_path / "uploads" / "mine"
    for directory in (uploads, uploads.parent / "other"):
        directory.mkdir(parents=True)
        (directory / "a.txt").write_text("secret" if directory != uploads else "mine")
    reported = []
    directory = ConfinedDirectory(tmp_path / "in", (uploads,))
    made = PromptBlocks(directory, reads_paths, reported.append)
    wanted = Attachment(path.format(up=uploads), "picked.txt", "text/plain")
    found = await made.of((wanted, Attachment(str(uploads / "a.txt"), "a.txt"), "look"), ALL)
    text = str(found)
    assert "(The attached file picked.txt is not available.)" in text
    assert not any(word in text for word in ("secret", "root:", "passwd", "out.txt", "other"))
    assert ("mine/a.txt" if reads_paths else "'text': 'mine'") in text
    assert len(reported) == 1


@pytest_twisted.ensureDeferred
async def test_a_file_that_is_too_large_becomes_a_link(blocks, tmp_path, monkeypatch):
    made, _ = blocks()
    monkeypatch.setattr("hapi.session.agent.attachments.MAX_PROMPT_SIZE", len(PNG) + 3)
    picture = attached(tmp_path, "a.png")
    found = await made.of((picture, picture), ALL)
    assert [(one["type"], one.get("size")) for one in found] == [
        ("image", None),
        ("resource_link", len(PNG)),
    ]
    assert prompts.MAX_MEDIA_SIZE < 64 << 20, "the agent's message has to carry it as base64"
