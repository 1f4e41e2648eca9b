"""Which scope of an access token each route needs, in one table."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from hapi.hub.access.auth import Principal
from hapi.hub.domain.errors import ScopeMissing
from hapi.protocol.token import Scope

ANYBODY = None  # needs no token
READ, CHAT, APPROVE = Scope.READ, Scope.CHAT, Scope.APPROVE
SPAWN, MACHINE, ADMIN = Scope.SPAWN, Scope.MACHINE, Scope.ADMIN

_SESSION, _MACHINE = "/api/sessions/<session_id>", "/api/machines/<machine_id>"

# By method and rule. A route that stands in no line is served to nobody.
ROUTE_SCOPES: Mapping[str, Scope | None] = {
    "GET /health": ANYBODY,
    "GET /ready": ANYBODY,
    "GET /metrics": READ,  # and only in the owner's namespace
    "POST /api/auth": ANYBODY,
    "POST /api/bind": ANYBODY,
    "GET /api/openapi.json": ANYBODY,
    "GET /api/share/<secret>": ANYBODY,  # who has the address of a shared conversation
    # The event stream of a page.
    "GET /api/events": READ,
    "POST /api/visibility": READ,
    "POST /api/live": READ,
    # The hub.
    "GET /api/hub-settings": READ,
    "GET /api/hub-status": READ,
    "PUT /api/hub-settings": ADMIN,
    "GET /api/token": READ,
    "GET /api/tokens": ADMIN,
    "POST /api/tokens": ADMIN,
    "DELETE /api/tokens/<token_id>": ADMIN,
    "GET /api/audit": ADMIN,
    # Notifications. A device with the scope to read may be notified; an answer carries its token.
    "GET /api/push/vapid-public-key": READ,
    "POST /api/push/subscribe": READ,
    "DELETE /api/push/subscribe": READ,
    "GET /api/notifications/devices": READ,
    "PATCH /api/notifications/devices/<device_id>": READ,
    "DELETE /api/notifications/devices/<device_id>": READ,
    "POST /api/notifications/devices/<device_id>/test": READ,
    "POST /api/notifications/answer": ANYBODY,
    # Machines.
    "GET /api/agents": READ,
    "GET /api/machines": READ,
    f"PATCH {_MACHINE}": ADMIN,
    f"POST {_MACHINE}/spawn": SPAWN,
    f"POST {_MACHINE}/list-directory": SPAWN,
    f"POST {_MACHINE}/paths/exists": SPAWN,
    f"GET {_MACHINE}/agent-availability": READ,
    f"POST {_MACHINE}/restart-runner": ADMIN,
    f"GET {_MACHINE}/<path>": SPAWN,  # models for a new session: the runner asks its agents
    # Records of all sessions.
    "GET /api/search": READ,
    "GET /api/usage/summary": READ,
    "GET /api/storage/sqlite": READ,  # and only in the owner's namespace
    # Sessions.
    "GET /api/sessions": READ,
    f"GET {_SESSION}": READ,
    f"PATCH {_SESSION}": CHAT,
    f"PATCH {_SESSION}/summary": CHAT,
    f"PUT {_SESSION}/pin": CHAT,
    f"DELETE {_SESSION}": ADMIN,
    f"POST {_SESSION}/archive": SPAWN,
    f"POST {_SESSION}/reopen": SPAWN,
    f"POST {_SESSION}/resume": SPAWN,
    f"POST {_SESSION}/abort": CHAT,
    f"POST {_SESSION}/fork": SPAWN,
    f"POST {_SESSION}/rewind": CHAT,
    f"POST {_SESSION}/clear": CHAT,
    f"POST {_SESSION}/switch": CHAT,
    f"POST {_SESSION}/model": CHAT,
    # Modes and options of an agent may allow what its permission requests ask for.
    f"POST {_SESSION}/permission-mode": APPROVE,
    f"POST {_SESSION}/option": APPROVE,
    f"POST {_SESSION}/<path>": CHAT,
    # Messages.
    f"GET {_SESSION}/export": READ,
    f"GET {_SESSION}/export/markdown": READ,
    # A share link shows a conversation to people without any token.
    f"GET {_SESSION}/share-links": READ,
    f"POST {_SESSION}/share-links": ADMIN,
    f"DELETE {_SESSION}/share-links/<link_id>": ADMIN,
    f"GET {_SESSION}/messages": READ,
    f"POST {_SESSION}/messages": CHAT,
    f"POST {_SESSION}/messages/queued-state": READ,
    f"DELETE {_SESSION}/messages/<name>": CHAT,
    f"POST {_SESSION}/messages/<name>/retry": CHAT,
    f"POST {_SESSION}/messages/<name>/steer": CHAT,
    # What people keep to write.
    f"GET {_SESSION}/scratchlist": READ,
    f"POST {_SESSION}/scratchlist": CHAT,
    f"GET {_SESSION}/scratchlist/limits": READ,
    f"POST {_SESSION}/scratchlist/upload": CHAT,
    f"GET {_SESSION}/scratchlist/attachments/<attachment_id>": READ,
    f"DELETE {_SESSION}/scratchlist/attachments/<attachment_id>": CHAT,
    f"PUT {_SESSION}/scratchlist/<entry_id>": CHAT,
    f"DELETE {_SESSION}/scratchlist/<entry_id>": CHAT,
    "GET /api/prompts": READ,
    "POST /api/prompts": CHAT,
    "PUT /api/prompts/<prompt_id>": CHAT,
    "DELETE /api/prompts/<prompt_id>": CHAT,
    # Permission requests.
    f"POST {_SESSION}/permissions/<request_id>/approve": APPROVE,
    f"POST {_SESSION}/permissions/<request_id>/deny": APPROVE,
    f"GET {_SESSION}/permission-rules": READ,
    f"DELETE {_SESSION}/permission-rules/<rule_id>": APPROVE,
    # Files.
    f"GET {_SESSION}/git-status": READ,
    f"GET {_SESSION}/git-diff-numstat": READ,
    f"GET {_SESSION}/git-diff-file": READ,
    f"GET {_SESSION}/file": READ,
    f"GET {_SESSION}/directory": READ,
    f"GET {_SESSION}/files": READ,
    f"GET {_SESSION}/search-content": READ,
    f"GET {_SESSION}/git-log": READ,
    f"GET {_SESSION}/git-commit-files": READ,
    f"GET {_SESSION}/git-commit-diff": READ,
    f"GET {_SESSION}/git-actions": READ,
    # What an agent asks permission for, a person needs the same scope for.
    f"POST {_SESSION}/git-stage": APPROVE,
    f"POST {_SESSION}/git-discard": APPROVE,
    f"POST {_SESSION}/git-commit": APPROVE,
    f"POST {_SESSION}/git-push": APPROVE,
    f"GET {_SESSION}/slash-commands": READ,
    f"GET {_SESSION}/skills": READ,
    f"POST {_SESSION}/upload": CHAT,
    f"POST {_SESSION}/upload/delete": CHAT,
    f"GET {_SESSION}/generated-images/<image_id>": READ,
    f"GET {_SESSION}/<path>": READ,
    # Runners and sessions.
    "POST /cli/sessions": MACHINE,
    "GET /cli/sessions/<session_id>": MACHINE,
    "GET /cli/sessions/<session_id>/messages": MACHINE,
    "GET /cli/sessions/resumable": MACHINE,
    "GET /cli/sessions/<session_id>/resume-target": MACHINE,
    "POST /cli/sessions/<session_id>/handoff-local": MACHINE,
    "POST /cli/machines": MACHINE,
    "GET /cli/machines/<machine_id>": MACHINE,
}
# Which settings of `POST …/<path>` change what an agent may do without asking.
PERMISSION_SETTINGS = frozenset({"collaboration-mode", "copilot-agent-mode"})
# Modes in which every agent asks for what it wants to do. All others need the scope that approves.
ASKING_MODES = frozenset({None, "default", "interactive", "plan"})

NEEDED_FOR: Mapping[Scope, str] = {
    Scope.READ: "see sessions",
    Scope.CHAT: "write to sessions",
    Scope.APPROVE: "answer permission requests or change permission modes",
    Scope.SPAWN: "start, resume or archive sessions",
    Scope.MACHINE: "run a machine's sessions",
    Scope.TERMINAL: "open terminals",
    Scope.ADMIN: "administer the hub",
}


def scopes_of(method: str, rule: str, choice: str | None) -> list[Scope]:
    """The scopes that a request needs whatever its body says; `choice`: the word of the path that
    stands for a converter. Raises KeyError for a route without a line.
    """
    needed = ROUTE_SCOPES[route_key(method, rule)]
    found = [] if needed is None else [needed]
    return [*found, APPROVE] if choice in PERMISSION_SETTINGS else found


def route_key(method: str, rule: str) -> str:
    """The key of ROUTE_SCOPES for a rule of werkzeug."""
    plain = re.sub(r"<any\([^)]*\):(\w+)>", r"<\1>", rule)
    return f"{method} {plain}"


def require(principal: Principal, scope: Scope | None) -> None:
    """Raises ScopeMissing."""
    if scope is not None and scope not in principal.scopes:
        raise ScopeMissing(scope, NEEDED_FOR[scope])


def route_scopes(methods: Iterable[str], rule: str) -> dict[bytes, Scope | None]:
    """The scope that each method of a rule needs. Raises KeyError for a route without a line."""
    plain = [method for method in methods if method not in ("HEAD", "OPTIONS")]
    found = {method.encode(): ROUTE_SCOPES[route_key(method, rule)] for method in plain}
    return {**found, **({b"HEAD": found[b"GET"]} if b"GET" in found else {})}
