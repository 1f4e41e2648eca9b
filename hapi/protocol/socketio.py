"""Socket.IO v5 packets as text: namespaces, events, acknowledgements. No binary."""

from __future__ import annotations

import re
from typing import Any

from attrs import frozen

from hapi.protocol.json import Malformed, from_json, to_json

CONNECT, DISCONNECT, EVENT, ACK, CONNECT_ERROR = range(5)

# Kind, namespace up to its comma, ack id; JSON follows. Kinds 5 and 6, binary, are not used.
_HEAD = re.compile(r"([0-4])(?:(/[^,]*)(?:,|$))?(\d{1,15})?")

# socket.io's own events, which no client may send (socket.io-parser, CVE-2024-38355).
RESERVED = frozenset(
    {
        "connect",
        "connect_error",
        "disconnect",
        "disconnecting",
        "newListener",
        "removeListener",
        "__proto__",
    }
)


@frozen
class Packet:
    """One packet.

    `data`: auth or sid for CONNECT, [name, *args] for EVENT, [*args] for ACK, {"message"} for
    CONNECT_ERROR.
    """

    kind: int
    namespace: str = "/"
    ack: int | None = None
    data: Any = None


def encode(packet: Packet) -> str:
    """The packet as text. Raises TypeError or ValueError when its data has no JSON form."""
    head = str(packet.kind)
    if packet.namespace != "/":
        head += packet.namespace + ","
    if packet.ack is not None:
        head += str(packet.ack)
    return head if packet.data is None else head + to_json(packet.data)


def decode(text: str) -> Packet:
    """Read one packet. Raises Malformed for anything but socket.io v5 without binary."""
    head = _HEAD.match(text)
    if head is None:
        raise Malformed(f"not a Socket.IO packet: {text[:12]!r}")
    kind, namespace = int(head[1]), head[2] or "/"
    ack = int(head[3]) if head[3] is not None else None
    rest = text[head.end() :]
    data = from_json(rest) if rest else None
    _check(kind, ack, data, has_data=bool(rest))
    return Packet(kind, namespace, ack, data)


def _check(kind: int, ack: int | None, data: Any, has_data: bool) -> None:
    if kind == EVENT:
        if not isinstance(data, list) or not data or not isinstance(data[0], str):
            raise Malformed("an event is a list that starts with its name")
        if data[0] in RESERVED:
            raise Malformed(f"event name {data[0]!r} is reserved")
    elif kind == ACK:
        if ack is None or not isinstance(data, list):
            raise Malformed("an acknowledgement is a number and a list")
    elif ack is not None:
        raise Malformed("only events and acknowledgements carry a number")
    elif kind == CONNECT:
        if has_data and not isinstance(data, dict):
            raise Malformed("CONNECT carries an object or nothing")
    elif kind == DISCONNECT:
        if has_data:
            raise Malformed("DISCONNECT carries nothing")
    elif not isinstance(data, dict | str):
        raise Malformed("CONNECT_ERROR carries an object or a string")
