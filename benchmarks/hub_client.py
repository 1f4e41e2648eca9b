"""A client of a hub, cheap enough that it is not what is measured: sockets of session processes,
REST requests, sessions that are only rows. Works with the hubs of both makes.

The standard library's asyncio, without the binding's checks: frames have a mask of zeros (RFC 6455
asks for a mask, not for a good one), and only what the hub's answers need is read.
"""

from __future__ import annotations

import asyncio
import json
import socket
import time
import uuid
from collections.abc import Coroutine, Iterable
from http.client import HTTPConnection
from typing import Any, TypeVar

from attrs import define, field

from tests.support.peers import User

T = TypeVar("T")
Json = dict[str, Any]
PADDING = "x" * 400  # characters of each message beside its time
UPGRADE = (
    "GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n{headers}"
    "Upgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)


class Refused(Exception):
    """The hub did not accept the connection."""


def frame(text: str) -> bytes:
    """A text message of a client."""
    payload = text.encode()
    size = len(payload)
    if size < 126:
        head = bytes((0x81, 0x80 | size))
    elif size < 1 << 16:
        head = b"\x81\xfe" + size.to_bytes(2, "big")
    else:
        head = b"\x81\xff" + size.to_bytes(8, "big")
    return head + b"\0\0\0\0" + payload


@define(eq=False)
class SessionSocket(asyncio.Protocol):
    """One WebSocket on `/cli`, of a session if `session_id` is given.

    `connected` fires when the hub has accepted the token, and fails with Refused.
    """

    port: int
    token: str
    session_id: str | None = None
    headers: str = ""  # further lines of the upgrade, each ended by CRLF
    answers: dict[str, Any] = field(factory=dict)  # what an RPC method is answered with
    connected: asyncio.Future[None] = field(init=False)
    closed: asyncio.Future[None] = field(init=False)
    transport: Any = None
    received: int = 0  # Socket.IO packets
    _buffer: bytes = b""
    _upgraded: bool = False
    _ping_number: int = 0
    _pings: dict[int, asyncio.Future[None]] = field(factory=dict)
    _writable: asyncio.Event = field(factory=asyncio.Event)

    def __attrs_post_init__(self) -> None:
        loop = asyncio.get_running_loop()
        self.connected, self.closed = loop.create_future(), loop.create_future()
        self._writable.set()

    async def open(self, source: str | None = None) -> SessionSocket:
        """Connect from the address `source` and wait until the token is accepted."""
        local = None if source is None else (source, 0)
        await asyncio.get_running_loop().create_connection(
            lambda: self, "127.0.0.1", self.port, local_addr=local
        )
        await self.connected
        return self

    # --- asyncio.Protocol
    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        transport.write(UPGRADE.format(port=self.port, headers=self.headers).encode())

    def connection_lost(self, error: Exception | None) -> None:
        self._writable.set()
        for waiting in (self.connected, *self._pings.values()):
            if not waiting.done():
                waiting.set_exception(Refused("the hub closed the connection"))
                waiting.exception()  # seen, also if nobody waits
        if not self.closed.done():
            self.closed.set_result(None)

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if not self._upgraded:
            head, separator, rest = self._buffer.partition(b"\r\n\r\n")
            if not separator:
                return
            if b" 101 " not in head[:16]:
                self._refused(head.decode(errors="replace"))
                return
            self._upgraded, self._buffer = True, rest
        start, buffer = 0, self._buffer
        while (end := _frame_end(buffer, start)) is not None:
            opcode, body, start = buffer[start] & 0x0F, _payload(buffer, start, end), end
            if opcode == 1:
                self._text(body)
            elif opcode == 8:
                self.transport.close()
        self._buffer = buffer[start:]

    def _text(self, body: bytes) -> None:
        if body == b"2":
            self.send("3")
        elif body[:1] == b"0":
            auth: Json = {"token": self.token}
            if self.session_id is not None:
                auth |= {"clientType": "session-scoped", "sessionId": self.session_id}
            self.send(f"40/cli,{json.dumps(auth)}")
        elif body.startswith(b"40/cli"):
            if not self.connected.done():
                self.connected.set_result(None)
        elif body.startswith(b"44/cli"):
            self._refused(body.decode())
        elif body.startswith(b"43/cli,"):
            number = int(body[7 : body.index(b"[")])
            if (waiting := self._pings.pop(number, None)) is not None and not waiting.done():
                waiting.set_result(None)
        elif body.startswith(b"42/cli,"):
            self.received += 1
            if body[7:8].isdigit():
                self._called(body[7:].decode())

    def _called(self, text: str) -> None:
        number, _, rest = text.partition("[")
        name, *args = json.loads(f"[{rest}")
        answer: Any = {}
        if name == "rpc-request":
            method = str(args[0]["method"]).rpartition(":")[2]
            answer = json.dumps(self.answers.get(method, {"success": True}))
        self.send(f"43/cli,{number}{json.dumps([answer])}")

    def _refused(self, text: str) -> None:
        if not self.connected.done():
            self.connected.set_exception(Refused(text))
        self.transport.close()

    # --- what a session process does
    def send(self, text: str) -> None:
        self.transport.write(frame(text))

    def emit(self, event: str, body: Json) -> None:
        self.send(f"42/cli,{json.dumps([event, body])}")

    def alive(self, thinking: bool = False) -> None:
        body = {"sid": self.session_id, "time": int(time.time() * 1000), "thinking": thinking}
        self.emit("session-alive", {**body, "mode": "remote"})

    def say(self) -> None:
        """Send a message of the agent that holds the time (`hub_readers.TIME`)."""
        text = f"@{time.monotonic_ns()}@{PADDING}"
        content = {"type": "codex", "data": {"type": "message", "message": text}}
        message = {"role": "agent", "content": content}
        self.emit("message", {"sid": self.session_id, "message": message})

    def serve(self, *methods: str) -> None:
        for method in methods:
            self.emit("rpc-register", {"method": f"{self.session_id}:{method}"})

    async def ping(self) -> None:
        """Return when the hub has handled everything that was sent before."""
        number = self._ping_number = self._ping_number + 1
        waiting = self._pings[number] = asyncio.get_running_loop().create_future()
        self.send(f'42/cli,{number}["ping"]')
        await waiting

    async def drain(self) -> None:
        """Wait while the hub reads more slowly than this client writes."""
        await self._writable.wait()

    async def leave(self) -> None:
        """Disconnect as a client does that ends."""
        self.send("41/cli,")
        self.transport.write(b"\x88\x82\0\0\0\0\x03\xe8")
        await self.close()

    async def close(self) -> None:
        self.transport.close()
        await self.closed

    async def abort(self) -> None:
        """End the connection with a reset."""
        self.transport.get_extra_info("socket").setsockopt(
            socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0"
        )
        self.transport.abort()
        await self.closed


def _frame_end(buffer: bytes, start: int) -> int | None:
    """Where the frame at `start` ends, None if it has not arrived whole."""
    if len(buffer) < start + 2:
        return None
    size, head = buffer[start + 1] & 0x7F, 2
    if size >= 126:
        head = 4 if size == 126 else 10
        if len(buffer) < start + head:
            return None
        size = int.from_bytes(buffer[start + 2 : start + head], "big")
    end = start + head + size
    return end if len(buffer) >= end else None


def _payload(buffer: bytes, start: int, end: int) -> bytes:
    size = buffer[start + 1] & 0x7F
    return buffer[start + (2 if size < 126 else 4 if size == 126 else 10) : end]


@define(eq=False)
class HubClient:
    """Everything that the subjects of hub and soak do at one hub."""

    user: User

    @property
    def port(self) -> int:
        return int(self.user.url.rpartition(":")[2])

    def create(self, name: str = "") -> str:
        """A session that is only a row: its id."""
        metadata = {
            "path": f"/home/user/projects/{name or 'project'}",
            "host": "bench",
            "flavor": "codex",
            "name": name or "A session of the benchmark",
            "version": "0.30.7",
            "os": "linux",
            "machineId": "machine-of-the-benchmark",
            "homeDir": "/home/user",
            "hapiHomeDir": "/home/user/.hapi",
            "lifecycleState": "running",
            "lifecycleStateSince": int(time.time() * 1000),
            "tools": [f"tool-{number}" for number in range(20)],
            "slashCommands": [f"command-{number}" for number in range(30)],
            "summary": {"text": "What the session is about", "updatedAt": 1},
        }
        body = {"tag": str(uuid.uuid4()), "metadata": metadata, "agentState": {"requests": {}}}
        program = User(self.user.url, self.user.token, self.user.token)
        return str(program.post("/cli/sessions", body)["session"]["id"])

    def socket(self, session_id: str | None = None, **options: Any) -> SessionSocket:
        return SessionSocket(self.port, self.user.token, session_id, **options)

    async def sockets(self, session_ids: Iterable[str], at_once: int = 64) -> list[SessionSocket]:
        """A connected socket for each session."""
        places = asyncio.Semaphore(at_once)

        async def connect(session_id: str) -> SessionSocket:
            async with places:
                return await self.socket(session_id).open()

        return list(await asyncio.gather(*map(connect, session_ids)))

    def keep(self) -> KeptConnection:
        return KeptConnection(self.user)


class KeptConnection:
    """REST over one connection, for what is done thousands of times."""

    def __init__(self, user: User, source: str | None = None) -> None:
        self._jwt = user.jwt
        address = None if source is None else (source, 0)
        port = int(user.url.rpartition(":")[2])
        self._connection = HTTPConnection("127.0.0.1", port, 120.0, source_address=address)

    def call(
        self, method: str, path: str, body: Any = None, token: str | None = None, **headers: str
    ) -> tuple[int, bytes]:
        """Status and body; `token` "": without one, None: the user's."""
        token = self._jwt if token is None else token
        given = {"Authorization": f"Bearer {token}"} if token else {}
        if body is not None:
            given["Content-Type"] = "application/json"
        data = None if body is None else json.dumps(body)
        self._connection.request(method, path, data, {**given, **headers})
        answer = self._connection.getresponse()
        return answer.status, answer.read()

    def close(self) -> None:
        self._connection.close()


def run(work: Coroutine[Any, Any, T], seconds: float = 600.0) -> T:
    """Run `work` in a loop of its own. Raises TimeoutError."""

    async def limited() -> T:
        return await asyncio.wait_for(work, seconds)

    return asyncio.run(limited())
