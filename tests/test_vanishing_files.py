"""Directories that several processes read and prune: what vanishes meanwhile is no fault."""

import os
import shutil
import time

import pytest
import pytest_twisted

from hapi.attempts import AttemptFolder
from hapi.build import Installation
from hapi.cli.checks.cleanup import Findings, Leftover, clean_up, scan
from hapi.home import remove_tree
from hapi.pictures import SessionPictures, remove_expired_pictures
from hapi.protocol.attempt import AttemptRequest, AttemptSession
from hapi.runner.attempts.adoption import _reconstruct_request
from hapi.spool import SpoolFile, SpoolHeader, spooled_sessions
from tests.support.disk_vanishing import removed_after_listing


def spool(home, session_id):
    file = SpoolFile(home, session_id, lambda: SpoolHeader(session_id, 7, "http://hub", 41))
    file.append('["message",{}]')
    file.close()
    return file.path


def test_a_spool_that_its_process_delivers_meanwhile_does_not_hide_the_others(home, monkeypatch):
    delivered, waiting = spool(home, "a" * 12), spool(home, "b" * 12)
    with removed_after_listing(monkeypatch, delivered):
        assert spooled_sessions(home) == [waiting]


def test_a_session_without_request_is_taken_over_while_its_files_change(home, monkeypatch):
    folder = AttemptFolder.create(home, AttemptRequest((), "/", 1.0, "test"))
    folder.session = AttemptSession("s1", metadata={"flavor": "demo", "path": "/work"})
    partial = folder.path / ".report.json.1.abcd"
    partial.write_text("")
    with removed_after_listing(monkeypatch, partial, folder.path / "request.json"):
        request = _reconstruct_request(folder, time.time())
    assert (request.agent, request.cwd) == ("demo", "/work")


def test_a_build_is_judged_while_it_is_being_replaced(tmp_path, monkeypatch):
    (tmp_path / "__init__.py").write_text('__version__ = "1"\n')
    (tmp_path / "gone.py").write_text("")
    installation = Installation(tmp_path, "1")
    with removed_after_listing(monkeypatch, tmp_path / "gone.py"):
        assert installation.running() is None


def test_doctor_lists_what_is_left_while_a_session_finishes_a_write(home, monkeypatch):
    partial = home.path / f".{home.settings.name}.77.abcd"
    partial.write_text("")
    is_file = type(partial).is_file

    def checked(path):
        found = is_file(path)
        partial.unlink(missing_ok=True)
        return found

    monkeypatch.setattr(type(partial), "is_file", checked)
    assert scan(home, alone=True).leftovers == []


@pytest.fixture
def tree(tmp_path):
    tree = tmp_path / "tree"
    (tree / "inner").mkdir(parents=True)
    for name in ("a", "b", "inner/c"):
        (tree / name).write_text("")
    return tree


@pytest_twisted.ensureDeferred
async def test_doctor_removes_the_rest_of_what_another_process_removes_too(
    reactor, tree, monkeypatch
):
    with removed_after_listing(monkeypatch, tree / "a"):
        assert await clean_up(reactor, Findings((), [Leftover(tree, "left behind")])) == []
    assert not tree.exists()


def test_what_cannot_be_removed_is_told_and_the_rest_is_removed(tree, monkeypatch):
    unlink = os.unlink

    def refused(path, **more):
        if path == "a":
            raise PermissionError(1, "Operation not permitted")
        unlink(path, **more)

    monkeypatch.setattr(os, "unlink", refused)
    with pytest.raises(PermissionError):
        remove_tree(tree)
    assert [path.name for path in tree.iterdir()] == ["a"]


def test_a_picture_is_kept_although_the_directory_is_removed_as_expired_meanwhile(
    home, monkeypatch
):
    pictures = SessionPictures(home, "s1")
    mkdir, made = type(pictures.path).mkdir, []

    def made_and_removed(path, *args, **more):
        mkdir(path, *args, **more)
        if path == pictures.path and not made:
            made.append(path)
            shutil.rmtree(path)

    monkeypatch.setattr(type(pictures.path), "mkdir", made_and_removed)
    pictures.store("i1", b"picture", "image/png")
    assert pictures.read("i1") is not None


def test_a_picture_that_arrives_while_other_directories_are_removed_is_kept(home, monkeypatch):
    sessions = [SessionPictures(home, name) for name in ("s1", "s2")]
    for pictures in sessions:
        pictures.store("old", b"picture", "image/png")
        for path in pictures.path.iterdir():
            os.utime(path, (1, 1))
    rmtree, removed = shutil.rmtree, []

    def removed_slowly(path, **more):
        rmtree(path, **more)
        removed.append(path)
        for pictures in sessions:
            if len(removed) == 1 and pictures.path != path:
                pictures.store("new", b"picture", "image/png")

    monkeypatch.setattr(shutil, "rmtree", removed_slowly)
    remove_expired_pictures(home, time.time())
    assert len(removed) == 1
    assert [pictures.read("new") is not None for pictures in sessions].count(True) == 1
