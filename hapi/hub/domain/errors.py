"""What the hub refuses and what can fail in it. HTTP statuses are assigned in
`hapi.hub.http.responses`.
"""

from __future__ import annotations

from typing import Any


class DomainError(Exception):
    """A request that the hub does not carry out.

    `str()` is the message for people, `code` a word for programs, `details` further keys of the
    reply.
    """

    def __init__(self, message: str, code: str | None = None, **details: Any) -> None:
        super().__init__(message)
        self.code, self.details = code, details


class InvalidRequest(DomainError):
    """The body or the query of the request is malformed."""


class InvalidQuery(InvalidRequest):
    """One parameter of the query is malformed."""

    def __init__(self, field: str, reason: str) -> None:
        super().__init__("Invalid query", issues=field_issues(field, reason))


class Unauthenticated(DomainError):
    """The request carries no valid token."""


class TryLater(DomainError):
    """The hub does not carry out the request now; the same request may succeed later."""

    def __init__(self, message: str, code: str, retry_after: int) -> None:
        super().__init__(message, code)
        self.retry_after = retry_after  # seconds


class LoginRateLimited(TryLater):
    """Too many wrong access tokens came from the address of the client, or from all addresses."""

    def __init__(self, retry_after: int) -> None:
        message = f"Too many wrong access tokens: try again in {retry_after} s"
        super().__init__(message, "too_many_wrong_tokens", retry_after)


class RequestRateLimited(TryLater):
    """The namespace of the client sends too many expensive requests."""

    def __init__(self, retry_after: int) -> None:
        message = f"Too many requests of this kind: try again in {retry_after} s"
        super().__init__(message, "too_many_requests", retry_after)


class NoPlace(TryLater):
    """Too many connections or requests of the client's token or namespace are open at once."""

    def __init__(self, what: str, whose: str, retry_after: int) -> None:
        message = f"Too many {what} of {whose} are open at once: try again in {retry_after} s"
        super().__init__(message, "too_many_at_once", retry_after)


class HubFull(NoPlace):
    """Too many connections or requests of all clients are open at once."""

    def __init__(self, what: str, retry_after: int) -> None:
        super().__init__(what, "this hub", retry_after)


class SessionConnecting(TryLater):
    """The process of the session is not connected yet, or not again."""

    def __init__(self) -> None:
        message = "The session is still connecting to the hub; try again in a moment"
        super().__init__(message, "session_connecting", retry_after=1)


class MachineConnecting(TryLater):
    """The hub that served the machine is gone, and its runner is not at another one yet."""

    def __init__(self, name: str) -> None:
        message = f"The machine {name} is connecting to the hub again; try again in a moment"
        super().__init__(message, "machine_connecting", retry_after=2)


class AccessDenied(DomainError):
    """The session or machine belongs to another namespace, or only the hub's owner may do this."""


class ScopeMissing(AccessDenied):
    """The access token does not allow the operation; `purpose` says what it would have to."""

    def __init__(self, scope: str, purpose: str) -> None:
        message = f"This access token may not {purpose} (scope {scope})"
        super().__init__(message, "scope_missing", scope=str(scope))


class NotFound(DomainError):
    """The session, machine, message or permission request does not exist."""


class Conflict(DomainError):
    """The state of the session or machine does not allow the operation."""


class ConcurrentChange(Conflict):
    """Each attempt to write a document met a version newer than the one that had been read."""


class Unprocessable(DomainError):
    """The session lacks data that the operation needs."""


class TooLarge(DomainError):
    """The uploaded file exceeds the limit."""


class Unavailable(DomainError):
    """The hub or the machine cannot serve the request at present."""


class HubUnreachable(DomainError):
    """The hub that serves the session or machine cannot be reached."""


class Misdirected(DomainError):
    """Another hub has passed a request on to this one, which is not the right one any more."""


class OperationFailed(DomainError):
    """A runner or a session process did not carry out what it was asked to do."""


class RestartFailed(DomainError):
    """The runner cannot be restarted from the hub."""


class RpcError(DomainError):
    """A remote procedure call brought no result."""


class TargetMissing(RpcError):
    """No connected socket serves the method."""


class HomeUnreachable(TargetMissing):
    """The hub to which the socket is connected cannot be reached."""


class CallFailed(RpcError):
    """A socket serves the method, but gave no answer. `gone`: it disconnected meanwhile;
    `timed_out`: it was silent for too long.
    """

    def __init__(self, message: str, gone: bool = False, timed_out: bool = False) -> None:
        super().__init__(message)
        self.gone, self.timed_out = gone, timed_out


def field_issues(field: str, reason: str) -> dict[str, Any]:
    """The `issues` of an error reply, in the form that clients of the hub know."""
    return {"formErrors": [], "fieldErrors": {field: [reason]}}
