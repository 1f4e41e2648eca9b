"""Listening on unix sockets that their owner alone can connect to, whatever their path."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from twisted.internet import tcp, unix

from hapi.home import PRIVATE_FILE_MODE

MAX_PATH_LENGTH = (
    107 if sys.platform == "linux" else 103
)  # bytes of a unix socket's path (sys/un.h)
BACKLOG = 128


@contextmanager
def reachable(path: Path) -> Iterator[str]:
    """A name for `path` that fits into a socket address.

    Linux reaches a long path by a descriptor of its directory.

    Raises OSError where that is not possible.
    """
    if len(os.fsencode(path)) <= MAX_PATH_LENGTH:
        yield str(path)
        return
    if not os.path.isdir("/proc/self/fd"):
        raise OSError(errno.ENAMETOOLONG, f"longer than {MAX_PATH_LENGTH} bytes", str(path))
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{directory}/{path.name}"
    finally:
        os.close(directory)


class PrivatePort(unix.Port):
    """A port that does not remove its path when it closes: a later runner may use it by then."""

    def connectionLost(self, reason: Any) -> None:
        tcp.Port.connectionLost(self, reason)


def listen_unix(reactor: Any, path: Path, factory: Any) -> PrivatePort:
    """Listen at `path` for its owner alone. Raises OSError.

    Replaces what is there: the path must be the caller's alone.
    """
    with suppress(FileNotFoundError):
        path.unlink()
    before = os.umask(0o177)
    try:
        with reachable(path) as name:
            port = PrivatePort(os.fsencode(name), factory, BACKLOG, PRIVATE_FILE_MODE, reactor)
            port.startListening()  # type: ignore[no-untyped-call]
    finally:
        os.umask(before)
    return port
