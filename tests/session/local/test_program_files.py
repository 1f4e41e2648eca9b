"""Directories of programs in a terminal, whose session may be killed."""

from __future__ import annotations

import os

import pytest

from hapi.home import Home
from hapi.session.local.program_files import make_directory, remove_left
from hapi.session.process import SessionProcess

DEAD = "local-999999999.abc"


def test_a_directory_is_private_and_stays_while_its_process_lives(tmp_path):
    path = make_directory(tmp_path)
    assert path.stat().st_mode & 0o777 == 0o700
    remove_left(tmp_path)
    assert path.exists()


@pytest.mark.parametrize("name", ["local-.x", "local-x.1", f"local-{'9' * 200}.x", "uploads"])
def test_only_directories_of_processes_that_have_gone_are_removed(tmp_path, name):
    for each in (name, DEAD):
        (tmp_path / each).mkdir()
    remove_left(tmp_path)
    assert os.listdir(tmp_path) == [name]


def test_any_session_that_starts_removes_what_killed_ones_have_left(tmp_path):
    session = SessionProcess.__new__(SessionProcess)
    session.home = Home(tmp_path)
    session._remove_left_files()
    left = session.home.directory("tmp") / DEAD
    left.mkdir()
    (left / "settings.json").write_text("{}")
    session._remove_left_files()
    assert not left.exists()
