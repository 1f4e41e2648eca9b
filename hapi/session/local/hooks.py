"""The hook calls of an agent's own program: a unix socket that `hook_forwarder` connects to."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from attrs import define, field
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure

import hapi.session.local
from hapi.net.server.unix_port import listen_unix

MAX_CALL_SIZE = 64 * 1024 * 1024  # bytes; calls tell what a tool has put out
MAX_HEAD_SIZE = 20  # bytes of the length
SOCKET_NAME = "hooks.sock"


@define(eq=False, repr=False)
class HookCall:
    """One call: what the program tells, and how it is answered."""

    told: dict[str, Any]
    _connection: HookConnection
    on_gone: Callable[[], object] = field(default=lambda: None)  # the program no longer waits
    is_over: bool = False

    def reply(self, answer: dict[str, Any] | None = None) -> None:
        """Answer, once; None: the program goes on by its own rules."""
        if not self.is_over:
            self.is_over = True
            self._connection.answer(b"" if answer is None else json.dumps(answer).encode())


@define(eq=False, repr=False)
class HookServer:
    """Listens in `directory`. `handle` gets each call, and has to see that it is answered."""

    _reactor: Any
    _directory: Path
    handle: Callable[[HookCall], object]
    _port: Any = None
    _connections: set[HookConnection] = field(factory=set)
    log = Logger()

    def listen(self) -> None:
        """Raises OSError or CannotListenError."""
        factory = Factory.forProtocol(lambda: HookConnection(self))
        self._port = listen_unix(self._reactor, self._directory / SOCKET_NAME, factory)

    def command(self, name: str) -> str:
        """The command line that passes a call on, for a shell. `name`: of the program."""
        forwarder = Path(hapi.session.local.__path__[0]) / "hook_forwarder.py"
        # Without site-packages: the standard library is enough.
        argv = [sys.executable, "-I", "-S", str(forwarder), str(self._directory / SOCKET_NAME)]
        return shlex.join([*argv, name])

    def close(self) -> None:
        """Stop listening; calls that wait go on without an answer."""
        if self._port is not None:
            self._port.stopListening()
            self._port = None
        for connection in tuple(self._connections):
            connection.answer(b"")

    def connected(self, connection: HookConnection) -> None:
        self._connections.add(connection)

    def lost(self, connection: HookConnection) -> None:
        self._connections.discard(connection)

    def received(self, connection: HookConnection, data: bytes) -> HookCall | None:
        """The call that was handed to `handle`; None if it was answered without."""
        try:
            told = json.loads(data)
        except (ValueError, RecursionError):
            told = None
        if not isinstance(told, dict):
            connection.answer(b"")
            return None
        call = HookCall(told, connection)
        try:
            self.handle(call)
        except Exception:
            self.log.failure("A hook call could not be handled")
            call.reply()
        return call


class HookConnection(Protocol):
    """One call: the length of its text, a new line, and the text; then the answer and the end."""

    def __init__(self, server: HookServer) -> None:
        self._server = server
        self._pieces: list[bytes] = []
        self._size = 0
        self._length: int | None = None
        self._call: HookCall | None = None

    def connectionMade(self) -> None:
        self._server.connected(self)

    def dataReceived(self, data: bytes) -> None:
        if self._call is not None:
            return
        if self._length is None:
            head, end, data = (b"".join(self._pieces) + data).partition(b"\n")
            if not end and len(head) < MAX_HEAD_SIZE:
                self._pieces = [head]
                return
            is_length = bool(end) and head.isdigit() and len(head) < MAX_HEAD_SIZE
            if not is_length or int(head) > MAX_CALL_SIZE:
                self.answer(b"")
                return
            self._length, self._pieces = int(head), []
        self._pieces.append(data)
        self._size += len(data)
        if self._size >= self._length:
            told, self._pieces = b"".join(self._pieces), []
            self._call = self._server.received(self, told)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._server.lost(self)
        call, self._call = self._call, None
        if call is not None and not call.is_over:
            call.is_over = True
            call.on_gone()

    def answer(self, data: bytes) -> None:
        transport: Any = self.transport
        with suppress(Exception):
            if data:
                transport.write(data)
            transport.loseConnection()
