"""One folder per session attempt: whole when it appears, readable whatever befell it."""

import os
import shutil
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hapi import attempts as module
from hapi.attempts import AttemptFolder, attempts, new_id, remove_partial_attempts
from hapi.home import Home
from hapi.protocol.attempt import (
    AttemptEnd,
    AttemptProcess,
    AttemptRequest,
    AttemptSession,
    ProcessIdentity,
    StopOrder,
)

REQUEST = AttemptRequest(("hapi", "claude"), "/work", 1.5, asked_by="hub", agent="claude")
RECORDS = {
    "request": REQUEST,
    "process": AttemptProcess(
        ProcessIdentity(7, 70, "boot", 700), ProcessIdentity(6, 60, "boot", None)
    ),
    "session": AttemptSession(
        "s-1", agent_session_id="native", host_pid=7, at=2.0, metadata={"path": "/work"}
    ),
    "stop": StopOrder("user", "hub", "stop-session", 3.0),
    "end": AttemptEnd(None, "SIGTERM", 4.0),
}


def test_every_record_reads_as_it_was_written(home):
    folder = AttemptFolder.create(home, REQUEST)
    for name, record in RECORDS.items():
        if name != "request":
            assert getattr(folder, name) is None
        setattr(folder, name, record)
        assert getattr(folder, name) == record


def test_the_files_are_called_and_spelled_as_people_will_look_for_them(home):
    folder = AttemptFolder.create(home, REQUEST)
    for name, record in RECORDS.items():
        setattr(folder, name, record)
    assert sorted(os.listdir(folder.path)) == [
        "end.json",
        "process.json",
        "request.json",
        "session.json",
        "stop.json",
    ]
    assert '"exitCode": null' in (folder.path / "end.json").read_text()
    assert '"startTicks": 70' in (folder.path / "process.json").read_text()


def test_folders_are_private_and_listed_in_the_order_they_were_made__K04(home):
    before = os.umask(0)
    try:
        made = [AttemptFolder.create(home, REQUEST) for _ in range(3)]
    finally:
        os.umask(before)
    assert sorted(attempts(home), key=lambda each: each.id) == attempts(home)
    assert set(attempts(home)) == set(made)
    for folder in made:
        assert folder.path.stat().st_mode & 0o777 == 0o700
        assert (folder.path / "request.json").stat().st_mode & 0o777 == 0o600
    assert home.attempts.stat().st_mode & 0o777 == 0o700


def test_names_sort_by_time():
    named = [new_id(now) for now in (0.0, 1.0, 1.5, 1e9, 2e9, 4e9)]
    assert named == sorted(named)
    assert new_id(1795183572.345)[:19] == "20261120-140612-345"
    assert len({new_id(1.0) for _ in range(100)}) == 100


def test_a_creator_that_dies_leaves_nothing_that_counts__S11(home, monkeypatch):
    """Killed between any two steps: the folder is there with its request, or is none."""
    for step in ("mkdir", "write_atomically", "rename"):
        pid = os.fork()
        if pid == 0:
            try:
                where = (module, "write_atomically") if step == "write_atomically" else (Path, step)
                monkeypatch.setattr(*where, lambda *_args, **_more: os._exit(1))
                AttemptFolder.create(home, REQUEST)
            finally:
                os._exit(2)  # whatever happens, this process never is a second pytest
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 1
        assert attempts(home) == []
    remove_partial_attempts(home)
    assert os.listdir(home.attempts) == []


def test_a_folder_that_cannot_be_made_leaves_nothing__S02(home, monkeypatch):
    def full(*_args, **_more):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module, "write_atomically", full)
    with pytest.raises(OSError, match="No space left"):
        AttemptFolder.create(home, REQUEST)
    assert os.listdir(home.attempts) == []


@pytest.mark.parametrize("name", RECORDS)
@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b"null", b'{"pid": "x"}', b"\xff\xfe", b"[" * 10_000, b"x" * (2 << 20)],
)
def test_what_makes_no_sense_counts_as_missing__S05_S11(home, name, content):
    folder = AttemptFolder.create(home, REQUEST)
    (folder.path / f"{name}.json").write_bytes(content)
    assert getattr(folder, name) is None


@given(st.binary(max_size=200))
def test_reading_never_raises__S05(tmp_path_factory, content):
    folder = AttemptFolder(tmp_path_factory.mktemp("attempt"))
    for name in RECORDS:
        (folder.path / f"{name}.json").write_bytes(content)
        assert getattr(folder, name) is None or content.strip()
    shutil.rmtree(folder.path)


def test_a_record_of_a_newer_version_is_read(home):
    folder = AttemptFolder.create(home, REQUEST)
    (folder.path / "end.json").write_text(
        '{"exitCode": 3, "signal": null, "at": 1.0, "weather": "fine"}'
    )
    assert folder.end == AttemptEnd(3, None, 1.0)


def test_a_folder_that_is_gone_reads_as_empty(home):
    folder = AttemptFolder.create(home, REQUEST)
    folder.remove()
    assert [getattr(folder, name) for name in RECORDS] == [None] * len(RECORDS)
    assert folder.tail() == ""
    assert attempts(home) == []
    folder.remove()  # with a warning in the log


def test_strange_things_among_the_folders_are_left_out(home):
    made = AttemptFolder.create(home, REQUEST)
    (home.attempts / "file").write_text("x")
    (home.attempts / ".hidden").mkdir()
    (home.attempts / "link").symlink_to(made.path)
    (home.attempts / "with blank").mkdir()
    assert attempts(home) == [made]
    assert attempts(Home(home.path / "nowhere")) == []


@pytest.mark.parametrize(
    "name", ["", ".", "..", "../../etc", "/etc", "a/b", "a\0b", "x" * 101, "no-such-attempt"]
)
def test_only_a_name_of_a_folder_finds_one(home, name):
    AttemptFolder.create(home, REQUEST)
    assert AttemptFolder.find(home, name) is None


def test_a_session_finds_its_folder_by_the_environment(home):
    made = AttemptFolder.create(home, REQUEST)
    assert AttemptFolder.of_this_process(home, {"HAPI_ATTEMPT": made.id}) == made
    assert AttemptFolder.of_this_process(home, {}) is None


def test_the_tail_goes_back_into_what_was_moved_away(home):
    folder = AttemptFolder.create(home, REQUEST)
    folder.earlier_output.write_text("one two ")
    folder.output.write_text("three")
    assert folder.tail(5) == "three"
    assert folder.tail(9) == "two three"
    assert folder.tail(100) == "one two three"
    folder.output.write_bytes(b"\xff\xfe")
    assert folder.tail(2) == "\ufffd\ufffd"


def test_the_tail_follows_no_link__K06(home, tmp_path):
    folder = AttemptFolder.create(home, REQUEST)
    (tmp_path / "secret").write_text("secret")
    folder.output.symlink_to(tmp_path / "secret")
    assert folder.tail() == ""
