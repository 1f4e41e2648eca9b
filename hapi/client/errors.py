"""What a hub refuses, one class for each kind. A hub that cannot be reached is HubUnreachable of
`hapi.net.common.errors`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class HubError(Exception):
    """The hub replied with an error. `str()` is the hub's sentence, `code` its word for programs,
    `body` the whole reply.
    """

    def __init__(
        self,
        status: int,
        message: str,
        code: str | None = None,
        body: Mapping[str, Any] | None = None,
        retry_after: int | None = None,
    ) -> None:
        super().__init__(message)
        self.status, self.code, self.body = status, code, dict(body or {})
        self.retry_after = retry_after  # seconds, None if the hub names no time


class InvalidRequest(HubError):
    """The body or the query is not what the hub takes (400, 413, 422)."""


class TokenRefused(HubError):
    """The access token is wrong, has expired or was revoked (401)."""


class AccessDenied(HubError):
    """The object belongs to another namespace, or the token lacks the scope (403)."""


class NotFound(HubError):
    """The session, machine, message or permission request does not exist (404)."""


class Conflict(HubError):
    """The state of the session or machine does not allow the request (409)."""


class TryLater(HubError):
    """The hub wants to be asked again after `retry_after` seconds (429, 503)."""


class HubFailed(HubError):
    """The hub, a runner or a session did not carry out the request (5xx)."""


class UnexpectedReply(HubError):
    """The reply is not one of a hub: is the address right?"""


_BY_STATUS: Mapping[int, type[HubError]] = {
    400: InvalidRequest,
    401: TokenRefused,
    403: AccessDenied,
    404: NotFound,
    409: Conflict,
    413: InvalidRequest,
    422: InvalidRequest,
    429: TryLater,
    503: TryLater,
}
MAX_DIGITS = 9  # of seconds


def error_for(status: int, body: Any, retry_after: str | None) -> HubError:
    """The error that a reply with this status and JSON means."""
    shown = body if isinstance(body, dict) else {}
    message, code = shown.get("error"), shown.get("code")
    if not isinstance(message, str):
        message = f"HTTP {status}"
        if isinstance(body, str) and body.lstrip().startswith("<"):
            message += " of a proxy, which says nothing of the hub"  # a page for people
        elif isinstance(body, str) and body:
            message = body[:200]
    if reasons := _reasons(shown.get("issues")):
        message = f"{message} ({reasons})"
    kind = _BY_STATUS.get(status, HubFailed if status >= 500 else UnexpectedReply)
    seconds = (
        int(retry_after)
        if retry_after
        and retry_after.isascii()
        and retry_after.isdigit()
        and len(retry_after) <= MAX_DIGITS
        else None
    )
    return kind(status, message, code if isinstance(code, str) else None, shown, seconds)


def _reasons(issues: Any) -> str:
    """What a hub says of the fields of a request, as `agent: Unknown agent; …`."""
    fields = issues.get("fieldErrors") if isinstance(issues, dict) else None
    found = fields.items() if isinstance(fields, dict) else ()
    return "; ".join(
        f"{name}: {reason}"
        for name, reasons in found
        if isinstance(reasons, list)
        for reason in reasons
    )
