"""The spool file: what it keeps, what damages it, who may deliver it."""

import os
import stat

import pytest

from hapi.home import Home
from hapi.spool import SpoolFile, SpoolFull, SpoolHeader, claim_spools, spooled_sessions

SID = "5b0cf2a6-27e5-4f6e-9a39-58a3d9c1c111"


@pytest.fixture
def home(tmp_path):
    return Home(tmp_path / "home").prepare()


@pytest.fixture
def make(home):
    made = []

    def spool(session_id=SID, **more):
        header = SpoolHeader(session_id, 7, "http://127.0.0.1:3006", 41)
        made.append(SpoolFile(home, session_id, lambda: header, **more))
        return made[-1]

    yield spool
    for one in made:
        one.close()


def event(number, size=0):
    return f'["message",{{"n":{number},"x":"{"x" * size}"}}]'


def numbers(claimed):
    return [found.args[0]["n"] for found in claimed.events]


def test_there_is_no_file_before_there_is_an_event_and_none_after_the_last(home, make):
    spool = make()
    assert spooled_sessions(home) == []
    position = spool.append(event(1))
    (path,) = spooled_sessions(home)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    spool.confirm(position)
    assert spooled_sessions(home) == []
    spool.append(event(2))
    assert len(spooled_sessions(home)) == 1


def test_a_file_is_claimed_only_when_its_process_has_ended_and_by_one(home, make):
    spool = make()
    for number in range(3):
        spool.append(event(number))
    assert list(claim_spools(home)) == []
    spool.close()
    (claimed,) = claim_spools(home)
    assert list(claim_spools(home)) == []
    assert claimed.header == SpoolHeader(SID, 7, "http://127.0.0.1:3006", 41)
    assert numbers(claimed) == [0, 1, 2]
    claimed.release()
    (again,) = claim_spools(home, SID)
    again.remove()
    assert spooled_sessions(home) == []


def test_the_files_of_one_session_are_claimed_by_its_id(home, make):
    for session_id in (SID, "other", "../../etc/passwd", "a" * 500):
        spool = make(session_id)
        spool.append(event(1))
        spool.close()
    assert len(spooled_sessions(home)) == 4
    for session_id in (SID, "other", "../../etc/passwd", "a" * 500):
        (claimed,) = claim_spools(home, session_id)
        assert claimed.header.session_id == session_id
        claimed.remove()
    assert list(claim_spools(home, "othe")) == []


@pytest.mark.parametrize("cut", [1, 5, 20])
def test_a_torn_last_line_is_left_out(home, make, cut):
    spool = make()
    for number in range(3):
        spool.append(event(number))
    spool.close()
    (path,) = spooled_sessions(home)
    os.truncate(path, path.stat().st_size - cut)
    (claimed,) = claim_spools(home)
    assert (numbers(claimed), claimed.damaged_lines) == ([0, 1], 1)
    claimed.release()


def test_a_damaged_line_costs_only_itself(home, make):
    spool = make()
    for number in range(3):
        spool.append(event(number))
    spool.close()
    (path,) = spooled_sessions(home)
    content = path.read_bytes()
    path.write_bytes(content.replace(b'"n":1', b'"n":9'))
    (claimed,) = claim_spools(home)
    assert (numbers(claimed), claimed.damaged_lines) == ([0, 2], 1)
    claimed.release()


def test_a_file_without_a_header_is_removed(home, make):
    spool = make()
    spool.append(event(0))
    spool.close()
    (path,) = spooled_sessions(home)
    path.write_bytes(b"")
    assert list(claim_spools(home)) == []
    assert spooled_sessions(home) == []


def test_lone_surrogates_and_line_separators_survive(home, make):
    spool = make()
    text = '["message",{"n":"\u2028 \\ud83d é 😀"}]'
    spool.append(text)
    spool.close()
    (claimed,) = claim_spools(home)
    assert claimed.events[0].text == text
    claimed.release()


def test_a_full_file_refuses_what_is_new_and_takes_more_when_the_hub_has_confirmed(home, make):
    spool = make(max_size=4000)
    position = spool.append(event(0, 1500))
    spool.append(event(1, 1500))
    with pytest.raises(SpoolFull):
        spool.append(event(2, 1500))
    spool.confirm(position)
    spool.append(event(2, 1500))
    spool.close()
    (claimed,) = claim_spools(home)
    assert numbers(claimed) == [1, 2]
    claimed.release()


def test_confirmed_events_are_removed_while_newer_ones_stay(home, make):
    spool = make()
    positions = [spool.append(event(number, 1 << 20)) for number in range(12)]
    (path,) = spooled_sessions(home)
    for position in positions[:9]:
        spool.confirm(position)
    assert path.stat().st_size < 6 << 20
    assert list(claim_spools(home)) == []  # still ours after it was rewritten
    spool.append(event(12))
    spool.close()
    (claimed,) = claim_spools(home)
    assert numbers(claimed)[-4:] == [9, 10, 11, 12]
    claimed.release()


def test_a_disk_that_is_full_keeps_whole_lines_only(home, make, monkeypatch):
    spool = make()
    spool.append(event(0))
    real = os.write

    def full(descriptor, data):
        monkeypatch.setattr(os, "write", no_room)
        return real(descriptor, bytes(data)[:5])

    def no_room(descriptor, data):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(OSError, match="No space left"):
        spool.append(event(1))
    monkeypatch.undo()
    spool.append(event(2))
    spool.close()
    (claimed,) = claim_spools(home)
    assert (numbers(claimed), claimed.damaged_lines) == ([0, 2], 0)
    claimed.release()
