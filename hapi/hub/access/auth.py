"""Authentication: the access token, and the web tokens (JWT) of people."""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Callable
from functools import lru_cache
from math import inf
from types import ModuleType
from typing import Any

import msgspec
from attrs import define, field, frozen

from hapi.hub.access.audit_log import NOBODY, Actor
from hapi.hub.access.tokens import DeviceToken, DeviceTokens
from hapi.protocol.token import (
    ALL_SCOPES,
    DEFAULT_NAMESPACE,
    AccessToken,
    InvalidNamespace,
    Scope,
    check_namespace,
)
from hapi.startup import hidden_modules
from hapi.startup.lazy_modules import substituted_modules

WEB_TOKEN_LIFETIME = 4 * 3600  # seconds
CLOCK_LEEWAY = 60  # seconds that another clock may be ahead
MAX_TOKEN_LENGTH = 4096  # characters, without the namespace of an access token
MAX_CACHED_TOKENS = 256
ALGORITHM = "HS256"
HEADER = {"alg": ALGORITHM}
COMPACT_JWS = re.compile(r"[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+){2}")


@frozen
class Principal:
    """The authenticated sender of a request. Principals of one namespace are equal."""

    namespace: str
    # When the web token expires, in seconds since the epoch; an access token never does.
    expires_at: float = field(default=inf, eq=False)
    # Tells web tokens from one another in memory; "" for an access token.
    token_id: str = field(default="", eq=False, repr=False)
    # The access token of a device or machine; None: the access token of the hub itself.
    device: DeviceToken | None = field(default=None, eq=False)

    @property
    def scopes(self) -> frozenset[Scope]:
        return ALL_SCOPES if self.device is None else self.device.scopes

    @property
    def token_name(self) -> str | None:
        """The name of the token of a device, None for the access token of the hub."""
        return None if self.device is None else self.device.name

    @property
    def owns_hub(self) -> bool:
        """Whether it may see and change what concerns all namespaces."""
        return self.namespace == DEFAULT_NAMESPACE and Scope.ADMIN in self.scopes


class WebClaims(msgspec.Struct, frozen=True, omit_defaults=True):
    """The claims of a web token. Times in seconds since the epoch.

    `tid` is the id of the device's token with which it was got, and `scp` that token's scopes, for
    whoever reads the web token; the hub goes by the device's token.
    """

    uid: int
    ns: str
    iat: int
    exp: int
    tid: str = ""
    scp: tuple[str, ...] = ()


def actor_of(principal: Principal | None) -> Actor:
    """Who stands in the audit for a request."""
    if principal is None:
        return NOBODY
    device = principal.device
    if device is None:
        return Actor(principal.namespace)
    return Actor(principal.namespace, device.name, device.id)


def device_principal(device: DeviceToken) -> Principal:
    expires_at = device.row.expires_at
    return Principal(device.namespace, inf if expires_at is None else expires_at / 1000, "", device)


def equal_in_constant_time(given: str, expected: str) -> bool:
    """Compare in a time that reveals neither how much of `given` is right nor the length of
    `expected`.
    """
    key = b"hapi"
    first = hmac.new(key, given.encode("utf-8", "surrogatepass"), hashlib.sha256).digest()
    second = hmac.new(key, expected.encode("utf-8", "surrogatepass"), hashlib.sha256).digest()
    return hmac.compare_digest(first, second)


def load_jwt() -> Any:
    """PyJWT, loaded at the first login: it takes 1.3 MB and would lengthen the start of the hub.

    Without `cryptography`, which HS256 does not need: 8 MB more (RSS). And without its client for
    key sets, which needs ssl and urllib.request.
    """
    client = ModuleType("jwt.jwks_client")
    client.__dict__["PyJWKClient"] = type("PyJWKClient", (), {})
    with hidden_modules("cryptography"), substituted_modules(client):
        import jwt
    return jwt


@define(eq=False, repr=False)
class TokenIssuer:
    """`token` is the base access token, `devices` are the tokens beside it.

    Web tokens are signed with a key derived from it and from `secret` (32 bytes), so that another
    access token or another secret ends all of them.
    """

    token: str = field(repr=False)
    _secret: bytes = field(repr=False)
    devices: DeviceTokens = field(factory=DeviceTokens, repr=False)
    _key: bytes = field(init=False, repr=False)
    # A page sends the same token with every request. Verifying one takes PyJWT 96 µs, a third of
    # the time of a small request; invalid tokens raise and are not kept.
    _verified: Callable[[str], WebClaims] = field(init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        purpose = b"HAPI web tokens\0" + self.token.encode("utf-8", "surrogatepass")
        self._key = hmac.digest(self._secret, purpose, "sha256")
        self._verified = lru_cache(maxsize=MAX_CACHED_TOKENS)(self._verify)

    def check_access_token(self, text: object) -> Principal | None:
        """The principal of the access token `text`, None if the token is wrong.

        Raises InvalidNamespace if the token is right, but its namespace is not in normal form.
        """
        if not isinstance(text, str):
            return None
        base = text.rpartition(":")[0] or text
        if len(base) > MAX_TOKEN_LENGTH:
            return None
        try:
            if (device := self.devices.find(text)) is not None:
                return device_principal(device)
            found = AccessToken.parse(text)
        except InvalidNamespace:
            if equal_in_constant_time(base, self.token):
                raise
            return None
        except ValueError:
            return None
        return (
            Principal(found.namespace) if equal_in_constant_time(found.base, self.token) else None
        )

    # --- web tokens ------------------------------------------------------------------------------

    def issue_web_token(self, principal: Principal, now: float) -> str:
        """A JWT for `principal`, valid for four hours from `now` (seconds since the epoch), and not
        longer than its access token.
        """
        issued, device = int(now), principal.device
        expires = int(min(issued + WEB_TOKEN_LIFETIME, principal.expires_at))
        claims = WebClaims(1, principal.namespace, issued, expires)
        if device is not None:
            scopes = tuple(sorted(device.scopes))
            claims = msgspec.structs.replace(claims, tid=device.id, scp=scopes)
        jwt = load_jwt()
        token: str = jwt.encode(msgspec.to_builtins(claims), self._key, ALGORITHM, {"typ": None})
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
        token_id = text.rpartition(".")[2]
        if not (is_current and is_ours):
            return None
        if not claims.tid:
            return Principal(claims.ns, claims.exp, token_id)
        device = self.devices.get(claims.tid)
        if device is None or device.namespace != claims.ns:  # revoked meanwhile
            return None
        return Principal(claims.ns, claims.exp, token_id, device)

    def _verify(self, text: str) -> WebClaims:
        """The claims of a token with a valid signature, whenever it expires.

        Raises ValueError, msgspec.ValidationError, RecursionError.
        """
        jwt = load_jwt()
        # PyJWT accepts padding after the parts of a token, which RFC 7515 does not allow.
        if not COMPACT_JWS.fullmatch(text):
            raise ValueError("not a compact JWS")
        # `read_web_token` checks the times, against the clock of the hub.
        options: Any = {"verify_exp": False, "verify_iat": False}
        try:
            token = jwt.decode_complete(text, self._key, [ALGORITHM], options=options)
        except jwt.InvalidTokenError as error:
            raise ValueError(str(error)) from error
        if token["header"] != HEADER:
            raise ValueError("not a header of this hub")
        claims = msgspec.convert(token["payload"], WebClaims)
        check_namespace(claims.ns)
        return claims
