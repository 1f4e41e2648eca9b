"""The identity of a process: pid, start ticks, boot id and pidfd inode.

Signals are sent to exactly that process or not at all. By hand because psutil knows no pidfds,
gives start times in wall-clock time, and takes four times as long to scan all processes (99 against
26 µs of processor time for each).
"""

from __future__ import annotations

import errno
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path

from attrs import frozen

from hapi.protocol.attempt import ProcessIdentity

ENDED = frozenset("ZXx")  # states of a process that runs no more
NO_PROCESS = frozenset(
    (errno.EINVAL, errno.ENOENT)
)  # the number is a thread's by now; which of both depends on the kernel


@frozen
class Stat:
    """The part of `/proc/<pid>/stat` that we use."""

    pid: int
    state: str
    parent: int
    start_ticks: int

    @property
    def ended(self) -> bool:
        return self.state in ENDED


def read_stat(pid: int, proc: str = "/proc") -> Stat | None:
    """None if there is no such process or it is hidden from us."""
    content = read_proc(pid, "stat", proc)
    if not content:
        return None
    fields = content[
        content.rindex(b")") + 2 :
    ].split()  # the name before may hold blanks and brackets
    return Stat(pid, fields[0].decode(), int(fields[1]), int(fields[19]))


HIDDEN_OR_GONE = frozenset((errno.ENOENT, errno.ESRCH, errno.EACCES, errno.EPERM, errno.EIO))


def read_proc(pid: int, name: str, proc: str = "/proc") -> bytes | None:
    """The content of `/proc/<pid>/<name>`, None if the process is gone or hidden.

    Raises OSError when the file cannot be opened for another reason (EMFILE).
    """
    try:
        descriptor = os.open(f"{proc}/{pid}/{name}", os.O_RDONLY | os.O_CLOEXEC)
        try:
            parts = []
            while part := os.read(descriptor, 1 << 16):
                parts.append(part)
            return b"".join(parts)
        finally:
            os.close(descriptor)
    except OSError as error:
        if error.errno in HIDDEN_OR_GONE:
            return None
        raise


@cache
def boot_id() -> str:
    """The kernel's name for this run of the machine."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


MAX_BOOT_TIME_DRIFT = 60.0  # seconds that setting the clock may move a boot time
PORTABLE_PREFIX = "portable:"  # of the boot ids that `hapi.process.portable` records


def is_earlier_boot(recorded: str, current: str) -> bool:
    """Whether a process whose boot id is `recorded` ran before the machine was started again.

    Boot ids of the two process layers cannot be compared: then the answer is False, for the process
    may still be running.
    """
    if recorded == current or is_portable(recorded) != is_portable(current):
        return False
    try:
        times = [float(each.removeprefix(PORTABLE_PREFIX)) for each in (recorded, current)]
    except ValueError:
        return True  # two ids, no times
    return abs(times[0] - times[1]) > MAX_BOOT_TIME_DRIFT


def is_portable(boot_id: str) -> bool:
    return boot_id.startswith(PORTABLE_PREFIX)


@cache
def has_pidfs() -> bool:
    """Whether each process has a pidfd inode of its own (Linux 6.9 and later)."""
    try:
        with open_pidfd(os.getpid()) as pidfd:
            anonymous = os.eventfd(0, os.EFD_CLOEXEC)
            try:
                return os.fstat(pidfd).st_dev != os.fstat(anonymous).st_dev
            finally:
                os.close(anonymous)
    except OSError:
        return False


@contextmanager
def open_pidfd(pid: int) -> Iterator[int]:
    """Open a pidfd of the process that has this pid now. Raises ProcessLookupError or OSError."""
    try:
        descriptor = os.pidfd_open(pid)
    except OSError as error:
        if error.errno in NO_PROCESS:
            raise ProcessLookupError(errno.ESRCH, os.strerror(errno.ESRCH)) from error
        raise
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def inode_of(pidfd: int) -> int | None:
    return os.fstat(pidfd).st_ino if has_pidfs() else None


def identify(pid: int) -> ProcessIdentity | None:
    """The process that has this pid now; None if there is none, it has ended, or it is hidden.

    Raises OSError when no descriptor is free (EMFILE).
    """
    if not 0 < pid < 1 << 31:
        return None
    try:
        with open_pidfd(pid) as pidfd:
            stat = read_stat(pid)
            if stat is None or stat.ended:
                return None
            return ProcessIdentity(pid, stat.start_ticks, boot_id(), inode_of(pidfd))
    except ProcessLookupError:
        return None


def pids() -> list[int]:
    """All processes that are visible to us."""
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def read_command_line(pid: int) -> bytes | None:
    """The arguments, each followed by a NUL byte; None if the process is gone or hidden."""
    return read_proc(pid, "cmdline")


def read_environment(pid: int) -> bytes | None:
    """Entries `NAME=value`, each followed by a NUL byte; None if the process is gone or hidden."""
    return read_proc(pid, "environ")


def children_of(pid: int) -> list[int] | None:
    """Pids of the children of all threads of `pid`, from the kernel's own lists.

    None if the kernel keeps no such lists, or the process is gone.
    """
    found: list[int] = []
    try:
        for thread in os.listdir(f"/proc/{pid}/task"):
            children = read_proc(pid, f"task/{thread}/children")
            if children is None:
                return None
            found += map(int, children.split())
    except OSError:
        return None
    return found


def owner_of(pid: int) -> int | None:
    """The effective uid of a process; None if it is gone or hidden."""
    try:
        return os.stat(f"/proc/{pid}").st_uid
    except OSError:
        return None


def identity_of(stat: Stat) -> ProcessIdentity | None:
    """The identity of the process that was seen, None if it is gone by now."""
    try:
        with open_pidfd(stat.pid) as pidfd:
            again = read_stat(stat.pid)
            if again is None or again.start_ticks != stat.start_ticks:
                return None
            return ProcessIdentity(stat.pid, stat.start_ticks, boot_id(), inode_of(pidfd))
    except OSError:
        return (
            ProcessIdentity(stat.pid, stat.start_ticks, boot_id())
            if read_stat(stat.pid) == stat
            else None
        )


def has_open(pid: int, path: Path) -> bool:
    """Whether the process has that file open; False as well when its descriptors are hidden."""
    try:
        wanted = path.stat()
        for name in os.listdir(f"/proc/{pid}/fd"):
            with suppress(FileNotFoundError):
                found = os.stat(f"/proc/{pid}/fd/{name}")
                if (found.st_dev, found.st_ino) == (wanted.st_dev, wanted.st_ino):
                    return True
    except OSError:
        pass
    return False


def holder_variables() -> dict[str, str]:
    """What a holder must be told about this layer: nothing."""
    return {}


def started_at(identity: ProcessIdentity) -> float:
    """Start time in seconds since the epoch by the wall clock: comparable with file times."""
    now = time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)
    return now + identity.start_ticks / os.sysconf("SC_CLK_TCK")


def is_same(pidfd: int, identity: ProcessIdentity) -> bool | None:
    """Whether `pidfd`, opened by the pid of `identity`, is that process. None if it is unknown."""
    if identity.boot_id != boot_id():
        return False
    if identity.pidfd_inode is not None and has_pidfs():
        return os.fstat(pidfd).st_ino == identity.pidfd_inode
    stat = read_stat(identity.pid)
    return None if stat is None else stat.start_ticks == identity.start_ticks


def is_running(identity: ProcessIdentity) -> bool | None:
    """Whether this very process runs; a zombie does not. None when that cannot be found out."""
    if identity.boot_id != boot_id():
        return False if is_earlier_boot(identity.boot_id, boot_id()) else None
    try:
        with open_pidfd(identity.pid) as pidfd:
            same = is_same(pidfd, identity)
            if not same:
                return same
            stat = read_stat(identity.pid)
            return stat is None or not stat.ended
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:
        stat = read_stat(identity.pid)  # no pidfd to be had
        if stat is None:
            return None
        return stat.start_ticks == identity.start_ticks and not stat.ended


def send(identity: ProcessIdentity, *signals: signal.Signals) -> bool:
    """Send `signals` to this very process. Returns False if it is gone.

    Raises PermissionError, and OSError when the process cannot be identified.
    """
    try:
        with open_pidfd(identity.pid) as pidfd:
            same = is_same(pidfd, identity)
            if same is None:
                raise OSError(f"process {identity.pid} is hidden from us")
            if not same:
                return False
            for each in signals:
                signal.pidfd_send_signal(pidfd, each)
            return True
    except ProcessLookupError:
        return False
