"""Permission modes of coding agents. Pure data."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from attrs import frozen


@frozen
class PermissionMode:
    """A permission mode: its label on the page and who enforces it.

    `enforced_by`: "session" if HAPI answers the agent's requests and the agent keeps its initial
    mode, "agent" if the agent has a mode of its own. `grants`: what HAPI approves without asking a
    person; None: it always asks.
    """

    name: str
    label: str
    enforced_by: Literal["session", "agent"]
    grants: Literal["reading", "each request", "everything"] | None = None


PERMISSION_MODES: Mapping[str, PermissionMode] = {
    mode.name: mode
    for mode in (
        PermissionMode("default", "Ask before acting", "session"),
        PermissionMode("acceptEdits", "Accept edits", "agent"),
        PermissionMode("auto", "Automatic", "agent"),
        PermissionMode("bypassPermissions", "Allow everything", "agent", "everything"),
        PermissionMode("plan", "Plan only", "agent"),
        PermissionMode("ask", "Answer questions only", "agent"),
        PermissionMode("debug", "Debug", "agent"),
        PermissionMode("autoReview", "Review automatically", "agent"),
        PermissionMode("read-only", "Read freely, ask to write", "session", "reading"),
        PermissionMode("safe-yolo", "Allow each request", "session", "each request"),
        PermissionMode("yolo", "Allow everything", "session", "everything"),
        PermissionMode("request-review", "Ask before acting", "session"),
        PermissionMode("always-proceed", "Allow everything", "session", "everything"),
    )
}
UNRESTRICTED_MODES = ("yolo", "bypassPermissions", "always-proceed")  # what `--yolo` selects

SANDBOX_MODES = ("default", "read-only", "safe-yolo", "yolo")
GENERIC_MODES = ("default", "yolo")  # what HAPI can enforce for every agent
