"""Which routes the audit records, and which parts of their bodies, in one table.

Only what stands here is recorded of a body: no text of a conversation, and no secret.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
from attrs import frozen

from hapi.hub.access.audit_log import LOGIN, AuditLog
from hapi.hub.access.auth import Principal, actor_of
from hapi.hub.access.rate_limits import address_group
from hapi.hub.http.responses import Response
from hapi.hub.http.scopes import route_key

BIND = "telegram-bind"
MAX_BODY_READ = 1 << 16  # bytes; a larger body leaves no facts
_SESSION, _MACHINE = "/api/sessions/<session_id>", "/api/machines/<machine_id>"
SUBJECTS = {"session_id": "session", "machine_id": "machine", "request_id": "request"}
SUBJECTS |= {"token_id": "token", "rule_id": "rule", "device_id": "device"}
SUBJECTS |= {"link_id": "link"}


@frozen
class Audited:
    """`facts` are keys of the request, `result` keys of the reply."""

    action: str
    facts: tuple[str, ...] = ()
    result: tuple[str, ...] = ()


_START = ("directory", "agent", "yolo", "permissionMode", "sessionType", "copilotAgentMode")
_OUTCOME = ("success", "error")
AUDITED: Mapping[str, Audited] = {
    "POST /api/auth": Audited(LOGIN),
    "POST /api/bind": Audited(BIND),
    "POST /api/tokens": Audited(
        "token-create", ("name", "scopes", "expiresIn", "namespace", "machineId"), ("id",)
    ),
    "DELETE /api/tokens/<token_id>": Audited("token-revoke", (), ("name",)),
    "PUT /api/hub-settings": Audited(
        "settings", ("sessionSummaryContract", "sessionSummaryInChat")
    ),
    "POST /api/push/subscribe": Audited("notifications-on", ("label",), ("id",)),
    "DELETE /api/push/subscribe": Audited("notifications-off"),
    "PATCH /api/notifications/devices/<device_id>": Audited(
        "notifications-change", ("kinds", "detail")
    ),
    "DELETE /api/notifications/devices/<device_id>": Audited("notifications-off"),
    f"PATCH {_MACHINE}": Audited("machine-rename", ("displayName",)),
    f"POST {_MACHINE}/restart-runner": Audited("runner-restart"),
    f"POST {_MACHINE}/spawn": Audited("spawn", _START, ("type", "sessionId", "message")),
    f"POST {_SESSION}/resume": Audited("resume", ("permissionMode",), ("sessionId",)),
    f"POST {_SESSION}/reopen": Audited("reopen", (), ("sessionId",)),
    f"POST {_SESSION}/archive": Audited("archive"),
    "POST /cli/sessions/<session_id>/handoff-local": Audited("hand-off"),
    f"POST {_SESSION}/fork": Audited("fork", (), ("sessionId",)),
    f"DELETE {_SESSION}": Audited("delete"),
    f"POST {_SESSION}/share-links": Audited(
        "share", ("expiresIn", "includesLater", "includesTools", "includesThoughts"), ("id",)
    ),
    f"DELETE {_SESSION}/share-links/<link_id>": Audited("share-revoke"),
    f"POST {_SESSION}/permission-mode": Audited("permission-mode", ("mode",)),
    f"POST {_SESSION}/option": Audited("option", ("id", "value")),
    f"POST {_SESSION}/model": Audited("setting", ("model",)),
    f"POST {_SESSION}/<path>": Audited(
        "setting",
        ("mode", "effort", "modelReasoningEffort", "serviceTier", "collaborationMode"),
    ),
    f"POST {_SESSION}/permissions/<request_id>/approve": Audited(
        "permission-approve", ("mode", "decision", "allowTools", "optionId")
    ),
    f"POST {_SESSION}/permissions/<request_id>/deny": Audited(
        "permission-deny", ("decision", "optionId")
    ),
    f"POST {_SESSION}/git-stage": Audited("git-stage", ("paths", "staged"), _OUTCOME),
    f"POST {_SESSION}/git-discard": Audited("git-discard", ("paths",), _OUTCOME),
    f"POST {_SESSION}/git-commit": Audited("git-commit", (), (*_OUTCOME, "commit")),
    f"POST {_SESSION}/git-push": Audited("git-push", (), (*_OUTCOME, "remote", "branch")),
    f"DELETE {_SESSION}/permission-rules/<rule_id>": Audited("permission-rule-remove"),
}


def subject_of(ids: Mapping[str, str]) -> dict[str, str]:
    """What a request is about, by the parameters of its path."""
    return {SUBJECTS[name]: value for name, value in ids.items() if name in SUBJECTS}


def facts_of(audited: Audited, body: bytes, reply: Any) -> dict[str, Any]:
    """The facts of an entry, from the body of a request and from its reply."""
    try:
        given = msgspec.json.decode(body) if audited.facts else {}
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        given = {}
    facts = {
        name: _listed(given[name])
        for name in audited.facts
        if isinstance(given, dict) and name in given
    }
    if isinstance(reply, dict):
        facts |= {name: reply[name] for name in audited.result if name in reply}
    return facts


def _listed(value: Any) -> Any:
    """A list of words, such as scopes, as one text: `read,chat`."""
    if isinstance(value, list) and all(isinstance(word, str) for word in value):
        return ",".join(value)
    return value


def audited_body(request: Any) -> bytes:
    """What of the request's body the audit needs, read before the request is served: afterwards
    it is closed if the client has hung up.
    """
    key = route_key(request.method.decode("ascii", "replace"), request.route)
    audited = AUDITED.get(key)
    if audited is None or not audited.facts:
        return b""
    request.content.seek(0)
    body: bytes = request.content.read(MAX_BODY_READ)
    request.content.seek(0)
    return body


def record_request(
    audit: AuditLog,
    request: Any,
    body: bytes,
    principal: Principal | None,
    address: str,
    ids: Mapping[str, str],
    response: Response,
) -> None:
    """Record a request that has been answered, if it belongs in the audit: those of the table,
    logins with wrong tokens, and all that the token of the client does not allow. `body` is what
    `audited_body` gave.
    """
    key = route_key(request.method.decode("ascii", "replace"), request.route)
    audited, status, reply = AUDITED.get(key), response.status, response.body
    is_login = audited is not None and audited.action == LOGIN
    lacks_scope = status == 403 and isinstance(reply, dict) and "scope" in reply
    facts: dict[str, Any] = {}
    if status == 429 or (status == 401 and not (is_login or key.partition(" ")[2][:5] == "/cli/")):
        return  # too often to be of use, or a web token that has ended
    if status == 401:
        action = LOGIN
    elif lacks_scope:
        action, facts = "scope-missing", {"route": key, "scope": reply["scope"]}
    elif audited is not None:
        action, facts = audited.action, facts_of(audited, body, reply)
    else:
        return
    if is_login or action == BIND:
        principal = getattr(request, "identified", None)
    request_id = getattr(request, "request_id", None) or ""
    audit.record(
        action,
        status,
        actor_of(principal),
        address,
        subject_of(ids),
        facts,
        request_id,
        address_group(address),
        failed=isinstance(reply, dict) and reply.get("type") == "error",  # of a spawn
    )
