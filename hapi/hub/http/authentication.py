"""Who sends a request: the access token of programs below `/cli`, the web token of people below
`/api`.
"""

from __future__ import annotations

from collections.abc import Callable

from attrs import frozen
from twisted.internet.interfaces import IReactorTime
from twisted.web.iweb import IRequest

from hapi.hub.access.auth import Principal, TokenIssuer
from hapi.hub.access.rate_limits import LoginRateLimit
from hapi.hub.domain.errors import LoginRateLimited, Unauthenticated
from hapi.hub.http.proxies import TrustedProxies
from hapi.net.server.site import mark_authenticated
from hapi.protocol.token import InvalidNamespace


def bearer_token(header: str | None, exact: bool) -> str | None:
    """The token of an Authorization header. `exact`: the scheme must be spelled `Bearer`."""
    scheme, _, token = (header or "").partition(" ")
    matches = scheme == "Bearer" if exact else scheme.lower() == "bearer"
    return (token.strip(" \t") or None) if matches else None


def authorization(request: IRequest) -> str | None:
    """The Authorization header, None if there is none. Node.js sends it as Latin-1, others as
    UTF-8.
    """
    values = request.requestHeaders.getRawHeaders(b"authorization")
    if not values:
        return None
    try:
        return str(values[-1], "utf-8")
    except UnicodeDecodeError:
        return str(values[-1], "latin-1")


@frozen(eq=False, repr=False)
class Authenticator:
    """`now` is wall time in ms; the rate limit counts on `clock`."""

    _token_issuer: TokenIssuer
    _login_rate_limit: LoginRateLimit
    _trusted_proxies: TrustedProxies
    _clock: IReactorTime
    _now: Callable[[], int]

    def check_access_token(self, request: IRequest, token: object, refusal: str) -> Principal:
        """The principal of an access token. A right token is accepted however many wrong ones came
        from the same address.

        Raises Unauthenticated, whose text begins with `refusal`, and LoginRateLimited.
        """
        try:
            principal = self._token_issuer.check_access_token(token)
        except InvalidNamespace as error:
            raise Unauthenticated(f"{refusal}: {error}") from error
        if principal is None:
            retry_after = self._login_rate_limit.record_failure(
                self.address(request), self._clock.seconds()
            )
            raise LoginRateLimited(retry_after) if retry_after else Unauthenticated(refusal)
        mark_authenticated(request)
        request.identified = principal  # type: ignore[attr-defined]  # for the audit
        return principal

    def address(self, request: IRequest) -> str:
        """The address of the client, also behind a proxy that is trusted."""
        return self._trusted_proxies.client_address(request)

    def authenticate_cli(self, request: IRequest) -> Principal:
        """Raises Unauthenticated, LoginRateLimited."""
        header = authorization(request)
        if header is None:
            raise Unauthenticated("Missing Authorization header")
        token = bearer_token(header, exact=False)
        if token is None:
            raise Unauthenticated("Invalid Authorization header")
        return self.check_access_token(request, token, "Invalid token")

    def authenticate_api(self, request: IRequest, token: str | None = None) -> Principal:
        """`token` replaces the Authorization header. Raises Unauthenticated.

        Wrong web tokens are not counted: nobody can guess a signature of 256 bits, and a page must
        be told by 401 that its web token has ended.
        """
        if token is None:
            token = bearer_token(authorization(request), exact=True)
        if token is None:
            raise Unauthenticated("Missing authorization token")
        principal = self._token_issuer.read_web_token(token, self._now() / 1000)
        if principal is None:
            raise Unauthenticated("Invalid token")
        mark_authenticated(request)
        return principal
