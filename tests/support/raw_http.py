"""HTTP and WebSocket clients on blocking sockets, for what no proper client would send."""

from __future__ import annotations

import json
import socket
import struct
from typing import Any

UPGRADE = (
    "GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: 127.0.0.1\r\n"
    "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: {version}\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{headers}\r\n"
)
TIMEOUT = 120.0  # seconds that a client waits for anything


def connect(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), TIMEOUT)


def upgrade(headers: str = "", version: int = 13) -> bytes:
    """The head of a request that asks for a WebSocket."""
    return UPGRADE.format(headers=headers, version=version).encode()


def request(method: str, path: str, body: bytes = b"", **headers: str) -> bytes:
    lines = [f"{method} {path} HTTP/1.1", "Host: 127.0.0.1"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    if body:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode() + body


def read_until(wire: socket.socket, marker: bytes) -> bytes:
    """What the server sends up to and including `marker`; less if it closes before."""
    found = b""
    while marker not in found:
        piece = wire.recv(65536)
        if not piece:
            break
        found += piece
    return found


def read_to_end(wire: socket.socket) -> bytes:
    """What the server sends until it closes the connection."""
    found = b""
    while piece := wire.recv(65536):
        found += piece
    return found


def frame(payload: bytes, opcode: int = 1, is_final: bool = True, is_packed: bool = False) -> bytes:
    """A client's frame, masked with zeros (RFC 6455, section 5.2)."""
    first = (0x80 if is_final else 0) | (0x40 if is_packed else 0) | opcode
    if len(payload) <= 125:
        head = bytes([first, 0x80 | len(payload)])
    elif len(payload) <= 0xFFFF:
        head = struct.pack("!BBH", first, 0x80 | 126, len(payload))
    else:
        head = struct.pack("!BBQ", first, 0x80 | 127, len(payload))
    return head + bytes(4) + payload


def open_socket(port: int, headers: str = "") -> socket.socket:
    """A WebSocket that has been greeted and has joined nothing."""
    wire = connect(port)
    wire.sendall(upgrade(headers))
    answer = read_until(wire, b"maxPayload")
    assert answer.startswith(b"HTTP/1.1 101 "), answer
    return wire


def join(wire: socket.socket, auth: Any) -> bytes:
    """Send CONNECT for `/cli`; what came back, up to a close frame."""
    wire.sendall(frame(b"40/cli," + json.dumps(auth).encode()))
    found = b""
    while b"}" not in found and b"\x88" not in found:
        piece = wire.recv(65536)
        if not piece:
            break
        found += piece
    return found
