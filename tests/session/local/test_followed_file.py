"""Lines of a file that another program appends to."""

from __future__ import annotations

import os

import pytest

from hapi.session.local import followed_file
from hapi.session.local.followed_file import FollowedFile, first_line


def all_lines(file):
    lines = file.read()
    while file.is_behind:
        lines += file.read()
    return lines


def test_a_line_is_read_once_it_has_its_end(tmp_path):
    path = tmp_path / "lines"
    path.write_bytes(b"one\ntw")
    file = FollowedFile(path, tmp_path)
    assert file.read() == [b"one"]
    assert file.read() == []
    with path.open("ab") as out:
        out.write(b"o\n\nthree\n")
    assert file.read() == [b"two", b"three"]
    assert file.offset == path.stat().st_size


def test_a_missing_file_has_no_lines_until_it_is_there(tmp_path):
    file = FollowedFile(tmp_path / "later", tmp_path)
    assert file.read() == []
    file.path.write_bytes(b"here\n")
    assert file.read() == [b"here"]


def test_only_lines_that_come_after_the_end_are_read(tmp_path):
    path = tmp_path / "lines"
    path.write_bytes(b"old\nhalf")
    file = FollowedFile.at_end(path, tmp_path)
    with path.open("ab") as out:
        out.write(b" new\n")
    assert file.read() == [b"half new"]


def test_a_file_that_was_cut_short_is_read_again(tmp_path):
    path = tmp_path / "lines"
    path.write_bytes(b"a long line\n")
    file = FollowedFile(path, tmp_path)
    file.read()
    path.write_bytes(b"new\n")
    assert file.read() == [b"new"]


def test_a_large_file_is_read_piece_by_piece(tmp_path, monkeypatch):
    monkeypatch.setattr(followed_file, "PIECE_SIZE", 10)
    path = tmp_path / "lines"
    lines = [b"x" * size for size in (3, 30, 1, 25, 9, 10, 11)]
    path.write_bytes(b"".join(line + b"\n" for line in lines))
    file = FollowedFile(path, tmp_path)
    assert len(file.read()) < len(lines)
    assert file.is_behind
    file = FollowedFile(path, tmp_path)
    assert all_lines(file) == lines
    assert FollowedFile.at_end(path, tmp_path).offset == path.stat().st_size


def test_a_line_that_is_too_long_is_left_out(tmp_path, monkeypatch):
    monkeypatch.setattr(followed_file, "PIECE_SIZE", 10)
    monkeypatch.setattr(followed_file, "MAX_LINE_SIZE", 25)
    path = tmp_path / "lines"
    path.write_bytes(b"before\n" + b"x" * 100 + b"\nafter\n")
    assert all_lines(FollowedFile(path, tmp_path)) == [b"before", b"after"]


def test_a_last_line_that_is_too_long_is_not_looked_through(tmp_path, monkeypatch):
    monkeypatch.setattr(followed_file, "PIECE_SIZE", 10)
    monkeypatch.setattr(followed_file, "MAX_LINE_SIZE", 25)
    path = tmp_path / "lines"
    path.write_bytes(b"before\n" + b"x" * 100)
    file = FollowedFile.at_end(path, tmp_path)
    assert file.offset == 107
    with path.open("ab") as out:
        out.write(b"end\nafter\n")
    assert all_lines(file) == [b"after"]


def fifo(path, root):
    os.mkfifo(path)


def device(path, root):
    path.symlink_to("/dev/zero")


def directory(path, root):
    path.mkdir()


def link_out(path, root):
    path.symlink_to(outside(root))


def linked_directory(path, root):
    path.parent.rmdir()
    path.parent.symlink_to(root.parent / "other")
    outside(root)


def outside(root):
    other = root.parent / "other" / "lines"
    other.parent.mkdir()
    other.write_bytes(b"secret\n")
    return other


@pytest.mark.parametrize("make", [fifo, device, directory, link_out, linked_directory])
def test_only_ordinary_files_below_the_directory_are_read(tmp_path, make):
    """A FIFO would hold the reactor up for good."""
    root = tmp_path / "root"
    path = root / "shop" / "lines"
    path.parent.mkdir(parents=True)
    make(path, root)
    assert FollowedFile(path, root).read() == []
    assert FollowedFile.at_end(path, root).offset == 0
    assert first_line(path, root, 100) is None


def test_the_way_to_the_directory_may_be_a_link(tmp_path):
    (tmp_path / "disk").mkdir()
    (tmp_path / "disk/lines").write_bytes(b"here\n")
    root = tmp_path / "root"
    root.symlink_to("disk")
    assert FollowedFile(root / "lines", root).read() == [b"here"]
    assert first_line(root / "lines", root, 100) == b"here"


@pytest.mark.parametrize("name", ["../other/lines", "no\0lines"])
def test_a_path_that_leads_out_is_not_read(tmp_path, name):
    root = tmp_path / "root"
    root.mkdir()
    outside(root)
    assert FollowedFile(root / name, root).read() == []
    assert FollowedFile.at_end(root / name, root).offset == 0


def test_a_first_line_is_whole_or_as_long_as_may_be(tmp_path):
    path = tmp_path / "lines"
    path.write_bytes(b"half")
    assert first_line(path, tmp_path, 100) is None
    assert first_line(path, tmp_path, 3) == b"hal"
    path.write_bytes(b"whole\nmore")
    assert first_line(path, tmp_path, 100) == b"whole"
