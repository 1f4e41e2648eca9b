"""Lines of a file that another program appends to."""

from __future__ import annotations

from hapi.session.local import followed_file
from hapi.session.local.followed_file import FollowedFile


def all_lines(file):
    lines = file.read()
    while file.is_behind:
        lines += file.read()
    return lines


def test_a_line_is_read_once_it_has_its_end(tmp_path):
    path = tmp_path / "lines"
    path.write_bytes(b"one\ntw")
    file = FollowedFile(path)
    assert file.read() == [b"one"]
    assert file.read() == []
    with path.open("ab") as out:
        out.write(b"o\n\nthree\n")
    assert file.read() == [b"two", b"three"]
    assert file.offset == path.stat().st_size


def test_a_missing_file_has_no_lines_until_it_is_there(tmp_path):
    file = FollowedFile(tmp_path / "later")
    assert file.read() == []
    file.path.write_bytes(b"here\n")
    assert file.read() == [b"here"]


def test_only_lines_that_come_after_the_end_are_read(tmp_path):
    path = tmp_path / "lines"
    path.write_bytes(b"old\nhalf")
    file = FollowedFile.at_end(path)
    with path.open("ab") as out:
        out.write(b" new\n")
    assert file.read() == [b"half new"]


def test_a_file_that_was_cut_short_is_read_again(tmp_path):
    path = tmp_path / "lines"
    path.write_bytes(b"a long line\n")
    file = FollowedFile(path)
    file.read()
    path.write_bytes(b"new\n")
    assert file.read() == [b"new"]


def test_a_large_file_is_read_piece_by_piece(tmp_path, monkeypatch):
    monkeypatch.setattr(followed_file, "PIECE_SIZE", 10)
    path = tmp_path / "lines"
    lines = [b"x" * size for size in (3, 30, 1, 25, 9, 10, 11)]
    path.write_bytes(b"".join(line + b"\n" for line in lines))
    file = FollowedFile(path)
    assert len(file.read()) < len(lines)
    assert file.is_behind
    file = FollowedFile(path)
    assert all_lines(file) == lines
    assert FollowedFile.at_end(path).offset == path.stat().st_size


def test_a_line_that_is_too_long_is_left_out(tmp_path, monkeypatch):
    monkeypatch.setattr(followed_file, "PIECE_SIZE", 10)
    monkeypatch.setattr(followed_file, "MAX_LINE_SIZE", 25)
    path = tmp_path / "lines"
    path.write_bytes(b"before\n" + b"x" * 100 + b"\nafter\n")
    assert all_lines(FollowedFile(path)) == [b"before", b"after"]
