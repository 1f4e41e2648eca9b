"""Authentication: the access token, the web tokens (JWT) of people, and a rate limit for wrong
tokens.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
from collections import OrderedDict
from math import ceil
from typing import Any

from attrs import define, field, frozen

from hapi.protocol.token import AccessToken

WEB_TOKEN_LIFETIME = 4 * 3600  # seconds
CLOCK_LEEWAY = 60  # seconds that another clock may be ahead
MAX_TOKEN_LENGTH = 4096  # characters
HEADER = {"alg": "HS256"}

FREE_ATTEMPTS = 10  # wrong tokens per address
REFILL_PERIOD = 60.0  # seconds until that many are forgotten
FREE_ATTEMPTS_TOTAL = 200  # wrong tokens of all addresses together
MAX_ADDRESSES = 10_000


@frozen
class Principal:
    """The authenticated sender of a request."""

    namespace: str


def equal_in_constant_time(given: str, expected: str) -> bool:
    """Compare in a time that reveals neither how much of `given` is right nor the length of
    `expected`.
    """
    key = b"hapi"
    first = hmac.new(key, given.encode("utf-8", "surrogatepass"), hashlib.sha256).digest()
    second = hmac.new(key, expected.encode("utf-8", "surrogatepass"), hashlib.sha256).digest()
    return hmac.compare_digest(first, second)


@define(eq=False)
class TokenIssuer:
    """`token` is the base access token; `secret` (32 bytes) signs web tokens."""

    token: str = field(repr=False)
    _secret: bytes = field(repr=False)

    def check_access_token(self, text: object) -> Principal | None:
        """The principal of the access token `text`, None if the token is wrong."""
        if not isinstance(text, str) or len(text) > MAX_TOKEN_LENGTH:
            return None
        try:
            found = AccessToken.parse(text)
        except ValueError:
            return None
        return (
            Principal(found.namespace) if equal_in_constant_time(found.base, self.token) else None
        )

    # --- tokens of web pages ----------------------------------------------------------------------

    def issue_web_token(self, caller: Principal, now: float) -> str:
        """A JWT (HS256) for `caller`, good for four hours from `now` (seconds since the epoch)."""
        issued = int(now)
        claims = {
            "uid": 1,
            "ns": caller.namespace,
            "iat": issued,
            "exp": issued + WEB_TOKEN_LIFETIME,
        }
        signed = f"{_encoded(HEADER)}.{_encoded(claims)}"
        return f"{signed}.{self._signature(signed)}"

    def read_web_token(self, text: str, now: float) -> Principal | None:
        """Whose JWT `text` is; None for anything that this hub did not issue, or that is over."""
        parts = text.split(".") if len(text) <= MAX_TOKEN_LENGTH and text.isascii() else []
        if len(parts) != 3:
            return None
        # Only our own header is accepted as it is: no other algorithm is ever considered.
        if (
            not hmac.compare_digest(self._signature(f"{parts[0]}.{parts[1]}"), parts[2])
            or _decoded(parts[0]) != HEADER
        ):
            return None
        claims = _decoded(parts[1])
        if claims is None:
            return None
        user, namespace, issued, expires = (
            claims.get(name) for name in ("uid", "ns", "iat", "exp")
        )
        numbers = all(
            isinstance(value, int) and not isinstance(value, bool)
            for value in (user, issued, expires)
        )
        if not numbers or not isinstance(namespace, str) or not namespace:
            return None
        if expires <= now or issued > now + CLOCK_LEEWAY or expires - issued > WEB_TOKEN_LIFETIME:  # type: ignore[operator]
            return None
        return Principal(namespace)

    def _signature(self, signed: str) -> str:
        return _base64(hmac.new(self._secret, signed.encode(), hashlib.sha256).digest())


def _base64(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


def _encoded(value: dict[str, Any]) -> str:
    return _base64(json.dumps(value, separators=(",", ":")).encode())


def _decoded(text: str) -> dict[str, Any] | None:
    """A part of a JWT. Strict: one spelling per content."""
    try:
        content = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
        if _base64(content) != text:
            return None
        value = json.loads(content)
    except (binascii.Error, ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


@define
class _Bucket:
    """The number of wrong tokens, which decreases evenly by `free` per minute."""

    free: int
    _wrong: float = 0.0
    _at: float = 0.0

    def count(self, now: float) -> float:
        return max(0.0, self._wrong - (now - self._at) * self.free / REFILL_PERIOD)

    def add(self, now: float) -> None:
        self._wrong, self._at = min(self.count(now) + 1, 2.0 * self.free), now

    def retry_after(self, now: float) -> float:
        """Seconds until the number is below `free`."""
        return (
            max(0.0, (self.count(now) - self.free + 1) * REFILL_PERIOD / self.free)
            if self.count(now) >= self.free
            else 0.0
        )


@define(eq=False)
class LoginRateLimit:
    """Counts wrong tokens per address and in total.

    An address without a wrong token never waits.
    """

    _addresses: OrderedDict[str, _Bucket] = field(factory=OrderedDict)
    _all: _Bucket = field(factory=lambda: _Bucket(FREE_ATTEMPTS_TOTAL))

    def retry_after(self, address: str, now: float) -> int:
        """Seconds that this address must wait before another token is checked, 0 for none."""
        bucket = self._addresses.get(address)
        if bucket is None or bucket.count(now) == 0:
            return 0
        return ceil(max(bucket.retry_after(now), self._all.retry_after(now)))

    def record_failure(self, address: str, now: float) -> None:
        bucket = self._addresses.setdefault(address, _Bucket(FREE_ATTEMPTS))
        self._addresses.move_to_end(address)
        while len(self._addresses) > MAX_ADDRESSES:
            self._addresses.popitem(last=False)
        bucket.add(now)
        self._all.add(now)
