"""Files are old or new, never torn, if the process is killed or a call fails (faults.md §6)."""

import errno
import os
import signal
import stat
import subprocess

import pytest

from hapi import home as home_module
from hapi.home import Home, read_capped, remove_partial_writes, write_atomically

OLD, NEW = b"old content", b"new content, a little longer"
CALLS = ("open", "write", "fsync", "close", "rename", "unlink")
TROUBLES = (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS, errno.EMFILE)


def at_call(monkeypatch, act):
    """Calls `act(number, name)` before each file system call of hapi.home; it may kill or raise."""
    count = 0

    def wrapped(name, really):
        def call(*arguments, **more):
            nonlocal count
            count += 1
            act(count, name)
            return really(*arguments, **more)

        return call

    for name in CALLS:
        monkeypatch.setattr(os, name, wrapped(name, getattr(os, name)))


def number_of_calls(path, monkeypatch) -> int:
    seen = []
    with monkeypatch.context() as patched:
        at_call(patched, lambda _number, name: seen.append(name))
        write_atomically(path, NEW)
    return len(seen)


def test_killed_at_any_call_the_file_is_old_or_new__S01(tmp_path, monkeypatch):
    path = tmp_path / "state.json"
    count = number_of_calls(path, monkeypatch)
    assert count >= 7
    seen = set()
    for at in range(1, count + 2):
        path.write_bytes(OLD)
        pid = os.fork()
        if pid == 0:
            try:
                at_call(
                    monkeypatch,
                    lambda number, _name, at=at: (
                        os.kill(os.getpid(), signal.SIGKILL) if number == at else None
                    ),
                )
                write_atomically(path, NEW)
            finally:
                os._exit(0)  # whatever happens, this process never is a second pytest
        os.waitpid(pid, 0)
        seen.add(path.read_bytes())
    assert seen == {OLD, NEW}


def test_what_a_killed_write_left_is_swept_and_what_lives_is_not__S14(tmp_path):
    state, other = tmp_path / "runner.state.json", tmp_path / "settings.json"
    dead = subprocess.Popen(["/bin/true"])
    dead.wait()
    left = [
        f".{state.name}.{pid}.0123abcd" for pid in (dead.pid, 1)
    ]  # 1: by now it may be anybody's
    ours = [f".{state.name}.{pid}.0123abcd" for pid in (os.getpid(), os.getppid())]
    strange = [f".{state.name}.mine", f".{state.name}.x.y", f".{other.name}.{dead.pid}.0123abcd"]
    for name in (*left, *ours, *strange):
        (tmp_path / name).touch()
    remove_partial_writes(state)
    assert sorted(os.listdir(tmp_path)) == sorted([*ours, *strange])


@pytest.mark.parametrize("trouble", TROUBLES, ids=errno.errorcode.get)
def test_whatever_call_fails_the_file_is_whole_and_nothing_is_left_over__S02_S03_S04_S13(
    tmp_path, monkeypatch, trouble
):
    path = tmp_path / "state.json"
    count = number_of_calls(path, monkeypatch)
    descriptors = len(os.listdir("/proc/self/fd"))
    for at in range(1, count + 1):
        path.write_bytes(OLD)
        failed = None

        def fail(number, name, at=at):
            nonlocal failed
            if number == at and name != "close":
                failed = name
                raise OSError(trouble, os.strerror(trouble))

        with monkeypatch.context() as patched:
            at_call(patched, fail)
            try:
                write_atomically(path, NEW)
                told = False
            except OSError as error:
                told = error.errno == trouble
        content = path.read_bytes()
        assert content == (OLD if told else NEW), f"call {at}, {failed}"
        assert os.listdir(tmp_path) == ["state.json"], f"call {at}, {failed}"
    assert len(os.listdir("/proc/self/fd")) == descriptors


def test_a_write_that_is_cut_short_goes_on(tmp_path, monkeypatch):
    really = os.write
    monkeypatch.setattr(
        os, "write", lambda descriptor, content: really(descriptor, bytes(content[:3]))
    )
    write_atomically(tmp_path / "file", NEW)
    assert (tmp_path / "file").read_bytes() == NEW


def test_files_are_private_whatever_the_umask__K04(tmp_path):
    before = os.umask(0)
    try:
        write_atomically(tmp_path / "file", NEW)
        made = Home(tmp_path / "home").prepare().directory("sessions")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == 0o600
    assert stat.S_IMODE(made.stat().st_mode) == stat.S_IMODE(made.parent.stat().st_mode) == 0o700


def test_a_link_in_the_place_is_replaced_not_written_through__L08(tmp_path):
    (tmp_path / "precious").write_bytes(OLD)
    (tmp_path / "state.json").symlink_to(tmp_path / "precious")
    write_atomically(tmp_path / "state.json", NEW)
    assert (tmp_path / "precious").read_bytes() == OLD
    assert (tmp_path / "state.json").read_bytes() == NEW


def test_a_directory_that_cannot_be_synced_is_logged_and_the_content_stays__S02(
    tmp_path, monkeypatch
):
    from twisted.logger import globalLogPublisher

    def refuse(path, *_):
        raise OSError(errno.EIO, "Input/output error")

    told = []
    globalLogPublisher.addObserver(told.append)
    try:
        with monkeypatch.context() as patched:
            really = os.fsync

            def fsync(descriptor):
                if stat.S_ISDIR(os.fstat(descriptor).st_mode):
                    raise OSError(errno.EIO, "Input/output error")
                really(descriptor)

            patched.setattr(home_module.os, "fsync", fsync)
            write_atomically(tmp_path / "file", NEW)
    finally:
        globalLogPublisher.removeObserver(told.append)
    assert (tmp_path / "file").read_bytes() == NEW
    assert [event["reason"] for event in told if event.get("path") == str(tmp_path)] == [
        "Input/output error"
    ]


def test_reading_takes_regular_files_of_bounded_size_only(tmp_path):
    assert read_capped(tmp_path / "missing") is None
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(OSError, match="not a regular file"):
        read_capped(tmp_path / "fifo")
    with pytest.raises(OSError, match=r"directory|regular"):
        read_capped(tmp_path)
    (tmp_path / "large").write_bytes(b"x" * 101)
    assert read_capped(tmp_path / "large", 101)
    with pytest.raises(ValueError, match="larger than 100 bytes"):
        read_capped(tmp_path / "large", 100)


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o606])
def test_files_with_secrets_are_made_private(home, mode):
    home.settings.write_text("{}")
    home.jwt_secret.write_text("{}")
    home.settings.chmod(mode)
    home.jwt_secret.chmod(0o600)
    assert home.make_files_private() == [home.settings]
    assert home.settings.stat().st_mode & 0o777 == 0o600
    assert home.make_files_private() == []


def test_a_link_is_not_made_private(home, tmp_path):
    (tmp_path / "other").write_text("")
    (tmp_path / "other").chmod(0o644)
    home.settings.symlink_to(tmp_path / "other")
    assert home.make_files_private() == []
    assert (tmp_path / "other").stat().st_mode & 0o777 == 0o644
