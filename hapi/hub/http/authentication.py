"""Who sends a request: the access token of programs below `/cli`, the web token of people below
`/api`.
"""

from __future__ import annotations

from collections.abc import Callable

from attrs import frozen
from twisted.internet.interfaces import IReactorTime
from twisted.web.iweb import IRequest

from hapi.hub.domain.auth import LoginRateLimit, Principal, TokenIssuer
from hapi.hub.domain.errors import LoginRateLimited, Unauthenticated


def client_address(request: IRequest) -> str:
    return str(getattr(request.getClientAddress(), "host", "") or "")


def bearer_token(header: str | None, exact: bool) -> str | None:
    """The token of an Authorization header. `exact`: the scheme must be spelled `Bearer`."""
    scheme, _, token = (header or "").partition(" ")
    matches = scheme == "Bearer" if exact else scheme.lower() == "bearer"
    return (token.strip() or None) if matches else None


@frozen(eq=False)
class Authenticator:
    """`now` is wall time in ms; the rate limit counts on `clock`."""

    _token_issuer: TokenIssuer
    _login_rate_limit: LoginRateLimit
    _clock: IReactorTime
    _now: Callable[[], int]

    def check_access_token(self, request: IRequest, token: object) -> Principal | None:
        """The principal of an access token, None if the token is wrong. Raises LoginRateLimited."""
        address, now = client_address(request), self._clock.seconds()
        retry_after = self._login_rate_limit.retry_after(address, now)
        if retry_after:
            raise LoginRateLimited(retry_after)
        principal = self._token_issuer.check_access_token(token)
        if principal is None:
            self._login_rate_limit.record_failure(address, now)
        return principal

    def authenticate_cli(self, request: IRequest) -> Principal:
        """Raises Unauthenticated, LoginRateLimited."""
        header = request.getHeader("authorization")
        if header is None:
            raise Unauthenticated("Missing Authorization header")
        token = bearer_token(header, exact=False)
        if token is None:
            raise Unauthenticated("Invalid Authorization header")
        principal = self.check_access_token(request, token)
        if principal is None:
            raise Unauthenticated("Invalid token")
        return principal

    def authenticate_api(self, request: IRequest, token: str | None = None) -> Principal:
        """`token` replaces the Authorization header. Raises Unauthenticated."""
        if token is None:
            token = bearer_token(request.getHeader("authorization"), exact=True)
        if token is None:
            raise Unauthenticated("Missing authorization token")
        principal = self._token_issuer.read_web_token(token, self._now() / 1000)
        if principal is None:
            raise Unauthenticated("Invalid token")
        return principal
