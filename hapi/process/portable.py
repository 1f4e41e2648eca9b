"""Who a process is, asked of psutil: for systems without pidfds and `/proc`.

A process is known by its pid and its start time. Weaker than on Linux: a signal goes to the pid a
moment after the start time was compared, so a pid that is given to another process in between would
receive it; and a process whose environment the system hides is not found by its mark.
"""

from __future__ import annotations

import ctypes
import os
import signal
from functools import cache
from pathlib import Path

import psutil

from hapi.process.identity import PORTABLE_PREFIX, Stat, is_earlier_boot, is_portable
from hapi.protocol.attempt import ProcessIdentity

STATES = {  # psutil's status → the letter of proc(5); every other status is one of a live process
    psutil.STATUS_ZOMBIE: "Z",
    psutil.STATUS_DEAD: "X",
    psutil.STATUS_STOPPED: "T",
    psutil.STATUS_TRACING_STOP: "t",
}


@cache
def boot_id() -> str:
    """A name for this run of the machine: that of the macOS kernel, elsewhere the boot time."""
    return PORTABLE_PREFIX + (_boot_session() or f"{psutil.boot_time():.0f}")


def _boot_session() -> str | None:
    """The sysctl `kern.bootsessionuuid` of macOS."""
    try:
        sysctl = ctypes.CDLL(None).sysctlbyname
    except (OSError, AttributeError):
        return None
    value, size = ctypes.create_string_buffer(64), ctypes.c_size_t(64)
    if sysctl(b"kern.bootsessionuuid", value, ctypes.byref(size), None, ctypes.c_size_t(0)) != 0:
        return None
    return value.value.decode(errors="replace") or None


def _start_ticks(process: psutil.Process) -> int:
    """Start time in microseconds of a clock that setting the system's clock does not change."""
    started: float = process._ident[1]
    return round(started * 1_000_000)


def pids() -> list[int]:
    return list(psutil.pids())


def read_stat(pid: int) -> Stat | None:
    """None if there is no such process or it is hidden from us."""
    if not 0 < pid < 1 << 31:
        return None
    try:
        process = psutil.Process(pid)
        with process.oneshot():
            state = STATES.get(process.status(), "R")
            return Stat(pid, state, process.ppid() or 0, _start_ticks(process))
    except psutil.Error:
        return None


def identify(pid: int) -> ProcessIdentity | None:
    """The process that has this pid now; None if there is none, it has ended, or it is hidden."""
    stat = read_stat(pid)
    return None if stat is None or stat.ended else identity_of(stat)


def identity_of(stat: Stat) -> ProcessIdentity:
    """The identity of the process that was seen; its uses check whether it still runs."""
    return ProcessIdentity(stat.pid, stat.start_ticks, boot_id())


def is_running(identity: ProcessIdentity) -> bool | None:
    """Whether this very process runs; a zombie does not. None when that cannot be found out."""
    if is_earlier_boot(identity.boot_id, boot_id()):
        return False
    if not is_portable(identity.boot_id):
        return None
    stat = read_stat(identity.pid)
    if stat is None:
        return None if psutil.pid_exists(identity.pid) else False
    return stat.start_ticks == identity.start_ticks and not stat.ended


def send(identity: ProcessIdentity, *signals: signal.Signals) -> bool:
    """Send `signals` to this process; False if it is gone. Raises PermissionError, and OSError when
    it cannot be told whether the pid still is this process."""
    for each in signals:
        running = is_running(identity)
        if running is None:
            raise OSError(f"process {identity.pid} is hidden from us")
        if not running:
            return False
        try:
            os.kill(identity.pid, each)
        except ProcessLookupError:
            return False
    return True


def read_command_line(pid: int) -> bytes | None:
    """The arguments, each followed by a NUL byte; None if the process is gone or hidden."""
    try:
        words = psutil.Process(pid).cmdline()
    except (psutil.Error, ValueError):
        return None
    return b"".join(os.fsencode(word) + b"\0" for word in words)


def read_environment(pid: int) -> bytes | None:
    """The entries `NAME=value`, each followed by a NUL byte; None if gone or hidden."""
    try:
        found = psutil.Process(pid).environ()
    except (psutil.Error, OSError, ValueError):
        return None
    return b"".join(os.fsencode(f"{name}={value}") + b"\0" for name, value in found.items())


def children_of(pid: int) -> list[int] | None:
    """None: only a scan of all processes tells who the children of `pid` are."""
    return None


def owner_of(pid: int) -> int | None:
    """The effective uid of a process; None if it is gone or hidden."""
    try:
        return int(psutil.Process(pid).uids().effective)
    except (psutil.Error, ValueError):
        return None


def has_open(pid: int, path: Path) -> bool:
    """Whether the process has that file open; False as well when its descriptors are hidden."""
    try:
        return any(os.path.samefile(each.path, path) for each in psutil.Process(pid).open_files())
    except (psutil.Error, OSError, ValueError):
        return False


def started_at(identity: ProcessIdentity) -> float:
    """When the process started, in epoch seconds of the clock as it stands now."""
    try:
        return float(psutil.Process(identity.pid).create_time())
    except psutil.Error:
        return 0.0


def holder_variables() -> dict[str, str]:
    """What a holder must be told: to use psutil, where that is, and the name of this boot."""
    return {
        "HAPI_HOLDER_LIBRARY": f"{Path(__file__).parent}:{Path(psutil.__file__).parents[1]}",
        "HAPI_HOLDER_BOOT_ID": boot_id(),
    }
