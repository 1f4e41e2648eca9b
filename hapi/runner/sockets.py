"""The two listeners of the control API: a port on 127.0.0.1, which npm's programs know, and a unix socket for us alone."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from attrs import define, field
from twisted.internet import tcp, unix

from hapi.home import PRIVATE_FILE

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


class PrivatePort(unix.Port):
    """Twisted's port, without its removing whatever lies at the path when it closes: that may be a successor's by then."""

    def connectionLost(self, reason: Any) -> None:
        tcp.Port.connectionLost(self, reason)


def listen_unix(reactor: Any, path: Path, factory: Any) -> PrivatePort:
    """Listen at `path` for its owner alone. Replaces what is there: the caller holds the lock. Raises OSError."""
    with suppress(FileNotFoundError):
        path.unlink()
    before = os.umask(0o177)
    try:
        with reachable(path) as name:
            port = PrivatePort(os.fsencode(name), factory, BACKLOG, PRIVATE_FILE, reactor)
            port.startListening()  # type: ignore[no-untyped-call]
    finally:
        os.umask(before)
    return port


@define
class Listeners:
    """What listens, and the inode of our socket file, so that nobody else's is removed."""

    _reactor: Any
    _path: Path
    _ports: list[Any] = field(factory=list)
    _inode: int | None = None

    @classmethod
    def open(cls, reactor: Any, port: int, path: Path, factory: Any) -> Listeners:
        """Raises CannotListenError."""
        return cls(reactor, path, [reactor.listenTCP(port, factory, backlog=BACKLOG, interface="127.0.0.1")])

    @property
    def port(self) -> int:
        return int(self._ports[0].getHost().port)

    def open_unix(self, factory: Any) -> None:
        """Raises OSError or CannotListenError: a file system without sockets, say."""
        self._ports.append(listen_unix(self._reactor, self._path, factory))
        self._inode = os.stat(self._path).st_ino

    async def close(self) -> None:
        for port in self._ports:
            stopping = port.stopListening()
            if stopping is not None:
                await stopping
        with suppress(OSError):
            if self._inode is not None and os.stat(self._path).st_ino == self._inode:
                self._path.unlink()
