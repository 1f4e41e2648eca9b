"""What `hapi doctor` says about the hub's database."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from twisted.internet.task import Clock

from hapi.cli.checks.database_check import check_database, judge
from hapi.cli.checks.postgres_check import judge_hubs
from hapi.home import Home
from hapi.hub.lock import HubLock
from hapi.hub.store.rows import DatabaseSize
from hapi.hub.store.sqlite import SqliteStore

MIB = 1 << 20


@pytest.mark.parametrize(
    ("size", "limit", "log_size", "finding", "words"),
    [
        (DatabaseSize(5 * MIB, 0, True), None, 0, "good", "holds 5M"),
        (DatabaseSize(50 * MIB, 0, True), 40 * MIB, 0, "note", "more than its limit of 40M"),
        (DatabaseSize(50 * MIB, 90 * MIB, True), 60 * MIB, 0, "good", "holds 50M"),
        (DatabaseSize(50 * MIB, 90 * MIB, False), None, 0, "note", "`hapi hub compact`"),
        (DatabaseSize(1500 * MIB, 0, True), None, 0, "note", "grows without a limit"),
        (DatabaseSize(1500 * MIB, 0, True), 2048 * MIB, 0, "good", "holds 1.5G"),
        (DatabaseSize(5 * MIB, 0, True), None, 300 * MIB, "note", "-wal takes 300M"),
    ],
)
def test_size_limit_and_free_space_are_judged(
    size: DatabaseSize, limit: int | None, log_size: int, finding: str, words: str
) -> None:
    check = judge(Path("/h/hub.db"), size, limit, log_size)
    assert check.finding == finding
    assert words in check.text


def test_the_size_of_the_files_is_told_as_by_the_hubs_status() -> None:
    check = judge(Path("/h/hub.db"), DatabaseSize(5 * MIB, 0, True), None, 0, 9 * MIB)
    assert "/h/hub.db holds 5M (9M on disk)" in check.text


def test_hubs_that_do_not_reach_each_other_are_broken() -> None:
    hubs = [
        {"name": "a", "url": "http://a:1", "isUp": True, "problems": []},
        {"name": "b", "url": "http://b:1", "isUp": False, "problems": []},
    ]
    (check,) = judge_hubs(hubs)
    assert (check.finding, check.text) == ("good", "a at http://a:1")
    hubs[0]["problems"] = ["Hub a cannot be reached", "It is not there"]
    (check,) = judge_hubs(hubs)
    assert (check.finding, check.text) == ("broken", "Hub a cannot be reached. It is not there")
    assert judge_hubs([]) == []


def test_a_home_without_a_hub_has_no_finding(home: Home) -> None:
    assert check_database(home, os.environ) == []


@pytest.mark.parametrize("is_open", [True, False])
def test_the_database_is_read_and_nothing_is_left_beside_it(home: Home, is_open: bool) -> None:
    store = SqliteStore(home.path / "hub.db", Clock())
    store.open()
    try:
        if not is_open:
            store.close()
        before = sorted(home.path.iterdir())
        (check,) = check_database(home, {**os.environ, "HAPI_MAX_DATABASE_SIZE": "10M"})
        assert (check.name, check.finding) == ("database", "good")
        assert sorted(home.path.iterdir()) == before
    finally:
        store.close()


def test_a_database_that_is_gone_under_a_running_hub_is_broken(home: Home) -> None:
    lock = HubLock(home, home.path / "hub.db")
    lock.acquire()
    store = SqliteStore(home.path / "hub.db", Clock())
    store.open()
    try:
        (home.path / "hub.db").unlink()
        (check,) = check_database(home, os.environ)
        assert check.finding == "broken"
        assert "run `hapi hub backup FILE` before the hub stops" in check.text
    finally:
        store.close()
        lock.release()


def test_a_file_that_is_no_database_is_a_finding_too(home: Home) -> None:
    from hapi.cli.checks.check import run_checks

    with closing(sqlite3.connect(home.path / "hub.db")) as other:
        other.execute("CREATE TABLE other (value)")
    assert check_database(home, os.environ)
    (home.path / "hub.db").write_bytes(b"no database" * 1000)
    (check,) = run_checks("database", lambda: check_database(home, os.environ))
    assert check.finding == "broken"
