"""The routes that npm's page uses beside a conversation: both hubs give answers of one shape."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.peers import NPM, OURS, Refused, User

pytestmark = pytest.mark.peer("hapi")
UNKNOWN = "11111111-1111-4111-8111-111111111111"
PICTURE = {"filename": "a.png", "content": "iVBORw0KGgp4eA==", "mimeType": "image/png"}
SUBSCRIPTION = {
    "endpoint": "https://push.example.com/one",
    "keys": {
        "p256dh": "BNcRdreALRFXTkOOUHK1EtK2wtaz5Ry4YfYCA_0QTpQt"
        "UbVlUls0VJXg7A8u-Ts1XbjhazAkj7I99e8QcYP7DkM",
        "auth": "tBHItJI5svbpez7KI4CCXg",
    },
}
ROUTES: list[tuple[str, str, Any]] = [
    ("GET", "/api/hub-settings", None),
    ("GET", "/api/usage/summary", None),
    ("GET", "/api/usage/summary?range=30d&timeZone=Europe/Berlin", None),
    ("GET", "/api/usage/summary?timeZone=Nope/Zone", None),
    ("GET", "/api/storage/sqlite", None),
    ("GET", "/api/push/vapid-public-key", None),
    ("POST", "/api/push/subscribe", {}),
    ("POST", "/api/push/subscribe", SUBSCRIPTION),
    ("DELETE", "/api/push/subscribe", {"endpoint": SUBSCRIPTION["endpoint"]}),
    ("GET", "/api/sessions/SESSION/scratchlist", None),
    ("GET", "/api/sessions/SESSION/scratchlist/limits", None),
    ("POST", "/api/sessions/SESSION/scratchlist", {"text": "note one"}),
    ("PUT", "/api/sessions/SESSION/scratchlist/nope", {"text": "x"}),
    ("PUT", f"/api/sessions/SESSION/scratchlist/{UNKNOWN}", {"text": "x"}),
    ("POST", "/api/sessions/SESSION/scratchlist/upload", PICTURE),
    ("GET", "/api/sessions/SESSION/scratchlist", None),
    ("DELETE", f"/api/sessions/SESSION/scratchlist/{UNKNOWN}", None),
    ("POST", "/api/sessions/SESSION/pin", {"pinned": True}),
    ("POST", "/api/sessions/SESSION/pin", {"pinned": "yes"}),
    ("POST", "/api/sessions/SESSION/fork", {}),
    ("POST", "/api/sessions/SESSION/clear", {}),
    ("GET", "/api/sessions/SESSION/export?force=true", None),
    ("GET", f"/api/sessions/{UNKNOWN}/export", None),
    ("GET", f"/api/sessions/{UNKNOWN}/scratchlist", None),
]


def shape(value: Any) -> Any:
    """The names and types of a value. Whole numbers and fractions are of one type."""
    match value:
        case dict():
            return {key: shape(each) for key, each in sorted(value.items())}
        case list():
            return [shape(value[0])] if value else []
        case bool() | None:
            return type(value).__name__
        case int() | float():
            return "number"
        case _:
            return "string"


def missing(theirs: Any, ours: Any, at: str = "") -> list[str]:
    """Where our answer lacks what theirs has, or has it of another type.

    Ours may tell more, and may answer in JSON where theirs is a text.
    """
    if theirs == "string":  # a text that no program reads
        return []
    if isinstance(theirs, dict) and isinstance(ours, dict):
        return [
            problem
            for key, each in theirs.items()
            for problem in (
                missing(each, ours[key], f"{at}.{key}")
                if key in ours
                else [f"{at}.{key} is missing"]
            )
        ]
    if isinstance(theirs, list) and isinstance(ours, list):
        return missing(theirs[0], ours[0], f"{at}[]") if theirs and ours else []
    return [] if theirs == ours or "NoneType" in (theirs, ours) else [f"{at}: {theirs} / {ours}"]


def answer(user: User, method: str, path: str, body: Any) -> tuple[int, Any]:
    try:
        return 200, shape(user.call(method, path, body))
    except Refused as refusal:
        return refusal.status, shape(refusal.body)


def a_session(user: User) -> str:
    """A row as a session makes it, without a session behind it."""
    known = User(user.url, user.token, user.token)  # the CLI's routes take the token itself
    made = known.post(
        "/cli/sessions",
        {
            "tag": "routes",
            "metadata": {"path": "/home/dev/shop", "host": "devbox", "flavor": "opencode"},
            "agentState": None,
        },
    )
    return str(made["session"]["id"])


def test_the_answers_of_both_hubs_have_one_shape(cast):
    users = {make: cast.hub(make)[1] for make in (NPM, OURS)}
    sessions = {make: a_session(user) for make, user in users.items()}
    problems = []
    for method, path, body in ROUTES:
        (status, theirs), (own_status, ours) = (
            answer(users[make], method, path.replace("SESSION", sessions[make]), body)
            for make in (NPM, OURS)
        )
        if status != own_status:
            problems.append(f"{method} {path}: npm {status} {theirs}, ours {own_status} {ours}")
        problems += [f"{method} {path}: {problem}" for problem in missing(theirs, ours)]
    assert not problems, "\n".join(problems)
