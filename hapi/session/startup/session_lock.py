"""The lock of a session: at most one process of it lives at a time.

Two `hapi resume` of one session, or one beside a start from the page, would otherwise both go on
with it, and each prompt would run twice. The lock is a file of the session in HAPI_HOME that the
process keeps locked until it ends. The session processes of npm's HAPI take none.
"""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from attrs import define, field

from hapi.file_lock import FileLock, LockOwner, LockUnusable
from hapi.home import Home
from hapi.redaction import escape_control

DIRECTORY = "session-locks"
# Seconds that the process before may take to end after it has left its place at the hub: it ends
# its agent, and what that has left running.
WAIT_TIME, POLL_INTERVAL = 8.0, 0.1
_NAMEABLE = re.compile(r"[A-Za-z0-9_-]{1,64}")


class SessionHeld(Exception):
    """Another process has the session; the text names it."""

    def __init__(self, session_id: str, pid: int | None) -> None:
        who = "another process" if pid is None else f"the process {pid}"
        super().__init__(f"{who} runs the session {session_id} already, and goes on")


def lock_path(home: Home, session_id: str) -> Path:
    """The lock file of a session. Ids that are no file name are hashed."""
    name = session_id
    if not _NAMEABLE.fullmatch(session_id):
        import hashlib

        name = hashlib.sha256(session_id.encode("utf-8", "replace")).hexdigest()[:40]
    return home.path / DIRECTORY / f"{name}.lock"


@define(eq=False, repr=False)
class SessionLock:
    """What this process has locked. Where there can be no lock, as on some network file systems,
    standard error says so, and the session goes on without.
    """

    _home: Home
    _held: dict[str, FileLock] = field(factory=dict)

    def wait(self, session_id: str, is_unwanted: Callable[[], object] = bool) -> None:
        """Take the lock, and wait for the end of the process before for WAIT_TIME at most, or until
        `is_unwanted()`. It blocks: it is for the time before there is a reactor. Raises
        SessionHeld.
        """
        deadline = time.monotonic() + WAIT_TIME
        while (owner := self._try(session_id)) is not None:
            if time.monotonic() >= deadline or is_unwanted():
                raise SessionHeld(session_id, owner.pid)
            time.sleep(POLL_INTERVAL)

    def take(self, session_id: str) -> None:
        """Take the lock now, unless this process has it. Raises SessionHeld."""
        if (owner := self._try(session_id)) is not None:
            raise SessionHeld(session_id, owner.pid)

    def _try(self, session_id: str) -> LockOwner | None:
        if session_id in self._held:
            return None
        try:
            self._home.directory(DIRECTORY)
            lock = FileLock(lock_path(self._home, session_id))
            owner = lock.try_acquire()
        except (LockUnusable, OSError) as error:
            print(
                f"hapi: a second process of this session is not kept away: {escape_control(error)}",
                file=sys.stderr,
            )
            return None
        if owner is None:
            self._held[session_id] = lock
        return owner

    def release(self) -> None:
        """Release what is locked, and remove the files: who has opened one meanwhile notices."""
        for lock in self._held.values():
            with suppress(OSError):
                lock.path.unlink()
            lock.release()
        self._held.clear()
