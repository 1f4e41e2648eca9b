"""A typed client of the hub's REST API: `ApiClient`, what it returns, and what it raises."""

from hapi.client.api import ApiClient
from hapi.client.entities import (
    Event,
    Machine,
    Message,
    PendingRequest,
    PermissionRequest,
    ResumableSession,
    ResumeTarget,
    Session,
    SessionSummary,
    Spawned,
)
from hapi.client.errors import (
    AccessDenied,
    Conflict,
    HubError,
    HubFailed,
    InvalidRequest,
    NotFound,
    TokenRefused,
    TryLater,
    UnexpectedReply,
)
from hapi.client.events import EventStream
from hapi.client.turn import PromptGone, SessionOver, TurnAsks, TurnEnded, TurnWait
from hapi.net.common.errors import HubUnreachable
from hapi.settings import HubAccess

__all__ = [
    "AccessDenied",
    "ApiClient",
    "Conflict",
    "Event",
    "EventStream",
    "HubAccess",
    "HubError",
    "HubFailed",
    "HubUnreachable",
    "InvalidRequest",
    "Machine",
    "Message",
    "NotFound",
    "PendingRequest",
    "PermissionRequest",
    "PromptGone",
    "ResumableSession",
    "ResumeTarget",
    "Session",
    "SessionOver",
    "SessionSummary",
    "Spawned",
    "TokenRefused",
    "TryLater",
    "TurnAsks",
    "TurnEnded",
    "TurnWait",
    "UnexpectedReply",
]
