"""Fields of the form for a new session (runnerState.capabilities.agentConfigs)."""

from __future__ import annotations

from attrs import frozen


@frozen
class FormField:
    """One field of the page's form for a new session.

    `source`: where its choices come from; None: the agent manages it.
    """

    id: str
    section: str
    kind: str
    source: str | None = None


def model_field(source: str, kind: str = "select") -> FormField:
    return FormField("model", "model", kind, source)


def effort_field(source: str) -> FormField:
    return FormField("effort", "effort", "select", source)


PERMISSION_FIELD = FormField("permission", "permission", "select", "static")
MANAGED_PERMISSION_FIELD = FormField("permission", "permission", "status")
SERVICE_TIER_FIELD = FormField("serviceTier", "settings", "select", "model")
COLLABORATION_FIELD = FormField("collaborationMode", "settings", "select", "static")
