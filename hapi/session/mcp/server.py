"""The MCP server of a session: it listens on a unix socket that `hapi mcp` connects to.

So the agent gets tools without the access token of the hub: what they need there, the session asks.
"""

from __future__ import annotations

import errno
import os
import socket
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, ClassVar

from attrs import define, field
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IHalfCloseableProtocol, IPushProducer
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

import hapi.mcp_relay
from hapi import __version__
from hapi.home import Home
from hapi.mcp_relay import SOCKET_VARIABLE
from hapi.net.server.unix_port import listen_unix, reachable
from hapi.protocol.json import Malformed
from hapi.protocol.mcp.tools import SERVER_NAME, TOOLS, initialize_result
from hapi.session.agent.jsonrpc_peer import JsonRpcPeer, LineTooLong
from hapi.session.mcp.tools import AgentTools

MAX_NAME_LENGTH = 200  # characters of an unknown tool's name in the answer
MAX_CONNECTIONS = 16  # an agent may start the server once for each of its own sessions


@define(eq=False, repr=False)
class McpServer:
    """The server of one session. `listen` once, `close` at the end."""

    _reactor: Any
    _home: Home
    _tools: AgentTools
    _port: Any = None
    _path: Path | None = None
    connections: set[McpConnection] = field(factory=set)
    log = Logger()

    def listen(self) -> None:
        """Listen for the agent's `hapi mcp`. A failure is logged: the agent works without it."""
        try:
            directory = self._home.directory("mcp")
            remove_unused_sockets(directory)
            path = directory / f"{os.getpid()}.{os.urandom(3).hex()}.sock"
            factory = Factory.forProtocol(lambda: McpConnection(self._reactor, self))
            self._port = listen_unix(self._reactor, path, factory)
            self._path = path
        except (OSError, CannotListenError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            self.log.warn("The agent gets no tools of HAPI: {reason}", reason=reason)

    def offer(self) -> list[dict[str, Any]]:
        """The server as ACP's `mcpServers` names it; [] if it does not listen."""
        if self._path is None:
            return []
        return [
            {
                "name": SERVER_NAME,
                "command": sys.executable,
                # Without site-packages: the relay needs the standard library only.
                "args": ["-I", "-S", str(Path(hapi.mcp_relay.__file__)), "mcp"],
                "env": [{"name": SOCKET_VARIABLE, "value": str(self._path)}],
            }
        ]

    def close(self) -> None:
        """Stop listening, and end the connections."""
        if self._port is not None:
            self._port.stopListening()
            self._port = None
        if self._path is not None:
            self._path.unlink(missing_ok=True)
            self._path = None
        for connection in tuple(self.connections):
            connection.close()

    handlers: ClassVar[dict[str, Any]] = {
        "initialize": lambda params: initialize_result(params, __version__),
        "ping": lambda params: {},
        "tools/list": lambda params: {"tools": [tool.offer() for tool in TOOLS]},
    }

    async def call(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """The result of `tools/call`. Raises Malformed for a tool that there is not."""
        name, arguments = params.get("name"), params.get("arguments")
        if not isinstance(name, str) or not any(tool.name == name for tool in TOOLS):
            raise Malformed(f"Unknown tool: {str(name)[:MAX_NAME_LENGTH]}")
        return await self._tools.call(name, arguments if isinstance(arguments, dict) else {})


@implementer(IHalfCloseableProtocol, IPushProducer)
class McpConnection(Protocol):
    """One `hapi mcp`: JSON-RPC on lines. A client that says no more still gets its answers."""

    def __init__(self, reactor: Any, server: McpServer) -> None:
        self._reactor, self._server = reactor, server
        self._open_calls, self._is_read = 0, False
        self._peer = JsonRpcPeer(
            reactor, self._write, {**server.handlers, "tools/call": self._call}
        )

    def connectionMade(self) -> None:
        if len(self._server.connections) >= MAX_CONNECTIONS:
            self.close()
            return
        self._server.connections.add(self)
        # A client that does not read its answers is not read either.
        transport: Any = self.transport
        transport.registerProducer(self, True)

    def pauseProducing(self) -> None:
        transport: Any = self.transport
        transport.pauseProducing()

    def resumeProducing(self) -> None:
        transport: Any = self.transport
        transport.resumeProducing()

    def stopProducing(self) -> None:
        """The connection is lost."""

    def dataReceived(self, data: bytes) -> None:
        try:
            self._peer.received(data)
        except LineTooLong:
            self.close()

    def readConnectionLost(self) -> None:
        self._is_read = True
        self._peer.queue.when_empty(self._close_when_done)

    def writeConnectionLost(self) -> None:
        self.close()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._server.connections.discard(self)
        self._peer.closed("The MCP client is gone")

    def close(self) -> None:
        transport: Any = self.transport
        if transport is not None:
            transport.unregisterProducer()
            transport.loseConnection()

    async def _call(self, params: Mapping[str, Any]) -> dict[str, Any]:
        self._open_calls += 1
        try:
            return await self._server.call(params)
        finally:
            self._open_calls -= 1
            self._reactor.callLater(0, self._close_when_done)  # once the answer is written

    def _close_when_done(self) -> None:
        if self._is_read and not self._open_calls:
            self.close()

    def _write(self, data: bytes) -> None:
        if self.transport is not None:
            self.transport.write(data)


def remove_unused_sockets(directory: Path) -> None:
    """Remove the sockets of sessions that were killed: nothing listens on them."""
    for path in directory.glob("*.sock"):
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe, suppress(OSError):
            probe.setblocking(False)
            with reachable(path) as name:
                is_unused = probe.connect_ex(name) == errno.ECONNREFUSED
            if is_unused:
                path.unlink()
