"""The runner's local control API: the requests of npm's programs, and the shapes of the replies
(runner.md §9).
"""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Annotated, Any, Literal

import msgspec
from attrs import frozen
from msgspec import Meta, Struct

from hapi.protocol.json import Malformed
from hapi.protocol.spawn import NeedsDirectory, Spawned, SpawnRefused, SpawnResult

MAX_DEPTH = 64  # levels of nesting; more is refused before anybody walks through it
MAX_PID = 1 << 22  # Linux, PID_MAX_LIMIT

StopStatus = Literal["stopped", "already_gone", "still_alive"]

SessionId = Annotated[str, Meta(max_length=512)]


class SessionStarted(Struct, frozen=True, rename="camel"):
    """POST /session-started: a session process reports that the hub has created its session."""

    session_id: Annotated[str, Meta(min_length=1, max_length=512)]
    metadata: dict[str, Any] | None

    @property
    def host_pid(self) -> int | None:
        """The pid that the caller claims, None if it names none. Raises ValueError if the value is
        not a pid.
        """
        claimed = (self.metadata or {}).get("hostPid")
        if claimed is None or (claimed == 0 and not isinstance(claimed, bool)):
            return None
        if isinstance(claimed, bool) or not isinstance(claimed, int) or not 1 < claimed <= MAX_PID:
            raise ValueError("metadata.hostPid is not a process id")
        return claimed

    @property
    def started_by(self) -> str | None:
        found = (self.metadata or {}).get("startedBy")
        return found if isinstance(found, str) else None


class StopSession(Struct, frozen=True, rename="camel"):
    """POST /stop-session, RPC stop-session."""

    session_id: SessionId


class ReplaceRunner(Struct, frozen=True, rename="camel"):
    """POST /replace: the program that is to take over, and how it is started.

    Words of the operating system are their bytes read as Latin-1, since they need not be UTF-8.
    """

    pid: int  # of the runner that is meant
    argv: Annotated[list[str], Meta(min_length=1)]
    directory: Annotated[str, Meta(min_length=1)]
    environment: dict[str, str]
    words: list[str]  # what the new runner's status has as `argv`


class ReplacementRefused(Exception):
    """The hand-off cannot begin; the message says why.

    `replacement` is the pid of the replacement that another hand-off has started.
    """

    def __init__(self, reason: str, replacement: int | None = None) -> None:
        super().__init__(reason)
        self.replacement = replacement


class ListedSession(Struct, frozen=True, rename="camel", omit_defaults=True):
    """One entry of /list. The first three keys are npm's, the others are our own."""

    started_by: str
    happy_session_id: str
    pid: int
    attempt: str | None = None
    agent: str | None = None
    directory: str | None = None
    state: str | None = None
    started_at: int | None = None
    unverified: bool = False
    activity: dict[str, Any] | None = (
        None  # what it does, by its own report, and whether it is stuck
    )


# npm's term for a session that its user started
STARTED_BY_USER = "hapi directly - likely by user from terminal"


class MalformedRequest(Malformed):
    """A request body that cannot be read; answered with 400 and npm's error body."""

    def __init__(self, message: str, code: str = "FST_ERR_VALIDATION") -> None:
        super().__init__(message)
        self.code = code


def read_object(body: bytes, has_type: bool) -> dict[str, Any]:
    """The JSON object of a request; {} for a request without body and without Content-Type. Raises
    MalformedRequest.
    """
    if not body:
        if has_type:
            raise MalformedRequest(
                "Body cannot be empty when content-type is set to 'application/json'",
                "FST_ERR_CTP_EMPTY_JSON_BODY",
            )
        return {}
    try:
        found = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        message = "Body is not valid JSON but content-type is set to 'application/json'"
        raise MalformedRequest(message, "FST_ERR_CTP_INVALID_JSON_BODY") from error
    if not isinstance(found, dict):
        raise MalformedRequest("body must be a JSON object")
    if not _is_shallow(found):
        raise MalformedRequest(f"body is nested deeper than {MAX_DEPTH} levels")
    return found


def _is_shallow(value: object) -> bool:
    level = [value]
    for _ in range(MAX_DEPTH):
        level = [
            inner
            for outer in level
            if isinstance(outer, dict | list)
            for inner in (outer.values() if isinstance(outer, dict) else outer)
            if isinstance(inner, dict | list)
        ]
        if not level:
            return True
    return False


def hub_connection_problem(status: Mapping[str, Any]) -> str | None:
    """Why requests of the hub do not arrive, from a reply of `/status`, as a clause; None if they
    do.
    """
    hub = status.get("hub") or {}
    reason = hub.get("reason") or hub.get("phase") or "no answer yet"
    if not status.get("registered"):
        return f"not registered: {reason}"
    return None if hub.get("phase") == "connected" else f"registered, connection lost: {reason}"


def error_body(status: int, message: str, code: str | None = None) -> dict[str, Any]:
    """An error in the form of npm's server; clients read the status only."""
    head: dict[str, Any] = {"statusCode": status}
    phrase = HTTPStatus(status).phrase
    return head | ({"code": code} if code else {}) | {"error": phrase, "message": message}


def not_found(method: str, path: str) -> dict[str, Any]:
    return {"message": f"Route {method}:{path} not found", "error": "Not Found", "statusCode": 404}


def http_spawn_answer(result: SpawnResult) -> tuple[int, Mapping[str, Any]]:
    """Status and body of /spawn-session."""
    match result:
        case Spawned(session_id):
            return 200, {
                "success": True,
                "sessionId": session_id,
                "approvedNewDirectoryCreation": True,
            }
        case NeedsDirectory(directory):
            asked = {
                "requiresUserApproval": True,
                "actionRequired": "CREATE_DIRECTORY",
                "directory": directory,
            }
            return 409, {"success": False} | asked
        case SpawnRefused(message, code, agent):
            extra = {key: value for key, value in (("code", code), ("agent", agent)) if value}
            return 500, {"success": False, "error": message} | extra


@frozen
class LeavesForSupervisor:
    """The installed version starts: this runner exits, and its supervisor starts it again."""


@frozen
class HandoffBegan:
    """The process `replacement` takes over; this runner serves until it has."""

    replacement: int


@frozen
class RestartRefused:
    """The runner keeps running; `reason` is a clause, such as "only twistd may restart it"."""

    reason: str


Restart = LeavesForSupervisor | HandoffBegan | RestartRefused
