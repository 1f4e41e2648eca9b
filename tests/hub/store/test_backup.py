"""A backup is whole, verified and private, or there is none and one sentence says why."""

from __future__ import annotations

import errno
import os
import resource
import shutil
import signal
import sqlite3
import stat
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from hapi.hub.store import backup as backup_module
from hapi.hub.store.backup import BackupFailed, back_up
from hapi.hub.store.interface import StoreLost
from hapi.hub.store.rows import MessageRow, SessionRow
from hapi.hub.store.sqlite import SqliteStore
from tests.support.hub_stage import EPOCH, result_of


def run(coroutine: Any) -> Any:
    return result_of(Deferred.fromCoroutine(coroutine))


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Path]:
    """A database that is open in a hub, with two sessions and fifty messages."""
    path = tmp_path / "home/hub.db"
    path.parent.mkdir()
    store = SqliteStore(path, Clock())
    store.open()
    for name in ("s1", "s2"):
        run(store.create_session(SessionRow(name, "default", name, EPOCH, EPOCH)))
    for number in range(50):
        content = {"role": "user", "content": {"type": "text", "text": "x" * 5000}}
        run(store.add_message(MessageRow(f"m{number}", "s1", 0, content, EPOCH), None))
    yield path
    store.close()


def rows(path: Path) -> dict[str, int]:
    """What a store that opens the file finds in it."""
    store = SqliteStore(path, Clock())
    store.open()
    try:
        messages = len(run(store.latest("s1", 1000)))
        return {"sessions": len(run(store.sessions())), "messages": messages}
    finally:
        store.close()


def left_in(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


def test_the_backup_of_an_open_database_is_complete_private_and_one_file(
    database: Path, tmp_path: Path
) -> None:
    target = tmp_path / "backups/copy.db"
    target.parent.mkdir()
    made = back_up(database, target)
    assert made.counts == {"sessions": 2, "machines": 0, "messages": 50}
    assert made.size == target.stat().st_size > 250_000
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    assert left_in(target.parent) == ["copy.db"]
    assert rows(target) == {"sessions": 2, "messages": 50}


def test_nothing_is_left_beside_a_database_that_nobody_uses(tmp_path: Path) -> None:
    path = tmp_path / "home/hub.db"
    path.parent.mkdir()
    store = SqliteStore(path, Clock())
    store.open()
    store.close()
    back_up(path, tmp_path / "copy.db")
    assert left_in(path.parent) == ["hub.db"]


def test_what_a_killed_hub_left_in_its_log_is_backed_up(database: Path, tmp_path: Path) -> None:
    for suffix in ("", "-wal"):  # as after SIGKILL: a log, and no index
        shutil.copyfile(f"{database}{suffix}", f"{tmp_path}/killed.db{suffix}")
    made = back_up(tmp_path / "killed.db", tmp_path / "copy.db")
    assert made.counts["messages"] == 50
    assert rows(tmp_path / "killed.db")["messages"] == 50


def test_a_file_is_replaced_with_force_only(database: Path, tmp_path: Path) -> None:
    target = tmp_path / "copy.db"
    target.write_text("precious")
    with pytest.raises(BackupFailed, match="already exists: choose another name, or use --force"):
        back_up(database, target)
    assert target.read_text() == "precious"
    back_up(database, target, force=True)
    assert rows(target)["sessions"] == 2


def test_a_file_that_appears_meanwhile_is_not_replaced(
    database: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target, really = tmp_path / "copy.db", backup_module._verify

    def verified(*arguments: Any) -> None:
        really(*arguments)
        target.write_text("precious")

    monkeypatch.setattr(backup_module, "_verify", verified)
    with pytest.raises(BackupFailed, match="already exists"):
        back_up(database, target)
    assert target.read_text() == "precious"
    assert left_in(tmp_path) == ["copy.db", "home"]


def test_a_link_is_replaced_and_not_followed(database: Path, tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("precious")
    (tmp_path / "copy.db").symlink_to(tmp_path / "precious")
    back_up(database, tmp_path / "copy.db", force=True)
    assert (tmp_path / "precious").read_text() == "precious"
    assert not (tmp_path / "copy.db").is_symlink()


@pytest.mark.parametrize("name", ["hub.db", "hub.db-wal", "hub.db-shm", "link.db", "hard.db"])
def test_the_database_is_never_its_own_backup(database: Path, name: str) -> None:
    target = database.with_name(name)
    if name == "link.db":
        target.symlink_to(database)
    elif name == "hard.db":
        os.link(database, target)
    with pytest.raises(BackupFailed, match="is the database itself"):
        back_up(database, target, force=True)
    assert rows(database)["messages"] == 50


@pytest.mark.parametrize(
    ("trouble", "sentence"),
    [
        ("directory", r"copy is a directory: give the backup a file name$"),
        ("missing directory", r"missing is not an existing directory$"),
        ("no database", r"^there is no database .*/none\.db$"),
        ("npm's", r"npm\.db belongs to another program \(id 0\)"),
        ("empty", r"empty\.db is empty: it is not a database of this hub$"),
        ("no SQLite", r"text\.db is damaged or not a database"),
        ("newer", r"has version 99, this program knows up to"),
        ("damaged", r"is damaged"),
        ("unreadable", r"^database .*home cannot be backed up: unable to open database file$"),
    ],
)
def test_each_trouble_is_one_sentence_and_leaves_nothing(
    database: Path, tmp_path: Path, trouble: str, sentence: str
) -> None:
    source, target = database, tmp_path / "copy"
    if trouble == "directory":
        target.mkdir()
    elif trouble == "missing directory":
        target = tmp_path / "missing/copy"
    elif trouble == "no database":
        source = tmp_path / "none.db"
    elif trouble == "npm's":
        source = tmp_path / "npm.db"
        with closing(sqlite3.connect(source)) as other:
            other.execute("CREATE TABLE sessions (id)")
    elif trouble == "empty":
        (source := tmp_path / "empty.db").touch()
    elif trouble == "no SQLite":
        (source := tmp_path / "text.db").write_text("no database" * 1000)
    elif trouble == "unreadable":
        source = database.parent
    else:
        back_up(database, source := tmp_path / "other.db")
        if trouble == "newer":
            with closing(sqlite3.connect(source)) as other:
                other.execute("PRAGMA user_version = 99")
        else:
            with source.open("r+b") as file:
                file.seek(4096 * 3)
                file.write(b"\xff" * 4096 * 20)
    before = left_in(tmp_path)
    with pytest.raises(BackupFailed, match=sentence):
        back_up(source, target)
    assert left_in(tmp_path) == before


def test_a_full_disk_is_one_sentence_and_leaves_no_half_file(
    database: Path, tmp_path: Path
) -> None:
    before, target = left_in(tmp_path), tmp_path / "copy"
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
    try:
        with pytest.raises(BackupFailed):
            back_up(database, target)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert left_in(tmp_path) == before


def test_no_space_is_named(database: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(tmp_path / "copy"))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(BackupFailed, match=r"copy: No space left on device$"):
        back_up(database, tmp_path / "copy")
    assert left_in(tmp_path) == ["home"]


def test_an_interrupted_backup_leaves_nothing(
    database: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(backup_module, "_verify", interrupted)
    with pytest.raises(KeyboardInterrupt):
        back_up(database, tmp_path / "copy")
    assert left_in(tmp_path) == ["home"]


def test_what_killed_backups_left_is_removed_by_the_next_one(
    database: Path, tmp_path: Path
) -> None:
    with subprocess.Popen(["true"]) as ended:
        pass
    left = tmp_path / f".copy.db.{ended.pid}.0123abcd"
    kept = [tmp_path / f".copy.db.{os.getpid()}.0123abcd", tmp_path / ".copy.db.mine"]
    for directory in (left, *kept):
        directory.mkdir()
        (directory / "copy.db").touch()
    back_up(database, tmp_path / "copy.db")
    assert not left.exists()
    assert all((directory / "copy.db").exists() for directory in kept)


def test_a_copy_that_is_not_the_same_is_not_published(
    database: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    really = backup_module._copy

    def copied(*arguments: Any, **more: Any) -> dict[str, int]:
        counts = really(*arguments, **more)
        with closing(sqlite3.connect(arguments[1])) as copy, copy:
            copy.execute("DELETE FROM messages WHERE id = 'm7'")
        return counts

    monkeypatch.setattr(backup_module, "_copy", copied)
    with pytest.raises(BackupFailed, match="49"):
        back_up(database, tmp_path / "copy")
    assert left_in(tmp_path) == ["home"]


def deleted(database: Path) -> None:
    database.unlink()


def replaced(database: Path) -> None:
    back_up(database, database.with_name("old.db"))
    with closing(sqlite3.connect(database.with_name("old.db"))) as old, old:
        old.execute("DELETE FROM sessions")
    database.with_name("old.db").rename(database)


def without_log(database: Path) -> None:
    Path(f"{database}-wal").unlink()


def without_index(database: Path) -> None:
    Path(f"{database}-shm").unlink()


def without_home(database: Path) -> None:
    shutil.rmtree(database.parent)


@pytest.mark.parametrize("knows_hub", [True, False])
@pytest.mark.parametrize("is_noticed", [True, False])
@pytest.mark.parametrize("change", [deleted, replaced, without_log, without_index, without_home])
def test_a_lost_database_is_rescued_from_the_open_files_of_its_hub(
    tmp_path: Path, change: Any, is_noticed: bool, knows_hub: bool
) -> None:
    path = tmp_path / "home/hub.db"
    path.parent.mkdir()
    store = SqliteStore(path, Clock())
    store.open()
    try:
        for name in ("s1", "s2"):
            run(store.create_session(SessionRow(name, "default", name, EPOCH, EPOCH)))
        change(path)
        if is_noticed:
            with pytest.raises(StoreLost):
                store.database.verify_files()
        made = back_up(path, tmp_path / "copy.db", hub=os.getpid() if knows_hub else None)
        assert made.rescued_from == os.getpid()
        assert left_in(tmp_path) in (["copy.db"], ["copy.db", "home"])
    finally:
        store.close()
    assert rows(tmp_path / "copy.db")["sessions"] == 2
