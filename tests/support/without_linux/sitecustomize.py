"""Makes Python on Linux look like one on a system without Linux's own interfaces, for tests.

With this directory on PYTHONPATH, every program below loses pidfds, epoll, O_PATH, sock_diag,
SO_PEERCRED, prctl, renameat2 and the like, and all of /proc and /sys. psutil keeps what it needs:
elsewhere it has other sources. LOCAL_PEERCRED is answered as the macOS kernel does.
"""

import builtins
import ctypes
import errno
import io
import os
import resource
import select
import selectors
import signal
import socket
import struct
import sys
import time

MISSING = {
    os: (
        *("pidfd_open", "O_PATH", "O_TMPFILE", "eventfd", "eventfd_read", "eventfd_write", "pipe2"),
        *("EFD_CLOEXEC", "memfd_create", "getrandom", "copy_file_range", "splice", "sendfile"),
        *("sched_getaffinity", "posix_fallocate", "posix_fadvise"),
    ),
    signal: ("pidfd_send_signal", "sigtimedwait", "sigwaitinfo"),
    select: tuple(name for name in dir(select) if name.lower().startswith("epoll")),
    selectors: ("EpollSelector",),
    socket: (
        *("AF_NETLINK", "SO_PEERCRED", "SO_PASSCRED", "SOCK_CLOEXEC", "SOCK_NONBLOCK"),
        *("TCP_USER_TIMEOUT", "SO_DOMAIN", "SO_PROTOCOL"),
    ),
    resource: ("prlimit",),
    time: ("CLOCK_BOOTTIME",),
}
NO_FUNCTIONS = ("renameat2", "prctl", "sysctlbyname")  # of the C library
HIDDEN = ("/proc", "/sys")
LINUX_PEERCRED = 17  # SO_PEERCRED


def remove_names() -> None:
    for module, names in MISSING.items():
        for name in names:
            if hasattr(module, name):
                delattr(module, name)
    found = ctypes.CDLL.__getattr__

    def without_linux(library: ctypes.CDLL, name: str) -> object:
        if name in NO_FUNCTIONS:
            raise AttributeError(name)
        return found(library, name)

    ctypes.CDLL.__getattr__ = without_linux  # type: ignore[method-assign]


def hide_files() -> None:
    for module, name in (
        *((os, name) for name in ("open", "listdir", "scandir", "stat", "lstat", "readlink")),
        (os, "access"),
        (io, "open"),
    ):
        setattr(module, name, Hidden(getattr(module, name)))
    builtins.open = io.open


class Hidden:
    """A function that finds nothing below HIDDEN. Like a built-in, it never becomes a method."""

    def __init__(self, function):
        self.function = function

    def __call__(self, path, *arguments, **more):
        if is_hidden(path) and not is_psutil(sys._getframe(1)):
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
        return self.function(path, *arguments, **more)


def is_hidden(path: object) -> bool:
    if not isinstance(path, str | bytes | os.PathLike):
        return False
    name = os.fsdecode(path)
    return any(name == each or name.startswith(f"{each}/") for each in HIDDEN)


def is_psutil(frame) -> bool:
    """Whether psutil calls, directly or through the standard library."""
    for _ in range(4):
        if frame is None:
            return False
        if frame.f_globals.get("__name__", "").partition(".")[0] == "psutil":
            return True
        frame = frame.f_back
    return False


def answer_local_peercred() -> None:
    """getsockopt(SOL_LOCAL, LOCAL_PEERCRED and LOCAL_PEERPID) as on macOS."""
    ask = socket.socket.getsockopt

    def getsockopt(self, level, option, *size):
        if level != 0 or self.family != socket.AF_UNIX:
            return ask(self, level, option, *size)
        pid, uid, gid = struct.unpack("=iII", ask(self, socket.SOL_SOCKET, LINUX_PEERCRED, 12))
        return struct.pack("=IIhxxI", 0, uid, 1, gid).ljust(76, b"\0") if option == 1 else pid

    socket.socket.getsockopt = getsockopt  # type: ignore[method-assign]


remove_names()
hide_files()
answer_local_peercred()
