"""The listeners of the control API: a TCP port for npm's programs, and a unix socket."""

from __future__ import annotations

import os
import socket
from contextlib import suppress
from pathlib import Path
from typing import Any

from attrs import define, field

from hapi.home import PRIVATE_FILE_MODE
from hapi.net.server.unix_port import BACKLOG, PrivatePort, listen_unix


def adopt_unix(reactor: Any, descriptor: int, factory: Any) -> PrivatePort:
    """Listen on an inherited socket, whose file and mode exist already."""
    port = PrivatePort(
        b"\0adopted", factory, BACKLOG, PRIVATE_FILE_MODE, reactor
    )  # without a path nothing is chmodded or removed
    port._preexistingSocket = socket.fromfd(descriptor, socket.AF_UNIX, socket.SOCK_STREAM)
    os.close(descriptor)
    port.startListening()  # type: ignore[no-untyped-call]
    return port


@define
class Listeners:
    """The open listeners, and the inode of the socket file, so that no other is removed."""

    _reactor: Any
    _path: Path
    _ports: list[Any] = field(factory=list)
    _inode: int | None = None

    @classmethod
    def open(cls, reactor: Any, port: int, path: Path, factory: Any) -> Listeners:
        """Raises CannotListenError."""
        return cls(
            reactor,
            path,
            [reactor.listenTCP(port, factory, backlog=BACKLOG, interface="127.0.0.1")],
        )

    @classmethod
    def adopt(
        cls,
        reactor: Any,
        path: Path,
        factory: Any,
        tcp_descriptor: int,
        unix_descriptor: int | None,
    ) -> Listeners:
        """Listen on the sockets of another runner; the descriptors are this one's from now on.

        Raises OSError.
        """
        adopted = cls(
            reactor, path, [reactor.adoptStreamPort(tcp_descriptor, socket.AF_INET, factory)]
        )
        os.close(tcp_descriptor)  # the reactor has a copy
        if unix_descriptor is not None:
            adopted._ports.append(adopt_unix(reactor, unix_descriptor, factory))
            with suppress(OSError):
                adopted._inode = os.stat(path).st_ino
        return adopted

    def descriptors(self) -> tuple[int, ...]:
        """Descriptors of the TCP listener, and of the unix listener if there is one."""
        return tuple(port.fileno() for port in self._ports)

    def pause(self) -> None:
        """Accept no connections for now: callers wait in the kernel's queue."""
        for port in self._ports:
            port.stopReading()

    def resume(self) -> None:
        for port in self._ports:
            port.startReading()

    def leave_open(self) -> None:
        """Another runner has the sockets now: closing these must not end its listening."""
        self._inode = None
        for port in self._ports:
            port._shouldShutdown = (
                False  # else Twisted calls shutdown(2), which ends the listening of everybody
            )

    @property
    def port(self) -> int:
        return int(self._ports[0].getHost().port)

    def open_unix(self, factory: Any) -> None:
        """Raises OSError or CannotListenError, for example on a file system without sockets."""
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
