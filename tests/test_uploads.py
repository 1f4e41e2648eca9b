"""Uploaded files: their names, their quota, and who may remove them."""

import os
import resource
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from hapi.confined_directory import ConfinedDirectory
from hapi.uploads import (
    MAX_NAME_SIZE,
    SessionUploads,
    UploadQuota,
    UploadRefused,
    file_name,
    remove_unused,
    unused_uploads,
    uploads_directory,
)

SMALL = UploadQuota(session_size=1000, session_files=3, home_size=1500, home_files=5)


@pytest.fixture
def uploads(home):
    return SessionUploads(home, "first", SMALL)


# --- names


@pytest.mark.parametrize(
    ("name", "kept"),
    [
        ("notes.txt", "notes.txt"),
        ("../../etc/passwd", "passwd"),
        ("/", "file"),
        ("..", "file"),
        (".", "file"),
        ("", "file"),
        (".profile", "profile"),
        ("a b\tc.png", "a_b_c.png"),
        ("a\0b.png", "a_b.png"),
        ("C:\\users\\me.txt", "C_users_me.txt"),
        ("line\nbreak", "line_break"),
        ("\ud800.txt", "_.txt"),
        ("-rf", "-rf"),
        ("CON", "CON"),
        ("报告.pdf", "报告.pdf"),
        ("re\u0301sume\u0301.pdf", "r\u00e9sum\u00e9.pdf"),
        ("x." + "y" * 50, "x." + "y" * 50),
    ],
)
def test_a_name_is_kept_without_what_could_lead_elsewhere(name, kept):
    assert file_name(name) == kept


@pytest.mark.parametrize(
    "name",
    [
        "报告" * 45 + ".pdf",
        "報告書" * 60 + ".xlsx",
        "x" * 300 + ".txt",
        "é" * 200,
        "😀" * 99 + ".gz",
    ],
)
def test_a_long_name_is_cut_by_bytes_and_keeps_its_suffix(uploads, name):
    path = uploads.store(name, b"x")
    assert path.read_bytes() == b"x"
    assert path.suffix == Path(name).suffix
    assert len(file_name(name).encode()) <= MAX_NAME_SIZE
    assert path.name.encode()


@pytest.mark.parametrize("session_id", ["../escape", "a/b", ".", "", "x" * 300, "\0", "\ud800"])
def test_an_id_that_is_no_plain_name_leads_nowhere_else(home, session_id):
    assert uploads_directory(home, session_id).parent == home.uploads
    SessionUploads(home, session_id).store("x", b"x")
    assert os.listdir(home.path) == ["uploads"]


# --- quota


def test_an_upload_that_exceeds_the_bytes_of_the_session_is_refused_in_a_sentence(uploads):
    uploads.store("a", b"x" * 600)
    with pytest.raises(UploadRefused, match=r"The uploads of this session would exceed .* MB\. "):
        uploads.store("b", b"x" * 401)
    assert len(list(uploads.path.iterdir())) == 1  # nothing half written
    uploads.store("b", b"x" * 400)


def test_the_number_of_files_is_limited(uploads):
    for number in range(3):
        uploads.store(f"{number}", b"")
    with pytest.raises(UploadRefused, match="This session has 3 uploaded files already"):
        uploads.store("4", b"")


def test_a_file_that_is_taken_away_makes_room(uploads):
    path = uploads.store("a", b"x" * 1000)
    uploads.delete(path)
    uploads.store("b", b"x" * 1000)


def test_all_sessions_of_a_home_share_a_limit(home, uploads):
    uploads.store("a", b"x" * 900)
    other = SessionUploads(home, "second", SMALL)
    with pytest.raises(UploadRefused, match="all sessions on this machine"):
        other.store("b", b"x" * 601)
    for number in range(3):
        other.store(f"{number}", b"")
    SessionUploads(home, "third", SMALL).store("x", b"")
    with pytest.raises(UploadRefused, match="hapi doctor clean"):
        SessionUploads(home, "fourth", SMALL).store("x", b"")


def test_the_quota_counts_what_is_on_the_disk_after_a_restart(home, uploads):
    uploads.store("a", b"x" * 900)
    again = SessionUploads(home, "first", SMALL)
    with pytest.raises(UploadRefused):
        again.store("b", b"x" * 200)


def test_many_processes_at_once_do_not_exceed_the_limit_together(home):
    program = (
        "import sys; from pathlib import Path; from hapi.home import Home\n"
        "from hapi.uploads import *\n"
        "uploads = SessionUploads(Home(Path(sys.argv[1])), sys.argv[2],"
        " UploadQuota(10**6, 100, 100_000, 1000))\n"
        "for number in range(40):\n"
        "    try: uploads.store('x', b'x' * 3000)\n"
        "    except UploadRefused: pass\n"
    )
    running = [
        subprocess.Popen([sys.executable, "-c", program, home.path, f"s{number}"])
        for number in range(4)
    ]
    assert [process.wait(60) for process in running] == [0] * 4
    sizes = [path.stat().st_size for path in home.uploads.glob("*/*")]
    assert sum(sizes) <= 100_000
    assert len(sizes) == 100_000 // 3000
    assert set(sizes) == {3000}


# --- half uploads and the end


def test_an_upload_that_fails_leaves_nothing(uploads):
    uploads.store("first", b"x")

    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, limits[1]))
    try:
        with pytest.raises(OSError, match="File too large"):
            uploads.store("second", b"x" * 101)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert [path.name[9:] for path in uploads.path.iterdir()] == ["first"]


def test_what_a_killed_process_half_wrote_is_removed_by_the_next(home, uploads):
    uploads.store("whole", b"x")
    (uploads.path / ".part-1-half").write_bytes(b"x" * 900)
    os.close(uploads._lock)
    next_process = SessionUploads(home, "first", SMALL)
    next_process.store("more", b"x" * 900)
    assert sorted(path.name[9:] for path in next_process.path.iterdir()) == ["more", "whole"]


def test_the_directories_of_uploads_are_private(home, uploads):
    before = os.umask(0o022)
    try:
        path = uploads.store("a.txt", b"1")
    finally:
        os.umask(before)
    modes = [stat.S_IMODE(each.stat().st_mode) for each in (home.uploads, path.parent)]
    assert modes == [0o700, 0o700]


def test_a_live_session_s_uploads_are_not_unused(home, uploads):
    uploads.store("a", b"x")
    assert unused_uploads(home) == []
    assert not remove_unused(uploads.path)
    os.close(uploads._lock)  # as the kernel does when the process ends
    assert unused_uploads(home) == [uploads.path]
    assert remove_unused(uploads.path)
    assert not uploads.path.exists()
    assert remove_unused(uploads.path)


def test_uploads_go_with_the_session(uploads):
    uploads.store("a", b"x")
    uploads.remove()
    assert not uploads.path.exists()
    uploads.remove()
    with pytest.raises(UploadRefused, match="The session has ended"):
        uploads.store("late", b"x")
    assert not uploads.path.exists()


def test_uploads_may_lie_on_another_disk(home, tmp_path):
    (tmp_path / "disk").mkdir()
    home.uploads.symlink_to(tmp_path / "disk")
    uploads = SessionUploads(home, "first")
    path = uploads.store("a", b"x")
    with open(path, opener=ConfinedDirectory(tmp_path / "none", (uploads.path,)).open) as file:
        assert file.read() == "x"
    uploads.delete(path)
    assert not path.exists()
    os.close(uploads._lock)
    assert unused_uploads(home) == [uploads.path]


def test_a_directory_that_was_removed_meanwhile_is_made_again(home, uploads):
    uploads.store("a", b"x")
    for path in uploads.path.iterdir():
        path.unlink()
    uploads.path.rmdir()
    assert uploads.store("b", b"x").exists()


def test_only_uploads_of_the_session_itself_can_be_deleted(home, uploads, tmp_path):
    other = SessionUploads(home, "second", SMALL).store("a", b"x")
    (tmp_path / "secret").write_text("x")
    uploads.store("a", b"x")
    (uploads.path / "link").symlink_to(tmp_path)
    for path in (other, tmp_path / "secret", uploads.path, uploads.path / "link" / "secret"):
        with pytest.raises(UploadRefused, match="Not an uploaded file of this session"):
            uploads.delete(path)
    with pytest.raises(UploadRefused):
        uploads.delete(uploads.path / "..")


def test_a_link_in_place_of_the_uploads_is_not_followed(home, uploads, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    home.uploads.mkdir()
    uploads.path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="Not a directory"):
        uploads.store("a", b"x")
    assert list((tmp_path / "elsewhere").iterdir()) == []
