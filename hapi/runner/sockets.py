"""The two listeners of the control API: a port on 127.0.0.1, which npm's programs know, and a unix socket for us alone."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from attrs import define

LONGEST = 107  # bytes of a unix socket's path (sys/un.h)
BACKLOG = 128


@contextmanager
def reachable(path: Path) -> Iterator[str]:
    """A name for `path` that fits into a socket address; long ones go through a descriptor of their directory (Linux)."""
    if len(os.fsencode(path)) <= LONGEST:
        yield str(path)
        return
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{directory}/{path.name}"
    finally:
        os.close(directory)


def bind_unix(path: Path) -> socket.socket:
    """A listening socket at `path` that only its owner can connect to. Replaces what is there: the caller holds the lock."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)
    try:
        with suppress(FileNotFoundError):
            path.unlink()
        before = os.umask(0o177)
        try:
            with reachable(path) as name:
                listener.bind(name)
        finally:
            os.umask(before)
        listener.listen(BACKLOG)
    except BaseException:
        listener.close()
        raise
    return listener


@define
class Listeners:
    """What listens, and the inode of our socket file, so that nobody else's is removed."""

    _reactor: Any
    _path: Path
    _ports: list[Any]
    _inode: int | None = None

    @classmethod
    def open(cls, reactor: Any, port: int, path: Path, factory: Any) -> Listeners:
        """Raises CannotListenError."""
        return cls(reactor, path, [reactor.listenTCP(port, factory, backlog=BACKLOG, interface="127.0.0.1")])

    @property
    def port(self) -> int:
        return int(self._ports[0].getHost().port)

    def open_unix(self, factory: Any) -> None:
        """Raises OSError: a file system without sockets, a path too long for this system."""
        with bind_unix(self._path) as listener:
            self._inode = os.stat(self._path).st_ino
            self._ports.append(self._reactor.adoptStreamPort(listener.fileno(), socket.AF_UNIX, factory))

    async def close(self) -> None:
        for port in self._ports:
            await _stopped(port)
        with suppress(OSError):
            if self._inode is not None and os.stat(self._path).st_ino == self._inode:
                self._path.unlink()


async def _stopped(port: Any) -> None:
    stopping = port.stopListening()
    if stopping is not None:
        await stopping
