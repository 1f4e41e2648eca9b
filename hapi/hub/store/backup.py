"""Back up the hub's database while the hub runs, or from the open files of a hub whose database was
deleted.

A backup is one read transaction of another process: in WAL mode it sees one moment of the database,
and neither waits for writers nor holds them up (https://www.sqlite.org/backup.html). It is written
beside its place, opened and compared, and only then gets its name.
"""

from __future__ import annotations

import errno
import os
import re
import secrets
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from urllib.parse import quote

from attrs import field, frozen

from hapi.home import PRIVATE_DIRECTORY_MODE, PRIVATE_FILE_MODE, sync_directory
from hapi.hub.store.database_files import DELETED, INDEX, LOG, open_files
from hapi.hub.store.interface import StoreRefused
from hapi.hub.store.schema import APPLICATION, VERSION

TABLES = ("sessions", "machines", "messages")
PAGES_PER_STEP = 2_000  # between two chances to interrupt the copy
LOCK_TIMEOUT = 5.0  # seconds to wait for a program that has locked the whole database
COPY_ATTEMPTS = 5  # at the open files of a hub, until none of them changes meanwhile


class BackupFailed(Exception):
    """No backup was made; the message says why. Nothing is left behind."""


@frozen
class Backup:
    """A backup that was made and verified."""

    path: Path
    size: int  # bytes
    counts: dict[str, int]  # rows by table
    rescued_from: int | None  # pid of the hub whose open files were copied


@frozen
class OpenDatabase:
    """The open files of a process whose database is no longer in place."""

    pid: int
    files: dict[str, str] = field(factory=dict)  # suffix -> link in /proc


def back_up(database: Path, target: Path, *, force: bool = False, hub: int | None = None) -> Backup:
    """Write the database to `target`. `force` replaces a file that is there.

    `hub` is the pid of the hub that uses the database, None if unknown or none.
    Raises BackupFailed.
    """
    database, target = Path(os.path.realpath(database)), target.absolute()
    _check_target(database, target, force)
    rescue = lost_database(database, hub)
    try:
        with scratch_directory(target) as scratch:
            source = database if rescue is None else _copy_open_files(rescue, scratch)
            copy = scratch / "copy.db"
            counts = _copy(source, copy)
            _verify(copy, counts)
            size = publish(copy, target, force)
    except StoreRefused as error:
        raise BackupFailed(str(error)) from error
    except sqlite3.Error as error:
        raise BackupFailed(_describe(error, database, target)) from error
    except OSError as error:
        raise BackupFailed(f"{error.filename or target}: {error.strerror or error}") from error
    return Backup(target, size, counts, None if rescue is None else rescue.pid)


# --- the place of the backup ----------------------------------------------------------------------


def _check_target(database: Path, target: Path, force: bool) -> None:
    own = [f"{database}{suffix}" for suffix in ("", LOG, INDEX, ".lock")]
    if target.is_dir():
        raise BackupFailed(f"{target} is a directory: give the backup a file name")
    if os.path.realpath(target) in own or _is_same(target, database):
        raise BackupFailed(f"{target} is the database itself: give the backup another name")
    if os.path.lexists(target) and not force:
        raise BackupFailed(f"{target} already exists: choose another name, or use --force")
    if not target.parent.is_dir():
        raise BackupFailed(f"{target.parent} is not an existing directory")


def _is_same(first: Path, second: Path) -> bool:
    try:
        return os.path.samefile(first, second)
    except OSError:
        return False


@contextmanager
def scratch_directory(target: Path) -> Iterator[Path]:
    """A private directory beside `target`, on the same file system, removed in the end. Those of
    killed backups to the same name are removed first.
    """
    _remove_leftovers(target)
    path = target.with_name(f"{_scratch_prefix(target)}{os.getpid()}.{secrets.token_hex(4)}")
    path.mkdir(PRIVATE_DIRECTORY_MODE)
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


def _scratch_prefix(target: Path) -> str:
    """How the names of the scratch directories for `target` begin: at most 202 bytes, so that the
    whole name keeps within the 255 bytes of most file systems."""
    return f".{os.fsdecode(os.fsencode(target.name)[:200])}."


def _remove_leftovers(target: Path) -> None:
    pattern = re.compile(re.escape(_scratch_prefix(target)) + r"([1-9][0-9]{0,9})\.[0-9a-f]{8}")
    with os.scandir(target.parent) as entries:
        for entry in entries:
            found = pattern.fullmatch(entry.name)
            is_ours = found is not None and entry.is_dir(follow_symlinks=False)
            if found is not None and is_ours and not _is_running(int(found[1])):
                shutil.rmtree(entry.path, ignore_errors=True)


def publish(copy: Path, target: Path, force: bool) -> int:
    descriptor = os.open(copy, os.O_RDWR | os.O_CLOEXEC)
    try:
        os.fchmod(descriptor, PRIVATE_FILE_MODE)
        os.fsync(descriptor)
        size = os.fstat(descriptor).st_size
    finally:
        os.close(descriptor)
    if force:
        copy.rename(target)
    else:
        _rename_to_new(copy, target)
    sync_directory(target.parent)
    return size


def _rename_to_new(copy: Path, target: Path) -> None:
    """Rename without replacing what another program has created meanwhile."""
    try:
        os.link(copy, target)
    except FileExistsError:
        raise BackupFailed(
            f"{target} already exists: choose another name, or use --force"
        ) from None
    except OSError as error:
        if error.errno not in (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK):
            raise
        copy.rename(target)  # a file system without hard links


# --- copy and verify ------------------------------------------------------------------------------


def _connect(path: Path, read_only: bool) -> sqlite3.Connection:
    mode = "ro" if read_only else "rw"
    return sqlite3.connect(
        f"file:{quote(str(path))}?mode={mode}", uri=True, timeout=LOCK_TIMEOUT, isolation_level=None
    )


def _copy(source: Path, copy: Path) -> dict[str, int]:
    """Copy one moment of `source`; the number of rows by table at that moment."""
    # Who may only read would leave the files behind that SQLite creates beside a closed database.
    read_only = os.path.exists(f"{source}{LOG}") and not source.is_relative_to(copy.parent)
    if not source.exists():
        raise BackupFailed(f"there is no database {source}")
    os.close(os.open(copy, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, PRIVATE_FILE_MODE))
    with closing(_connect(source, read_only)) as original:
        check_identity(original, source)
        original.execute("BEGIN")  # one moment for the counts and every step of the copy
        counts = _counts(original)
        with closing(_connect(copy, read_only=False)) as written:
            original.backup(written, pages=PAGES_PER_STEP, progress=lambda *_: None)
            written.execute("PRAGMA journal_mode = DELETE")  # one file, without a log beside it
    return counts


def check_identity(connection: sqlite3.Connection, path: Path) -> None:
    """Raises StoreRefused if the database is not one of a hub, or of a newer one."""
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if application != APPLICATION:
        whose = "is empty" if not tables else f"belongs to another program (id {application})"
        raise StoreRefused(f"{path} {whose}: it is not a database of this hub")
    if version > VERSION:
        raise StoreRefused(
            f"database {path} has version {version}, this program knows up to {VERSION}: "
            "use the newer hapi"
        )


def _counts(connection: sqlite3.Connection) -> dict[str, int]:
    return {
        table: connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0] for table in TABLES
    }


def _verify(copy: Path, expected: dict[str, int]) -> None:
    with closing(_connect(copy, read_only=True)) as connection:
        check_identity(connection, copy)
        (health,) = connection.execute("PRAGMA quick_check(1)").fetchone()
        if health != "ok":
            raise BackupFailed(
                f"the database is damaged ({health}): its backup could not be verified"
            )
        found = _counts(connection)
    if found != expected:
        raise BackupFailed(f"the backup has {found} rows instead of {expected}")


def _describe(error: sqlite3.Error, database: Path, target: Path) -> str:
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code == sqlite3.SQLITE_FULL:
        return f"no space left for {target}"
    if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        return f"database {database} is damaged or not a database ({error})"
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return f"database {database} is locked by another program"
    return f"database {database} cannot be backed up: {error}"


# --- a database that is not in place --------------------------------------------------------------


def lost_database(database: Path, hub: int | None) -> OpenDatabase | None:
    """The process that has the database open while a file of it was deleted or replaced.

    With `hub`, only that process is considered.
    """
    names = {f"{database}{suffix}": suffix for suffix in ("", LOG, INDEX)}
    pids = (
        [hub] if hub is not None else [int(name) for name in os.listdir("/proc") if name.isdigit()]
    )
    for pid in pids:
        files: dict[str, str] = {}
        is_lost = False
        for link, _ in open_files(pid):
            with suppress(OSError):
                name = os.readlink(link)
                suffix = names.get(name.removesuffix(DELETED))
                if suffix is not None:
                    files.setdefault(suffix, link)
                    is_lost = is_lost or name.endswith(DELETED)
        if is_lost and "" in files and _is_database(files[""]):
            return OpenDatabase(pid, files)
    return None


def _is_database(link: str) -> bool:
    """Whether an open file is a database of SQLite. (Whose it is may stand in the log only.)"""
    with suppress(OSError), open(link, "rb") as file:
        return file.read(16) == b"SQLite format 3\0"  # sqlite.org/fileformat2.html
    return False


def _copy_open_files(rescue: OpenDatabase, scratch: Path) -> Path:
    """Copy database and log, which the hub no longer changes. Raises BackupFailed."""
    source = scratch / "rescued.db"
    links = {suffix: link for suffix, link in rescue.files.items() if suffix != INDEX}
    for _ in range(COPY_ATTEMPTS):
        before = _states(links)
        for suffix, link in links.items():
            shutil.copyfile(link, f"{source}{suffix}")
        if _states(links) == before:
            return source
    raise BackupFailed(f"the hub (process {rescue.pid}) still writes into its database; try again")


def _states(links: dict[str, str]) -> list[tuple[int, int]]:
    return [(found.st_size, found.st_mtime_ns) for found in map(os.stat, links.values())]


def _is_running(pid: int) -> bool:
    import psutil  # 0.6 MB, for the leftovers of a backup alone

    return bool(psutil.pid_exists(pid))
