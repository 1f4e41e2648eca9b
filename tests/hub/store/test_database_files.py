"""A database that is deleted, replaced or moved while the hub runs: noticed, refused in words, and
nothing that could be kept is lost.
"""

from __future__ import annotations

import re
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.logger import LogLevel, formatEvent, globalLogPublisher

from hapi.hub.store import database
from hapi.hub.store.interface import StoreLost, StoreRefused
from hapi.hub.store.rows import SessionRow
from hapi.hub.store.sqlite import SqliteStore
from tests.support.hub_stage import EPOCH, result_of


@define
class OpenStore:
    """An open store in `path`, and what it logs."""

    path: Path
    store: SqliteStore = field(init=False)
    errors: list[str] = field(factory=list)
    infos: list[str] = field(factory=list)
    written: int = 0

    def __attrs_post_init__(self) -> None:
        self.open()
        self.write()

    def open(self) -> None:
        self.store = SqliteStore(self.path, Clock())
        self.store.open()

    def write(self) -> None:
        self.written += 1
        row = SessionRow(f"s{self.written}", "default", f"t{self.written}", EPOCH, EPOCH)
        try:
            result_of(Deferred.fromCoroutine(self.store.create_session(row)))
        except BaseException:
            self.written -= 1
            raise

    def rows(self) -> int:
        return len(result_of(Deferred.fromCoroutine(self.store.sessions())))

    def heard(self, event: dict[str, Any]) -> None:
        if event["log_namespace"].endswith("DatabaseFiles"):
            kept = self.errors if event["log_level"] is LogLevel.error else self.infos
            kept.append(str(formatEvent(event)))


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[OpenStore]:
    (tmp_path / "home").mkdir()
    made = OpenStore(tmp_path / "home/hub.db")
    globalLogPublisher.addObserver(made.heard)
    yield made
    globalLogPublisher.removeObserver(made.heard)
    made.store.close()


def deleted(path: Path) -> None:
    path.unlink()


def replaced(path: Path) -> None:
    other = path.with_name("other.db")
    with sqlite3.connect(other) as connection:
        connection.execute("CREATE TABLE other (value)")
        connection.execute("INSERT INTO other VALUES ('untouched')")
    connection.close()
    other.rename(path)


def assert_untouched(path: Path) -> None:
    """The file is what `replaced` has put there."""
    with sqlite3.connect(path) as connection:
        assert connection.execute("SELECT value FROM other").fetchall() == [("untouched",)]
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    connection.close()


def moved(path: Path) -> None:
    path.rename(path.with_name("moved.db"))


def moved_and_replaced(path: Path) -> None:
    moved(path)
    replaced(path)


def without_log(path: Path) -> None:
    Path(f"{path}-wal").unlink()


def without_index(path: Path) -> None:
    Path(f"{path}-shm").unlink()


def without_home(path: Path) -> None:
    shutil.rmtree(path.parent)


def home_moved(path: Path) -> None:
    path.parent.rename(path.parent.with_name("elsewhere"))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (deleted, "home/hub.db was deleted while"),
        (replaced, "home/hub.db was replaced by another file while"),
        (moved, "home/hub.db was moved to .*/home/moved.db while .* Move it back"),
        (moved_and_replaced, "home/hub.db was moved to .* Another file took its place"),
        (without_log, "home/hub.db-wal was deleted or replaced while"),
        (without_index, "home/hub.db-shm was deleted or replaced while"),
        (without_home, "home/hub.db was deleted while"),
        (home_moved, "home/hub.db was moved to .*/elsewhere/hub.db while"),
    ],
)
def test_every_write_is_refused_and_the_log_says_once_what_to_do(
    opened: OpenStore, change: Callable[[Path], None], words: str
) -> None:
    change(opened.path)
    for _ in range(3):
        with pytest.raises(StoreLost):
            opened.write()
        with pytest.raises(StoreLost):
            opened.store.database.verify_files()
    assert opened.rows() == 1  # reading goes on
    (error,) = opened.errors
    assert re.search(words, error), error
    assert "The hub refuses every change" in error


def test_a_database_that_is_moved_back_is_used_again(opened: OpenStore) -> None:
    moved(opened.path)
    with pytest.raises(StoreLost):
        opened.write()
    opened.path.with_name("moved.db").rename(opened.path)
    opened.write()
    assert (len(opened.errors), len(opened.infos)) == (1, 1)
    opened.store.close()
    opened.open()
    assert opened.rows() == 2


def test_a_home_that_is_moved_back_is_used_again(opened: OpenStore) -> None:
    home_moved(opened.path)
    with pytest.raises(StoreLost):
        opened.write()
    opened.path.parent.with_name("elsewhere").rename(opened.path.parent)
    opened.write()


def test_a_directory_that_cannot_be_read_for_a_moment_costs_nothing(
    opened: OpenStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    from hapi.hub.store import database_files

    with monkeypatch.context() as patched:
        patched.setattr(database_files, "_inode", lambda _path: None)
        with pytest.raises(StoreLost, match="cannot be reached"):
            opened.write()
    opened.write()
    assert Path(f"{opened.path}-wal").exists()


@pytest.mark.parametrize("change", [without_log, without_index])
def test_the_orderly_end_writes_what_was_only_in_a_deleted_log(
    opened: OpenStore, change: Callable[[Path], None]
) -> None:
    change(opened.path)
    with pytest.raises(StoreLost):
        opened.write()
    opened.store.close()
    opened.open()
    assert opened.rows() == 1
    opened.write()


@pytest.mark.parametrize("change", [replaced, moved_and_replaced])
@pytest.mark.parametrize("end", ["close", "kill"])
def test_the_log_of_the_old_database_is_never_replayed_into_the_new_one(
    opened: OpenStore, change: Callable[[Path], None], end: str
) -> None:
    change(opened.path)
    with pytest.raises(StoreLost):
        opened.write()
    if end == "close":
        opened.store.close()
    assert_untouched(opened.path)


def test_a_database_that_is_put_in_place_of_a_deleted_one_is_not_hurt(
    opened: OpenStore,
) -> None:
    deleted(opened.path)
    with pytest.raises(StoreLost):
        opened.write()
    opened.store.close()
    assert list(opened.path.parent.iterdir()) == []
    replaced(opened.path)
    assert_untouched(opened.path)


@pytest.mark.parametrize("change", [moved, moved_and_replaced])
def test_a_moved_database_keeps_everything(
    opened: OpenStore, change: Callable[[Path], None]
) -> None:
    change(opened.path)
    with pytest.raises(StoreLost):
        opened.write()
    opened.store.close()
    opened.path = opened.path.with_name("moved.db")
    opened.open()
    assert opened.rows() == 1


def test_a_symbolic_link_to_the_database_is_followed_to_where_it_was_opened(
    tmp_path: Path, opened: OpenStore
) -> None:
    opened.store.close()
    link = tmp_path / "link.db"
    link.symlink_to(opened.path)
    opened.path = link
    opened.open()
    opened.write()
    link.unlink()
    opened.write()  # the file is still where it was, and its log beside it
    (tmp_path / "home/hub.db").unlink()
    with pytest.raises(StoreLost):
        opened.write()


@pytest.mark.parametrize(
    ("code", "free", "words"),
    [
        (sqlite3.SQLITE_FULL, 1 << 30, "no space left on its disk"),
        (sqlite3.SQLITE_IOERR_SHMSIZE, 0, "no space left on its disk"),
        (sqlite3.SQLITE_IOERR_SHMSIZE, 1 << 30, "disk I/O error"),
    ],
)
def test_a_full_disk_at_the_start_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, free: int, words: str
) -> None:
    error = sqlite3.OperationalError("disk I/O error")
    error.sqlite_errorcode = code

    def failing(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr(database, "free_space", lambda _: free)
    monkeypatch.setattr(database.sqlite3, "connect", failing)
    store = SqliteStore(tmp_path / "hub.db", Clock())
    with pytest.raises(StoreRefused, match=f"hub.db: {words}$"):
        result_of(store.open())
