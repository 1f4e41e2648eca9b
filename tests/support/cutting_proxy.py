"""A proxy before a PostgreSQL server that cuts a connection at the moment that a test chooses.

It reads the messages of the protocol as far as needed to know a COMMIT and its answer:
https://www.postgresql.org/docs/current/protocol-message-formats.html
"""

from __future__ import annotations

import socket
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from shutil import rmtree
from urllib.parse import quote

from attrs import define, field

from tests.support.postgres import PORT, ROLE, PostgresServer

BEFORE = "before"  # the server never gets the COMMIT
LATE = "late"  # the server gets it, and the client is gone before it is done
AFTER = "after"  # the server has answered, and the client does not get the answer


@define(eq=False)
class CuttingProxy:
    """`cut` is when the next connection that commits is cut; it is cleared then. `refuses`: no
    connection is accepted. `cuts` counts.
    """

    server: PostgresServer
    directory: Path
    cut: str = ""
    refuses: bool = False
    cuts: int = 0
    _listener: socket.socket = field(factory=lambda: socket.socket(socket.AF_UNIX))
    _open: set[socket.socket] = field(factory=set)

    def url(self, database: str) -> str:
        return f"postgresql://{ROLE}@/{database}?host={quote(str(self.directory), safe='')}"

    def start(self) -> None:
        self._listener.bind(str(self.directory / f".s.PGSQL.{PORT}"))
        self._listener.listen(50)
        threading.Thread(target=self._accept, daemon=True).start()

    def stop(self) -> None:
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.cut_all()

    def cut_all(self) -> None:
        """Cut all connections now."""
        for each in list(self._open):
            _close(each)

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            if self.refuses:
                client.close()
                continue
            server = socket.socket(socket.AF_UNIX)
            try:
                server.connect(str(self.server.sockets / f".s.PGSQL.{PORT}"))
            except OSError:
                client.close()
                continue
            self._open |= {client, server}
            pair = _Pair(self, client, server)
            for run in (pair.from_client, pair.from_server):
                threading.Thread(target=run, daemon=True).start()

    def takes(self, moment: str) -> bool:
        """Whether the connection is to be cut at this moment."""
        if self.cut != moment:
            return False
        self.cut = ""
        self.cuts += 1
        return True


@define(eq=False)
class _Pair:
    proxy: CuttingProxy
    client: socket.socket
    server: socket.socket
    commits: set[bytes] = field(factory=set)  # names of prepared statements that are a COMMIT

    def from_client(self) -> None:
        with suppress(OSError):
            head = _read(self.client, 4)
            self.server.sendall(head + _read(self.client, int.from_bytes(head) - 4))
            while True:
                kind, message = _message(self.client)
                is_commit = self._is_commit(kind, message[5:])
                if is_commit and self.proxy.takes(BEFORE):
                    break
                self.server.sendall(message)
                # Bind is followed by Execute and Sync.
                if is_commit and self.proxy.cut == LATE:
                    for _ in range(3 if kind == b"B" else 0):
                        _, following = _message(self.client)
                        self.server.sendall(following)
                        if following[:1] == b"S":
                            break
                    if self.proxy.takes(LATE):
                        _close(self.client)
                        return  # the server goes on
        self._end()

    def _is_commit(self, kind: bytes, body: bytes) -> bool:
        first, _, rest = body.partition(b"\0")
        second = rest.partition(b"\0")[0]
        if kind == b"P":
            self.commits.discard(first)  # the name is given to another statement
            if second == b"COMMIT":
                self.commits.add(first)
        return (kind == b"Q" and first == b"COMMIT") or (kind == b"B" and second in self.commits)

    def from_server(self) -> None:
        with suppress(OSError):
            while True:
                kind, message = _message(self.server)
                if kind == b"C" and message[5:] == b"COMMIT\0" and self.proxy.takes(AFTER):
                    break
                with suppress(OSError):
                    self.client.sendall(message)
        self._end()

    def _end(self) -> None:
        for each in (self.client, self.server):
            _close(each)
            self.proxy._open.discard(each)


def _message(source: socket.socket) -> tuple[bytes, bytes]:
    """A message, and its kind."""
    head = _read(source, 5)
    return head[:1], head + _read(source, int.from_bytes(head[1:]) - 4)


def _read(source: socket.socket, length: int) -> bytes:
    found = b""
    while len(found) < length:
        part = source.recv(length - len(found))
        if not part:
            raise OSError("closed")
        found += part
    return found


def _close(each: socket.socket) -> None:
    with suppress(OSError):
        each.shutdown(socket.SHUT_RDWR)
    each.close()


@contextmanager
def cutting_proxy(server: PostgresServer) -> Iterator[CuttingProxy]:
    directory = Path(tempfile.mkdtemp(prefix="hapi-px-", dir="/tmp"))
    proxy = CuttingProxy(server, directory)
    proxy.start()
    try:
        yield proxy
    finally:
        proxy.stop()
        rmtree(directory, ignore_errors=True)
