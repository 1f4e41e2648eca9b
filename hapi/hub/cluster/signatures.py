"""Signatures of what the hubs of one database send each other: HMAC-SHA256 with a key that all of
them read from the database.

A signature is for one request to one hub: it covers the two hubs, the method, the target, the time
and a nonce, and a value of its purpose. A hub takes each of them once.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Callable
from secrets import token_hex

from attrs import define, field, frozen

MAX_AGE = 60_000  # ms that the clocks of two hubs may differ, the way of the request included
# `value` is printable ASCII without spaces and semicolons: a digest, or an address.
_HEADER = re.compile(
    r"v1;(?P<time>[0-9]{1,15});(?P<nonce>[0-9a-f]{32});(?P<sender>[!-:<-~]{1,200});"
    r"(?P<value>[!-:<-~]{0,200});(?P<mac>[0-9a-f]{64})"
)
_VALUE = re.compile(r"[!-:<-~]{0,200}")

# The purposes of signatures, and the headers of the requests that bear them.
PEER = "peer"  # of a request below /hub/; its value is the digest of the body
PEER_HEADER = "X-Hapi-Peer"
HOP = "hop"  # of a request of a client that is forwarded; its value is the address of the client
HOP_HEADER = "X-Hapi-Hop"
IDENTITY = "identity"  # of a question to whatever hub has an address, and of its answer
IDENTITY_HEADER = "X-Hapi-Identity"
ANY_HUB = ""  # the receiver of the question


class WrongSignature(Exception):
    """The signature is not that of a hub of this database, or not for this request."""


class WrongTime(WrongSignature):
    """The signature is right, and its time is more than MAX_AGE from ours."""

    def __init__(self, sender: str, seconds: float) -> None:
        super().__init__(f"the clock of hub {sender} differs by {seconds:.0f} s")
        self.sender = sender


@frozen
class Signed:
    """What a verified signature says."""

    sender: str  # id of a hub
    value: str


@define(eq=False, repr=False)
class UsedNonces:
    """The nonces of the last two periods of 2 * MAX_AGE. None is refused for being older: `Signer`
    refuses its time.
    """

    _current: set[str] = field(factory=set)
    _before: set[str] = field(factory=set)
    _since: int = 0  # ms

    def use(self, nonce: str, now: int) -> bool:
        """Whether it is new; from now on it is not."""
        if not 0 <= now - self._since <= 2 * MAX_AGE:
            self._before, self._current, self._since = self._current, set(), now
        if nonce in self._current or nonce in self._before:
            return False
        self._current.add(nonce)
        return True


@define(eq=False, repr=False)
class Signer:
    """Makes and verifies the signatures of one hub. `now` is wall time in ms."""

    _key: bytes
    _hub_id: str
    _now: Callable[[], int]
    _nonces: UsedNonces = field(factory=UsedNonces)

    def sign(self, purpose: str, receiver: str, method: bytes, target: bytes, value: str) -> str:
        """The header of a request to the hub `receiver`. Raises ValueError for a value that does
        not fit in a header.
        """
        if not _VALUE.fullmatch(value):
            raise ValueError("the value cannot be signed")
        time, nonce = str(self._now()), token_hex(16)
        mac = self._mac(purpose, self._hub_id, receiver, method, target, time, nonce, value)
        return f"v1;{time};{nonce};{self._hub_id};{value};{mac}"

    def verify(
        self, purpose: str, header: str, method: bytes, target: bytes, receiver: str | None = None
    ) -> Signed:
        """`receiver` is this hub unless it is ANY_HUB. Raises WrongSignature, WrongTime."""
        found = _HEADER.fullmatch(header)
        if found is None:
            raise WrongSignature("malformed")
        sender, time, nonce, value = (found[name] for name in ("sender", "time", "nonce", "value"))
        named = self._hub_id if receiver is None else receiver
        mac = self._mac(purpose, sender, named, method, target, time, nonce, value)
        if not hmac.compare_digest(mac, found["mac"]):
            raise WrongSignature("not signed with our key, for us")
        now = self._now()
        if abs(now - int(time)) > MAX_AGE:
            raise WrongTime(sender, (int(time) - now) / 1000)
        if not self._nonces.use(nonce, now):
            raise WrongSignature("sent a second time")
        return Signed(sender, value)

    def _mac(
        self,
        purpose: str,
        sender: str,
        receiver: str,
        method: bytes,
        target: bytes,
        *values: str,
    ) -> str:
        parts = [
            b"HAPI between hubs 1",
            *(part.encode() for part in (purpose, sender, receiver)),
            method,
            target,
            *(value.encode() for value in values),
        ]
        # Each part with its length: no two lists of parts are one text.
        text = b"".join(b"%d:%b" % (len(part), part) for part in parts)
        return hmac.digest(self._key, text, "sha256").hex()
