"""The exit status of a process that is not a child of this program, read from the kernel.

By hand because psutil knows the exit status of children only.
"""

from __future__ import annotations

import fcntl
import signal
import struct

from hapi.process.identity import read_proc

GET_INFO, EXIT = (
    0xC040FF0B,
    1 << 3,
)  # PIDFD_GET_INFO with the structure's first size, 64 bytes; PIDFD_INFO_EXIT (Linux 6.15)
STATE, WCHAN, EXIT_CODE = (
    0,
    32,
    49,
)  # places in /proc/<pid>/stat behind the name: proc(5) counts three more


def wait_status(pidfd: int, pid: int) -> int | None:
    """The wait status of the process of `pidfd`, which has ended; None if it is not available.

    /proc shows it until the process is reaped. Linux 6.15 and later keep it for the pidfd.
    """
    found = _of_zombie(pid)
    return _of_reaped(pidfd) if found is None else found


def _of_reaped(pidfd: int) -> int | None:
    info = bytearray(struct.pack("<Q", EXIT).ljust(64, b"\0"))
    try:
        fcntl.ioctl(pidfd, GET_INFO, info)
    except (OSError, ValueError):
        return None
    (mask,) = struct.unpack_from("<Q", info)
    return int(struct.unpack_from("<i", info, 60)[0]) if mask & EXIT else None


def _of_zombie(pid: int) -> int | None:
    try:
        content = read_proc(pid, "stat")
    except OSError:
        return None
    if not content:
        return None
    fields = content[content.rindex(b")") + 2 :].split()
    if fields[STATE] != b"Z" or len(fields) <= EXIT_CODE:
        return None
    status = int(fields[EXIT_CODE])
    if status == 0 and fields[WCHAN] != b"1":
        return None  # also what those are shown who may not know
    return status


def decode_wait_status(status: int | None) -> tuple[int | None, str | None]:
    """Exit code or the signal's name; both None when nobody knows."""
    if status is None:
        return None, None
    number = status & 0x7F
    if not number:
        return status >> 8 & 0xFF, None
    try:
        return None, signal.Signals(number).name
    except ValueError:
        return None, f"SIG{number}"
