"""Authentication: the access token, the web tokens (JWT) of people, and a rate limit for wrong
tokens.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections import OrderedDict
from collections.abc import Callable
from functools import lru_cache
from math import ceil
from typing import Annotated, Any

import msgspec
from attrs import define, field, frozen

from hapi.protocol.token import AccessToken

WEB_TOKEN_LIFETIME = 4 * 3600  # seconds
CLOCK_LEEWAY = 60  # seconds that another clock may be ahead
MAX_TOKEN_LENGTH = 4096  # characters
MAX_CACHED_TOKENS = 256
ALGORITHM = "HS256"
HEADER = {"alg": ALGORITHM}
COMPACT_JWS = re.compile(r"[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+){2}")

FREE_ATTEMPTS = 10  # wrong tokens per address
REFILL_PERIOD = 60.0  # seconds until that many are forgotten
FREE_ATTEMPTS_TOTAL = 200  # wrong tokens of all addresses together
MAX_ADDRESSES = 10_000


@frozen
class Principal:
    """The authenticated sender of a request."""

    namespace: str


class WebClaims(msgspec.Struct, frozen=True):
    """The claims of a web token. Times in seconds since the epoch."""

    uid: int
    ns: Annotated[str, msgspec.Meta(min_length=1)]
    iat: int
    exp: int


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
    # A page sends the same token with every request. Verifying one takes PyJWT 96 µs, a third of
    # the time of a small request; invalid tokens raise and are not kept.
    _verified: Callable[[str], WebClaims] = field(init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        self._verified = lru_cache(maxsize=MAX_CACHED_TOKENS)(self._verify)

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

    # --- web tokens ------------------------------------------------------------------------------

    def issue_web_token(self, principal: Principal, now: float) -> str:
        """A JWT for `principal`, valid for four hours from `now` (seconds since the epoch)."""
        issued = int(now)
        claims = WebClaims(1, principal.namespace, issued, issued + WEB_TOKEN_LIFETIME)
        import jwt  # see `_verify`

        token: str = jwt.encode(msgspec.to_builtins(claims), self._secret, ALGORITHM, {"typ": None})
        return token

    def read_web_token(self, text: str, now: float) -> Principal | None:
        """The principal of a JWT of this hub, None if the token is invalid or has expired."""
        if len(text) > MAX_TOKEN_LENGTH:
            return None
        try:
            claims = self._verified(text)
        except (msgspec.ValidationError, ValueError, RecursionError):
            return None
        is_current = claims.iat <= now + CLOCK_LEEWAY and now < claims.exp
        is_ours = claims.exp - claims.iat <= WEB_TOKEN_LIFETIME
        return Principal(claims.ns) if is_current and is_ours else None

    def _verify(self, text: str) -> WebClaims:
        """The claims of a token with a valid signature, whenever it expires.

        Raises ValueError, msgspec.ValidationError, RecursionError.
        """
        import jwt  # here: it takes 1.3 MB and would lengthen the start of the hub

        # PyJWT accepts padding after the parts of a token, which RFC 7515 does not allow.
        if not COMPACT_JWS.fullmatch(text):
            raise ValueError("not a compact JWS")
        # `read_web_token` checks the times, against the clock of the hub.
        options: Any = {"verify_exp": False, "verify_iat": False}
        try:
            token = jwt.decode_complete(text, self._secret, [ALGORITHM], options=options)
        except jwt.InvalidTokenError as error:
            raise ValueError(str(error)) from error
        if token["header"] != HEADER:
            raise ValueError("not a header of this hub")
        return msgspec.convert(token["payload"], WebClaims)


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
