"""Errors of the domain between hubs: raised at one of them, and raised again as the same at
another."""

from __future__ import annotations

from typing import Any

from hapi.hub.domain import errors
from hapi.hub.domain.errors import CallFailed, DomainError, OperationFailed

_CLASSES: dict[str, type[DomainError]] = {
    name: found
    for name, found in vars(errors).items()
    if isinstance(found, type) and issubclass(found, DomainError)
}


def error_body(error: DomainError) -> dict[str, Any]:
    """The error as JSON."""
    body: dict[str, Any] = {
        "kind": type(error).__name__,
        "message": str(error),
        "code": error.code,
        "details": error.details,
    }
    if isinstance(error, CallFailed):
        body |= {"gone": error.gone, "timedOut": error.timed_out}
    if isinstance(error, errors.TryLater):
        body["retryAfter"] = error.retry_after
    return body


def error_from(body: Any) -> DomainError:
    """The error of such JSON."""
    given = body if isinstance(body, dict) else {}
    kind = _CLASSES.get(str(given.get("kind")), OperationFailed)
    message, code, details = given.get("message"), given.get("code"), given.get("details")
    error = kind.__new__(kind)
    DomainError.__init__(
        error,
        str(message),
        code if isinstance(code, str) else None,
        **(details if isinstance(details, dict) else {}),
    )
    if isinstance(error, CallFailed):
        error.gone, error.timed_out = given.get("gone") is True, given.get("timedOut") is True
    if isinstance(error, errors.TryLater):
        retry_after = given.get("retryAfter")
        error.retry_after = retry_after if isinstance(retry_after, int) else 1
    return error
