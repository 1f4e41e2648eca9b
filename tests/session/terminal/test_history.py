"""The history of a directory: kept, private, bounded, shared by sessions."""

import json
import os
import stat

import pytest

from hapi.session.terminal.history import (
    MAX_FILE_SIZE,
    MAX_PROMPT_LENGTH,
    DirectoryHistory,
    history_path,
)


@pytest.fixture
def path(home, tmp_path):
    return history_path(home, str(tmp_path))


def prompts(path):
    """What a new session has, the newest first."""
    return list(DirectoryHistory(path).load_history_strings())


def test_prompts_come_back_in_a_later_session_the_newest_first(path):
    history = DirectoryHistory(path)
    for prompt in ("one", "two\nlines", "€"):
        history.append_string(prompt)
    assert prompts(path) == ["€", "two\nlines", "one"]


def test_each_directory_has_its_own_under_whatever_name_it_is_reached(home, tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "link").symlink_to("a")
    assert history_path(home, str(tmp_path / "a")) == history_path(home, str(tmp_path / "link"))
    assert history_path(home, str(tmp_path / "a")) != history_path(home, str(tmp_path))


def test_the_file_is_for_its_owner_alone(path):
    DirectoryHistory(path).append_string("secret")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_two_sessions_that_write_at_once_lose_nothing(path):
    first, second = DirectoryHistory(path), DirectoryHistory(path)
    for number in range(20):
        first.append_string(f"first {number}")
        second.append_string(f"second {number}")
    assert len(prompts(path)) == 40


def test_a_prompt_is_not_kept_twice_in_a_row_nor_after_a_space_nor_when_it_is_huge(path):
    history = DirectoryHistory(path)
    for prompt in ("one", "one", " secret", "  ", "x" * (MAX_PROMPT_LENGTH + 1)):
        history.append_string(prompt)
    assert prompts(path) == ["one"]


def test_a_large_file_is_shortened_to_its_newest_prompts(path):
    history = DirectoryHistory(path)
    for number in range(200):
        history.append_string(f"{number} " + "x" * 5000)
    assert path.stat().st_size <= MAX_FILE_SIZE + 10_000
    assert prompts(path)[0].startswith("199 ")
    assert [each.name for each in path.parent.iterdir()] == [path.name]


def test_damaged_lines_are_skipped(path):
    DirectoryHistory(path).append_string("one")
    with path.open("ab") as file:
        file.write(b'{"no": "prompt"}\n\xff\xfe\nnot json\n"two"\n"\\ud800"\n"three\n')
        file.write(b"[" * 100_000)
    assert prompts(path) == ["two", "one"]


def test_a_history_that_cannot_be_written_is_that_of_the_session(path):
    path.parent.write_text("in the way")
    history = DirectoryHistory(path)
    history.append_string("one")
    assert history.get_strings() == ["one"]


def test_a_link_in_the_place_of_the_file_is_not_followed(path, tmp_path):
    path.parent.mkdir()
    path.symlink_to(tmp_path / "other")
    DirectoryHistory(path).append_string("one")
    assert not (tmp_path / "other").exists()


def make_link(path):
    target = path.with_name("other")
    target.write_bytes(b'"of another"\n')
    path.symlink_to(target)


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir, make_link])
def test_what_is_no_file_of_ours_leaves_the_history_in_memory_and_is_told_once(path, make):
    path.parent.mkdir()
    make(path)
    history, told = DirectoryHistory(path), []
    history.tell = told.append
    assert list(history.load_history_strings()) == []
    for prompt in ("one", "two"):
        history.append_string(prompt)
    assert history.get_strings() == ["one", "two"]
    assert len(told) == 1
    assert told[0].startswith("The history of this directory cannot be used (")


def test_a_pipe_that_somebody_reads_gets_no_prompt(path):
    path.parent.mkdir()
    os.mkfifo(path)
    reading = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    DirectoryHistory(path).append_string("secret")
    assert os.read(reading, 100) == b""
    os.close(reading)


def test_a_huge_file_is_read_from_its_end_alone(path):
    path.parent.mkdir()
    with path.open("wb") as file:
        file.truncate(1 << 40)  # without data: it takes no room
    with path.open("ab") as file:
        file.write(b"\n" + json.dumps("newest").encode() + b"\n")
    found = prompts(path)
    path.unlink()
    assert found == ["newest"]
