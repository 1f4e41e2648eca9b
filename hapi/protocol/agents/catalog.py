"""Agents as a page shows them, and as a runner lists them for a hub."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hapi.protocol.agents.agent import Agent
from hapi.protocol.agents.form import MANAGED_PERMISSION_FIELD, PERMISSION_FIELD, FormField
from hapi.protocol.agents.lookup import agent_named
from hapi.protocol.agents.modes import PERMISSION_MODES
from hapi.protocol.agents.table import AGENTS


def agent_form(agent: Agent) -> dict[str, Any]:
    """The entry of `agent` in `runnerState.capabilities.agentConfigs`."""
    fields = agent.form or (
        PERMISSION_FIELD if agent.permission_modes else MANAGED_PERMISSION_FIELD,
    )
    return {"flavor": agent.name, "fields": [_form_field(each) for each in fields]}


def _form_field(each: FormField) -> dict[str, str]:
    choices = (
        {"availability": "managed", "unavailableReason": "Managed by agent"}
        if each.source is None
        else {"optionSource": each.source, "availability": "both"}
    )
    return {"id": each.id, "section": each.section, "kind": each.kind} | choices


def agent_catalog(agents: Sequence[Agent] = tuple(AGENTS.values())) -> dict[str, Any]:
    """What a page has to know of agents and permission modes (`GET /api/agents`).

    `generic` describes an agent that is not listed; its `name` and `label` are empty.
    """
    modes = [
        {
            "name": mode.name,
            "label": mode.label,
            "unrestricted": mode.grants in ("each request", "everything"),
        }
        for mode in PERMISSION_MODES.values()
    ]
    return {
        "agents": [_catalog_entry(agent) for agent in agents],
        "generic": _catalog_entry(agent_named("")),
        "permissionModes": modes,
    }


def _catalog_entry(agent: Agent) -> dict[str, Any]:
    return {
        "name": agent.name,
        "label": agent.label,
        "permissionModes": list(agent.permission_modes),
        "hasModel": agent.has_model,
        "models": list(agent.models),
        "settings": list(agent.settings),
        "approvalStyle": agent.approval_style,
        "steerable": agent.is_steerable,
    }
