"""`hapi doctor clean`: what was left behind in one home, found by what it is (pid and start, lock, content), never by a name."""

from __future__ import annotations

import fcntl
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from attrs import field, frozen

from hapi.attempts import AttemptFolder, attempts
from hapi.home import Home
from hapi.process.identity import identify, is_running, read_proc
from hapi.process.tree import ProcessTable
from hapi.protocol.attempt import ProcessIdentity
from hapi.runner.storage.state_file import StateFile

OLD = 3600.0  # seconds after which a file that should have been renamed at once never will be


@frozen
class Stray:
    """A process that a session started and left; the session is over."""

    identity: ProcessIdentity
    attempt: str
    command: str

    def __str__(self) -> str:
        return f"process {self.identity.pid} ({self.command}), left by session {self.attempt}"


@frozen
class Leftover:
    """A file or folder that nobody reads any more."""

    path: Path
    why: str

    def __str__(self) -> str:
        return f"{self.path}: {self.why}"


@frozen
class Findings:
    strays: list[Stray] = field(factory=list)
    leftovers: list[Leftover] = field(factory=list)
    runs: bool = False  # a runner holds the home, so its files are its own business


@contextmanager
def alone_in(home: Home) -> Iterator[bool]:
    """Hold the home's lock meanwhile, if nobody else does; True then."""
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


def look(home: Home, alone: bool, now: float | None = None) -> Findings:
    """What could be cleaned away. `alone`: nobody holds the lock, or we do. Nothing is changed."""
    state = StateFile(home).read()
    of_npm = (
        state is not None and identify(state.pid) is not None
    )  # alive: npm's runner holds no lock of ours
    if not alone or of_npm:
        return Findings(strays(home), [], runs=True)
    return Findings(
        strays(home), sorted(_leftovers(home, now or time.time()), key=lambda found: found.path)
    )


def strays(home: Home) -> list[Stray]:
    """Processes that carry the mark of one of this home's sessions which is over; ourselves never."""
    table = ProcessTable()
    for _ in table.fill():
        pass
    folders = {folder.id: folder for folder in attempts(home)}
    found = []
    for attempt, pids in sorted(table.marked.items()):
        folder = folders.get(attempt)
        if folder is None or not is_over(folder):
            continue
        for pid in sorted(pids - {os.getpid()}):
            identity = identify(pid)
            if identity is not None and _belongs(pid, attempt, home):
                found.append(Stray(identity, attempt, _command(pid)))
    return found


def is_over(folder: AttemptFolder) -> bool:
    """Proved: an end is recorded, or both processes are gone. What cannot be proved is not over."""
    if folder.end is not None:
        return True
    process = folder.process
    if process is None:
        return False
    return all(
        is_running(identity) is False
        for identity in (process.child, process.holder)
        if identity is not None
    )


def _belongs(pid: int, attempt: str, home: Home) -> bool:
    """The process names this very home, not another one with a session of the same name."""
    words = (read_proc(pid, "environ") or b"").split(b"\0")
    named = next(
        (word.partition(b"=")[2] for word in words if word.startswith(b"HAPI_HOME=")), None
    )
    return (
        named is not None
        and f"HAPI_ATTEMPT={attempt}".encode() in words
        and Path(os.fsdecode(named)) == home.path
    )


def _command(pid: int) -> str:
    """The program alone: arguments may hold what is nobody's business."""
    return os.fsdecode((read_proc(pid, "cmdline") or b"?").split(b"\0")[0])


def _leftovers(home: Home, now: float) -> Iterator[Leftover]:
    state = home.runner_state
    if state.is_file() and StateFile(home).read() is not None:
        yield Leftover(state, "its runner is gone")
    if home.runner_socket.is_socket():
        yield Leftover(home.runner_socket, "nobody listens there")
    if home.attempts.is_dir():
        for path in home.attempts.glob(".new-*"):
            yield Leftover(path, "a session that was never started")
    for path in _files(home.path):
        if path.name.startswith(f"{state.name}.corrupt-"):
            yield Leftover(path, "a broken state file that was set aside")
        elif (
            path.name.startswith((f".{state.name}.", f".{home.settings.name}."))
            and now - path.lstat().st_mtime > OLD
        ):
            yield Leftover(path, "a write that did not finish")
    for path in home.path.glob(".doctor-*"):
        if now - path.lstat().st_mtime > OLD:
            yield Leftover(path, "a check that did not finish")


def _files(directory: Path) -> list[Path]:
    try:
        return [path for path in directory.iterdir() if path.is_file() and not path.is_symlink()]
    except OSError:
        return []


async def clean(reactor: Any, findings: Findings) -> list[str]:
    """End and remove what was found; what went wrong, a sentence each. Each process is compared again before its signal."""
    from hapi.process import SystemProcesses

    processes, troubles = SystemProcesses(reactor), []
    for stray in findings.strays:
        # Without the mark: what carries it in another home, a copy of this one say, is not ours to end.
        if (
            is_running(stray.identity)
            and await processes.end_tree(stray.identity, "") == "still_alive"
        ):
            troubles.append(f"process {stray.identity.pid} is still alive")
    for leftover in findings.leftovers:
        try:
            if leftover.path.is_dir() and not leftover.path.is_symlink():
                shutil.rmtree(leftover.path)
            else:
                leftover.path.unlink(missing_ok=True)
        except OSError as error:
            troubles.append(f"{leftover.path} could not be removed: {error.strerror or error}")
    return troubles
