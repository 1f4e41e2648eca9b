"""What dead sessions and runners left behind in one home.

Processes are recognized by pid, start time and mark, files by lock and content, never by name.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from attrs import field, frozen

from hapi.attempts import AttemptFolder, attempts
from hapi.home import Home, remove_tree
from hapi.pictures import expired_pictures
from hapi.process.kernel import kernel
from hapi.process.local import local_processes
from hapi.process.tree import ProcessTable
from hapi.protocol.attempt import ProcessIdentity
from hapi.runner.storage.state_file import StateFile
from hapi.uploads import remove_unused, unused_uploads, uploads_directory

STALE_AGE = 3600.0  # seconds after which an unfinished write or check is abandoned


@frozen
class StrayProcess:
    """A process that a session started and that outlived the session."""

    identity: ProcessIdentity
    attempt: str
    command: str

    def __str__(self) -> str:
        return f"process {self.identity.pid} ({self.command}), left by the session {self.attempt}"


@frozen
class Leftover:
    """A file or directory that nothing uses any more."""

    path: Path
    why: str
    is_uploads: bool = False  # removed unless a session has taken them meanwhile

    def __str__(self) -> str:
        return f"{self.path}: {self.why}"


@frozen
class Findings:
    strays: list[StrayProcess] = field(factory=list)
    leftovers: list[Leftover] = field(factory=list)
    # A runner holds the home: its files are left alone, uploads without a session are not.
    runs: bool = False


@contextmanager
def exclusive_home(home: Home) -> Iterator[bool]:
    """Hold the home's lock if it is free; yields whether the home is ours."""
    try:
        descriptor = os.open(home.runner_lock, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        yield True
        return
    except OSError:
        yield False
        return
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            yield False
        else:
            yield True
    finally:
        os.close(descriptor)


def scan(home: Home, alone: bool, now: float | None = None) -> Findings:
    """What could be removed; nothing is changed. `alone`: the lock is free, or we hold it."""
    state = StateFile(home).read()
    of_npm = (
        state is not None and kernel().identify(state.pid) is not None
    )  # alive: npm's runner holds no lock of ours
    uploads = list(_find_uploads(home))
    uploads += [
        Leftover(path, "pictures of a session that showed none for 30 days")
        for path in expired_pictures(home, now)
    ]
    if not alone or of_npm:
        return Findings(find_stray_processes(home), uploads, runs=True)
    found = [*uploads, *_find_leftovers(home, now or time.time())]
    return Findings(find_stray_processes(home), sorted(found, key=lambda leftover: leftover.path))


def find_stray_processes(home: Home) -> list[StrayProcess]:
    """Processes with the mark of a session of this home that has ended; never our own process."""
    table = ProcessTable(kernel())
    for _ in table.fill():
        pass
    folders = {folder.id: folder for folder in attempts(home)}
    found = []
    for attempt, pids in sorted(table.marked.items()):
        folder = folders.get(attempt)
        if folder is None or not has_ended(folder):
            continue
        for pid in sorted(pids - {os.getpid()}):
            identity = kernel().identify(pid)
            if identity is not None and _belongs(pid, attempt, home):
                found.append(StrayProcess(identity, attempt, _command(pid)))
    return found


def has_ended(folder: AttemptFolder) -> bool:
    """Whether the session has certainly ended: an exit is recorded, or both processes are gone."""
    if folder.end is not None:
        return True
    process = folder.process
    if process is None:
        return False
    return all(
        kernel().is_running(identity) is False
        for identity in (process.child, process.holder)
        if identity is not None
    )


def _belongs(pid: int, attempt: str, home: Home) -> bool:
    """Whether the process belongs to this home, not to another with a session of the same id."""
    words = (kernel().read_environment(pid) or b"").split(b"\0")
    named = next(
        (word.partition(b"=")[2] for word in words if word.startswith(b"HAPI_HOME=")), None
    )
    return (
        named is not None
        and f"HAPI_ATTEMPT={attempt}".encode() in words
        and Path(os.fsdecode(named)) == home.path
    )


def _command(pid: int) -> str:
    """The program alone: arguments may contain secrets."""
    return os.fsdecode((kernel().read_command_line(pid) or b"?").split(b"\0")[0])


def _find_uploads(home: Home) -> Iterator[Leftover]:
    """Uploads that no process holds, less those of sessions that may be alive nevertheless."""
    known = {
        uploads_directory(home, folder.session.session_id)
        for folder in attempts(home)
        if folder.session is not None and not has_ended(folder)
    }
    for path in unused_uploads(home):
        if path not in known:
            yield Leftover(path, "uploads of a session that has ended", is_uploads=True)


def _find_leftovers(home: Home, now: float) -> Iterator[Leftover]:
    state = home.runner_state
    if state.is_file() and StateFile(home).read() is not None:
        yield Leftover(state, "its runner no longer exists")
    if home.runner_socket.is_socket():
        yield Leftover(home.runner_socket, "nothing listens on it")
    if home.attempts.is_dir():
        for path in home.attempts.glob(".new-*"):
            yield Leftover(path, "a session that never started")
    for path in _files(home.path):
        if path.name.startswith(f"{state.name}.corrupt-"):
            yield Leftover(path, "a broken state file that was moved aside")
        elif (
            path.name.startswith((f".{state.name}.", f".{home.settings.name}."))
            and now - _modified_at(path, now) > STALE_AGE
        ):
            yield Leftover(path, "a write that did not finish")
    for path in home.path.glob(".doctor-*"):
        if now - _modified_at(path, now) > STALE_AGE:
            yield Leftover(path, "a check that did not finish")


def _modified_at(path: Path, now: float) -> float:
    """Epoch seconds; `now` for a file that was removed meanwhile."""
    try:
        return path.lstat().st_mtime
    except OSError:
        return now


def _files(directory: Path) -> list[Path]:
    try:
        return [path for path in directory.iterdir() if path.is_file() and not path.is_symlink()]
    except OSError:
        return []


async def clean_up(reactor: Any, findings: Findings) -> list[str]:
    """Stop and remove what was found; one sentence for each failure.

    Each process is identified again before it gets a signal.
    """

    processes, troubles = local_processes(reactor), []
    for stray in findings.strays:
        # Without the mark: a process of a copy of this home carries it too, and is not ours.
        if (
            kernel().is_running(stray.identity)
            and await processes.end_tree(stray.identity, "") == "still_alive"
        ):
            troubles.append(f"process {stray.identity.pid} could not be stopped")
    for leftover in findings.leftovers:
        try:
            if leftover.is_uploads:
                if not remove_unused(leftover.path):
                    troubles.append(f"{leftover.path} could not be removed")
            elif leftover.path.is_dir() and not leftover.path.is_symlink():
                remove_tree(leftover.path)
            else:
                leftover.path.unlink(missing_ok=True)
        except OSError as error:
            troubles.append(f"{leftover.path} could not be removed: {error.strerror or error}")
    return troubles
