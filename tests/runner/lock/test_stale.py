"""Judging the pid in a lock: what is known of the process decides (faults.md §2, step 4)."""

import os

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from hapi.runner.lock.owner import has_file_open
from hapi.runner.lock.stale import (
    Held,
    OwnerFacts,
    Stale,
    Unfinished,
    judge_owner,
    pid_in,
)

RUNNER = ("node", "/usr/bin/hapi", "runner", "start-sync")
LIVE = OwnerFacts(
    pid=7, uid=1000, command_line=RUNNER, started_at=90.0, home="/home/me/.hapi", in_state=False
)


def judged(pid=7, owner=LIVE, mtime=100.0, now=200.0, own_pids=frozenset((1, 2, 3))):
    return judge_owner(
        pid, owner, mtime=mtime, now=now, uid=1000, home="/home/me/.hapi", own_pids=own_pids
    )


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        ({}, Held(7)),
        ({"command_line": None}, Held(7)),
        ({"home": None}, Held(7)),
        ({"uid": None}, Held(7)),
        ({"command_line": ("bun run", "cli runner start-sync")}, Held(7)),
        ({"uid": 1001}, Stale()),
        ({"command_line": ("vim", "runner")}, Stale()),
        ({"command_line": ("hapi", "claude", "--started-by", "runner")}, Stale()),
        ({"home": "/home/me/other"}, Stale()),
        ({"started_at": 101.9}, Held(7)),
        ({"started_at": 102.1}, Stale()),
        ({"started_at": 102.1, "command_line": None}, Stale()),
        ({"started_at": 3700.0, "in_state": True}, Held(7)),  # the clock was set forward an hour
        ({"started_at": 3700.0, "in_state": True, "command_line": None}, Stale()),
        ({"waits_for_lock": True}, Stale()),
    ],
)
def test_a_live_process_holds_the_lock_unless_it_surely_is_no_runner_of_this_home__L04_S07(
    facts, expected
):
    assert judged(owner=evolve(LIVE, **facts)) == expected


def test_a_dead_process_holds_nothing__L02():
    assert judged(owner=None) == Stale()


@pytest.mark.parametrize("pid", [1, 2, 3])
def test_our_own_pid_and_our_parents_hold_nothing__L05(pid):
    assert judged(pid=pid) == Stale()


@pytest.mark.parametrize(
    ("age", "expected"),
    [
        (0.0, Unfinished()),
        (9.9, Unfinished()),
        (10.1, Stale()),
        (-5.0, Unfinished()),
        (-3600.0, Stale()),
    ],
)
def test_a_lock_without_a_pid_is_waited_for_ten_seconds__L06(age, expected):
    assert judged(pid=None, owner=None, mtime=200.0 - age, now=200.0) == expected


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"123", 123),
        (b"123\n", 123),
        (b" 0123 ", 123),
        (b"", None),
        (b"0", None),
        (b"-5", None),
        (b"12 13", None),
        (b"1e3", None),
        (b"\0" * 40, None),
        (b"9" * 30, None),
        (str(1 << 31).encode(), None),
        (b"7" + b" " * 100, None),
        ("٣".encode(), None),
        (b'{"pid":7}', None),
    ],
)
def test_only_a_decimal_pid_counts__L07(content, expected):
    assert pid_in(content) == expected


def test_a_starter_of_ours_is_known_by_the_file_it_has_open__L05(tmp_path):
    path = tmp_path / "runner.lock"
    assert has_file_open(os.getpid(), path) is False
    with path.open("w"):
        assert has_file_open(os.getpid(), path) is True
    assert has_file_open(os.getpid(), path) is False
    assert has_file_open(1 << 30, path) is False


@given(st.binary(max_size=80))
def test_no_content_is_too_strange_to_be_judged__L07(content):
    pid = pid_in(content)
    assert pid is None or 0 < pid < 1 << 31


def test_a_lock_without_a_pid_is_young_for_ten_seconds_and_no_longer__L06():
    facts = {"uid": 0, "home": "/h", "own_pids": frozenset()}
    assert judge_owner(None, None, mtime=100.0, now=109.99, **facts) == Unfinished()
    assert judge_owner(None, None, mtime=100.0, now=110.0, **facts) == Stale()
    assert judge_owner(None, None, mtime=110.0, now=100.0, **facts) == Stale()
