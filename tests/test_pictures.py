"""Pictures that agents showed, as they are kept in the home."""

from __future__ import annotations

import base64
import os
import time

import pytest

from hapi.pictures import (
    MAX_AGE,
    KeptPicture,
    PictureQuota,
    SessionPictures,
    expired_pictures,
    picture_answer,
    remove_expired_pictures,
)
from hapi.protocol.media_type import OTHER, sniff
from tests.support.pictures import png

RED = png(2, 2, b"\xff\0\0")


def test_a_picture_is_kept_with_its_type_and_only_its_owner_may_read_it(home):
    pictures = SessionPictures(home, "s1")
    pictures.store("i1", RED, "image/png")
    assert pictures.read("i1") == KeptPicture(RED, "image/png")
    assert SessionPictures(home, "s2").read("i1") is None
    (file,) = pictures.path.iterdir()
    assert (file.stat().st_mode & 0o777, pictures.path.stat().st_mode & 0o777) == (0o600, 0o700)


def test_a_picture_is_read_in_pieces_by_those_who_ask_for_them(home):
    pictures = SessionPictures(home, "s1")
    pictures.store("i1", b"0123456789", "image/png")

    def answered(**more):
        answer = picture_answer(pictures, {"id": "i1", **more})
        return base64.b64decode(answer["content"]), answer.get("size")

    assert answered(offset=0, limit=4) == (b"0123", 10)
    assert answered(offset=8, limit=4) == (b"89", 10)
    assert answered(offset=12, limit=4) == (b"", 10)
    for wrong in ({}, {"offset": -1, "limit": 4}, {"offset": 4}, {"offset": "4", "limit": True}):
        assert answered(**wrong) == (b"0123456789", None)


def test_the_oldest_pictures_of_a_session_make_room_for_new_ones(home):
    pictures = SessionPictures(home, "s1", PictureQuota(session_size=10, session_files=3))
    for number in range(5):
        pictures.store(f"i{number}", b"1234", OTHER)
        for path in pictures.path.iterdir():
            os.utime(path, (time.time() - 100 + int(path.stem[1:]),) * 2)
    assert [number for number in range(5) if pictures.read(f"i{number}")] == [3, 4]


def test_the_oldest_pictures_of_the_home_make_room_for_new_ones(home):
    quota = PictureQuota(home_files=2)
    for number in range(3):
        pictures = SessionPictures(home, f"s{number}", quota)
        pictures.store("i", b"1234", OTHER)
        os.utime(next(pictures.path.iterdir()), (time.time() - 100 + number,) * 2)
    kept = [number for number in range(3) if SessionPictures(home, f"s{number}").read("i")]
    assert kept == [1, 2]


def test_pictures_of_a_session_that_showed_none_for_long_are_removed(home):
    old, new = SessionPictures(home, "old"), SessionPictures(home, "new")
    for pictures in (old, new):
        pictures.store("i", RED, "image/png")
    os.utime(next(old.path.iterdir()), (time.time() - MAX_AGE - 60,) * 2)
    assert expired_pictures(home) == [old.path]
    remove_expired_pictures(home)
    assert (old.read("i"), new.read("i")) == (None, KeptPicture(RED, "image/png"))


@pytest.mark.parametrize("name", ["../s2/i1", "*", "", "a" * 100, "i1/../i1", None, 7])
def test_only_the_id_of_a_picture_finds_one(home, name):
    SessionPictures(home, "s2").store("i1", RED, "image/png")
    pictures = SessionPictures(home, "s1")
    pictures.store("i1", RED, "image/png")
    answer = picture_answer(pictures, {"id": name})
    assert answer == {"success": False, "error": "Generated image not found"}


@pytest.mark.parametrize(
    ("content", "declared", "kind"),
    [
        (RED, "image/jpeg", "image/png"),
        (b"\xff\xd8\xff\xe0", "", "image/jpeg"),
        (b"GIF89a", "", "image/gif"),
        (b"RIFF1234WEBPVP8 ", "", "image/webp"),
        (b"BM1234\0\0\0\0", "", "image/bmp"),
        (b"BMW sells cars", "image/bmp", OTHER),
        (b"RIFF1234WAVE", "", "audio/wav"),
        (b"1234ftypisom", "", "video/mp4"),
        (b"1234ftypisom", "audio/mp4", "audio/mp4"),
        (b"1234ftypavif", "image/png", "image/avif"),
        (b"\x1aE\xdf\xa3", "audio/webm", "audio/webm"),
        (b"<svg onload=alert(1)>", "image/svg+xml", OTHER),
        (b"<html>", "image/png", OTHER),
        (b"", "image/png", OTHER),
    ],
)
def test_what_a_file_is_is_told_by_its_beginning(content, declared, kind):
    assert sniff(content, declared) == kind
