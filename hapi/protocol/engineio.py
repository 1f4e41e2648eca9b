"""Engine.IO v4, below Socket.IO: open packet, packet codes, and refusals before the upgrade."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec
from attrs import frozen

from hapi.protocol.json import Malformed

PROTOCOL = "4"
OPEN, CLOSE, PING, PONG, MESSAGE, UPGRADE, NOOP = "0123456"
PROBE = "probe"  # what a client and its server say in a ping and pong before an upgrade
POLLING, WEBSOCKET = "polling", "websocket"
SEPARATOR = "\x1e"  # between the packets of one payload
MAX_PACKETS = 4096  # of one payload; clients send one for each event
PING_INTERVAL, PING_TIMEOUT = 25.0, 20.0  # seconds; the hub's own figures
CONNECT_TIMEOUT = 45.0  # seconds for the first namespace to be joined
MAX_PAYLOAD = 50_331_648  # bytes of one message after reassembly and inflation


class _Open(msgspec.Struct, frozen=True, rename="camel"):
    sid: str
    ping_interval: float
    ping_timeout: float
    upgrades: list[str] = []
    max_payload: int = MAX_PAYLOAD


@frozen
class Handshake:
    """The open packet. Times in seconds, size in bytes."""

    sid: str
    ping_interval: float = PING_INTERVAL
    ping_timeout: float = PING_TIMEOUT
    max_payload: int = MAX_PAYLOAD
    upgrades: tuple[str, ...] = ()  # transports that the client may change to

    @classmethod
    def parse(cls, text: str) -> Handshake:
        """Read the JSON of an open packet. Raises Malformed."""
        try:
            found = msgspec.json.decode(text, type=_Open)
        except (msgspec.DecodeError, RecursionError, UnicodeError) as error:
            raise Malformed(f"open packet: {error}") from error
        if not (0 < found.ping_interval <= 86_400_000 and 0 < found.ping_timeout <= 86_400_000):
            raise Malformed(
                "open packet: pingInterval and pingTimeout must be between 0 and one day (in ms)"
            )
        return cls(
            found.sid, found.ping_interval / 1000, found.ping_timeout / 1000, found.max_payload
        )

    def packet(self) -> str:
        """The open packet with its code."""
        shown = _Open(
            self.sid,
            round(self.ping_interval * 1000),
            round(self.ping_timeout * 1000),
            list(self.upgrades),
            self.max_payload,
        )
        return OPEN + msgspec.json.encode(shown).decode()


@frozen
class Refusal:
    """Why a request is not upgraded: HTTP status and JSON body."""

    status: int
    code: int
    message: str

    def body(self) -> bytes:
        return msgspec.json.encode({"code": self.code, "message": self.message})


TRANSPORT_UNKNOWN = Refusal(400, 0, "Transport unknown")
SESSION_UNKNOWN = Refusal(400, 1, "Session ID unknown")
BAD_METHOD = Refusal(400, 2, "Bad handshake method")
BAD_REQUEST = Refusal(400, 3, "Bad request")
ORIGIN_FORBIDDEN = Refusal(403, 4, "Origin not allowed")
VERSION_UNSUPPORTED = Refusal(400, 5, "Unsupported protocol version")


def split_payload(content: bytes) -> list[str] | None:
    """The packets of a POST of long-polling; None: it is malformed, or has too many."""
    if content.count(SEPARATOR.encode()) >= MAX_PACKETS:
        return None
    try:
        packets = content.decode().split(SEPARATOR)
    except UnicodeDecodeError:
        return None
    return packets if all(packets) else None


def join_payload(packets: Sequence[str]) -> str:
    """The answer to a GET of long-polling."""
    return SEPARATOR.join(packets)


def refusal(
    method: str,
    query: Mapping[str, Sequence[str]],
    origin_allowed: bool,
    open_sids: Mapping[str, str] | None = None,
) -> Refusal | None:
    """Why a request for `/socket.io/` is refused; None accepts it.

    `query` maps each parameter to its values; `origin_allowed` is False for a foreign Origin;
    `open_sids` maps the id of each open connection to its transport. A connection by polling may
    be asked for by a websocket: that is an upgrade.
    """

    def first(name: str) -> str | None:
        values = query.get(name)
        return values[0] if values else None

    transport = first("transport")
    if transport not in (POLLING, WEBSOCKET):
        return TRANSPORT_UNKNOWN
    if not origin_allowed:
        return ORIGIN_FORBIDDEN
    sid = first("sid")
    if sid is not None:
        current = (open_sids or {}).get(sid)
        if current is None:
            return SESSION_UNKNOWN
        if current != POLLING:
            return BAD_REQUEST
        allowed = ("GET", "POST") if transport == POLLING else ("GET",)
        return None if method in allowed else BAD_METHOD
    if method != "GET":
        return BAD_METHOD
    if first("EIO") != PROTOCOL:
        return VERSION_UNSUPPORTED
    return None
