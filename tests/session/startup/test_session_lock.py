"""The lock of a session: who has it, who is refused, and what is left behind."""

import os
import stat
import threading

import pytest

from hapi.home import Home
from hapi.session.startup import session_lock
from hapi.session.startup.session_lock import SessionHeld, SessionLock, lock_path


@pytest.fixture
def home(tmp_path):
    return Home(tmp_path / "home").prepare()


@pytest.fixture
def lock(home):
    made = []

    def make():
        made.append(SessionLock(home))
        return made[-1]

    yield make
    for each in made:
        each.release()


def test_a_second_process_of_a_session_is_refused_and_told_who_has_it(lock):
    lock().take("s1")
    with pytest.raises(SessionHeld, match=f"^the process {os.getpid()} runs the session s1 "):
        lock().take("s1")
    lock().take("s2")


def test_the_process_of_a_session_may_take_its_lock_again(lock):
    first = lock()
    first.wait("s1")
    first.take("s1")


def test_the_end_of_the_process_before_is_waited_for(lock):
    first, second = lock(), lock()
    first.take("s1")
    has_tried = threading.Event()
    ending = threading.Thread(target=lambda: (has_tried.wait(5), first.release()))
    ending.start()
    second.wait("s1", has_tried.set)
    ending.join()
    with pytest.raises(SessionHeld):
        first.take("s1")


def test_the_wait_ends_with_its_time_and_with_a_signal(lock, monkeypatch):
    first, second = lock(), lock()
    first.take("s1")
    with pytest.raises(SessionHeld):
        second.wait("s1", lambda: [15])
    monkeypatch.setattr(session_lock, "WAIT_TIME", 0.05)
    with pytest.raises(SessionHeld):
        second.wait("s1")


def test_the_file_is_private_and_goes_with_the_lock(lock, home):
    first = lock()
    first.take("s1")
    path = lock_path(home, "s1")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    first.release()
    assert not path.exists()


def test_a_file_that_a_killed_process_left_blocks_nobody(lock, home):
    path = lock_path(home, "s1")
    home.directory(path.parent.name)
    path.write_text('{"pid": 1}\n')
    lock().take("s1")


@pytest.mark.parametrize("session_id", ["../x", ".", "a/b", "x" * 5000, "", "ä\ud800\0"])
def test_an_id_that_is_no_file_name_has_a_lock_in_its_directory(lock, home, session_id):
    first = lock()
    first.take(session_id)
    path = lock_path(home, session_id)
    assert path.is_file()
    assert path.resolve().parent == home.path / session_lock.DIRECTORY
    with pytest.raises(SessionHeld):
        lock().take(session_id)


def test_where_there_can_be_no_lock_the_session_goes_on_and_says_so(lock, home, capsys):
    home.path.joinpath(session_lock.DIRECTORY).write_text("")
    lock().wait("s1")
    assert "a second process of this session is not kept away" in capsys.readouterr().err
