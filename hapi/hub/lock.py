"""The lock of a hub: one hub serves a home, and one hub opens a database.

It consists of two files, `hub.lock` in the home and `<database>.lock` beside the database, so that
neither two databases share the settings of one home nor two homes share one database. Symbolic
links to either count as the same. A database in PostgreSQL has no file: its hubs agree there.
"""

from __future__ import annotations

import os
import socket
import time
from pathlib import Path
from typing import Any

from attrs import define, field

from hapi.file_lock import FileLock, LockOwner, LockUnusable, lock_owner
from hapi.home import Home
from hapi.hub.store.database_url import DatabaseUrl, is_url
from hapi.hub.store.interface import StoreRefused

LOCK, DATABASE_LOCK_SUFFIX = "hub.lock", ".lock"
# For so long a hub that has just taken the lock may need to write who it is, in seconds.
OWNER_TIMEOUT, OWNER_POLL_INTERVAL = 0.2, 0.01
MEMORY = Path(":memory:")  # SQLite's name for a database without a file


class HubAlreadyRunning(Exception):
    """Another hub uses the home or the database. `pid` is None if it is unknown."""

    def __init__(self, what: str, owner: LockOwner) -> None:
        url = owner.facts.get("url")
        who = "another hub" if owner.pid is None else f"the hub with process id {owner.pid}"
        if owner.pid == os.getpid():
            who = f"another hub of this process ({owner.pid})"
        if isinstance(url, str) and url:
            who += f" at {url}"
        host = owner.facts.get("host")
        if isinstance(host, str) and host != socket.gethostname():
            who += f" on {host}"
        super().__init__(f"{what} is in use by {who}; stop that hub first")
        self.pid = owner.pid


def database_lock_path(database: Path) -> Path:
    """The lock file of a database, the same for every name of the file that symbolic links give."""
    resolved = Path(os.path.realpath(database))
    return resolved.with_name(resolved.name + DATABASE_LOCK_SUFFIX)


@define(eq=False, repr=False)
class HubLock:
    """The lock of the hub that uses `home` and `database`. The kernel releases it when the process
    ends, however it ends.
    """

    home: Home
    database: Path | DatabaseUrl
    _locks: list[FileLock] = field(factory=list)

    def acquire(self) -> None:
        """Acquire both files or none. Raises HubAlreadyRunning, StoreRefused, LockUnusable.

        Waits only for a hub that took the lock a moment ago to say who it is.
        """
        try:
            self._acquire(self.home.path / LOCK, f"HAPI home {self.home.path}")
            if isinstance(self.database, Path) and self.database != MEMORY:
                try:
                    self._acquire(database_lock_path(self.database), f"database {self.database}")
                except LockUnusable as error:
                    raise StoreRefused(
                        f"database {self.database} cannot be locked: {error}"
                    ) from error
        except BaseException:
            self.release()
            raise

    def _acquire(self, path: Path, what: str) -> None:
        lock, deadline = FileLock(path), time.monotonic() + OWNER_TIMEOUT
        while (owner := lock.try_acquire(**self._facts())) is not None:
            if _is_running(owner) or time.monotonic() >= deadline:
                raise HubAlreadyRunning(what, owner)
            time.sleep(OWNER_POLL_INTERVAL)
        self._locks.append(lock)

    def _facts(self, **more: Any) -> dict[str, Any]:
        return {"database": database_name(self.database), **more}

    def announce(
        self, url: str, people_url: str = "", started_at: int = 0, role: str = "active"
    ) -> None:
        """Write into both files what whoever meets the lock wants to know: the local address of the
        hub, the one for people, when it was started (milliseconds since the epoch), and whether it
        is `active` or a `standby`.
        """
        facts = self._facts(url=url, peopleUrl=people_url or url, startedAt=started_at, role=role)
        for lock in self._locks:
            lock.describe(**facts)

    def restore(self) -> None:
        """Create lock files again that another program has deleted."""
        for lock in self._locks:
            lock.restore()

    def release(self) -> None:
        while self._locks:
            self._locks.pop().release()


def database_name(database: Path | DatabaseUrl) -> str:
    """The resolved path of the file, or the URL without its password."""
    return str(database) if isinstance(database, DatabaseUrl) else os.path.realpath(database)


def named_database(name: str) -> Path | DatabaseUrl:
    """The database of `database_name`."""
    return DatabaseUrl.parse(name) if is_url(name) else Path(name)


def running_hub(home: Home, database: Path | DatabaseUrl | None) -> LockOwner | None:
    """The hub that uses `database`, or without one the hub of `home`; None if none runs. Of a
    database in PostgreSQL only a hub of `home` is known.
    """
    if isinstance(database, Path):
        return lock_owner(database_lock_path(database))
    owner = lock_owner(home.path / LOCK)
    if owner is None or database is None:
        return owner
    return owner if owner.facts.get("database") == database_name(database) else None


def _is_running(owner: LockOwner) -> bool:
    """Whether `owner` is known, and not a process that was killed before this lock was taken."""
    return owner.pid is not None and os.path.exists(f"/proc/{owner.pid}")
