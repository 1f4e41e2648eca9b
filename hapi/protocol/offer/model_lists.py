"""The lists of models and efforts that hubs ask sessions and machines for, in npm's shapes.

All are made from a `metadata.offer`: that of a session, or the last one of an agent on a machine
(runner.md 5.1, page-extras.md 6). Pure.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from hapi.protocol.agents import Agent

Json = dict[str, Any]

NO_MODELS = "the agent offers no choice of model"
NO_EFFORTS = "the agent offers no choice of reasoning effort"


def model_list(agent: Agent, offer: Mapping[str, Any] | None) -> Json:
    """The answer to the calls `list…Models…`."""
    models = entries(offer, "models")
    if offer is None or not models:
        return {"success": False, "error": NO_MODELS}
    current = offer.get("model")
    if agent.model_entries == "codex":
        return {"success": True, "models": _codex_models(models, current, offer)}
    efforts = _options(offer) if agent.model_entries == "efforts" else []
    listed = [
        {
            **_model_id(agent, entry["id"]),
            "name": entry["name"],
            **({"reasoningEfforts": efforts} if efforts else {}),
        }
        for entry in models
    ]
    named = {"currentModelId": current} if isinstance(current, str) else {}
    return {"success": True, "availableModels": listed, **named}


def effort_list(offer: Mapping[str, Any] | None) -> Json:
    """The answer to `list…ReasoningEffortOptions`."""
    found = offer or {}
    current = found.get("model")
    of_model = {"currentModelId": current, "targetModelId": current}
    listed = entries(offer, "efforts")
    if not listed:
        return {"success": False, "error": NO_EFFORTS, **of_model}
    options = [{"value": entry["id"], "name": entry["name"]} for entry in listed]
    return {"success": True, "options": options, "currentValue": found.get("effort"), **of_model}


def _codex_models(
    models: Sequence[Mapping[str, str]], current: Any, offer: Mapping[str, Any]
) -> list[Json]:
    """`supportedReasoningEfforts` are those of the current model: the agent tells no others."""
    efforts = [entry["id"] for entry in entries(offer, "efforts")]
    tiers = [tier["id"] for tier in entries(offer, "serviceTiers") if tier["id"] != "standard"]
    listed = []
    for position, entry in enumerate(models):
        is_current = entry["id"] == current if isinstance(current, str) else position == 0
        found: Json = {
            "id": entry["id"],
            "displayName": entry["name"],
            "isDefault": is_current,
            "supportedReasoningEfforts": efforts,
        }
        if isinstance(effort := offer.get("effort"), str):
            found["defaultReasoningEffort"] = effort
        if tiers:
            found["serviceTiers"] = tiers
        listed.append(found)
    return listed


def _model_id(agent: Agent, model: str) -> Json:
    provider, slash, rest = model.partition("/")
    if agent.model_entries == "provider" and slash:
        return {"provider": provider, "modelId": rest}
    return {"modelId": model}


def _options(offer: Mapping[str, Any]) -> list[Json]:
    current = offer.get("effort")
    return [
        {"value": entry["id"], "name": entry["name"], "isDefault": entry["id"] == current}
        for entry in entries(offer, "efforts")
    ]


def entries(offer: Mapping[str, Any] | None, key: str) -> list[dict[str, str]]:
    """The entries of the list `key`: id, name and description as texts; none if it is absent."""
    listed = offer.get(key) if isinstance(offer, Mapping) else None
    found = []
    for entry in listed if isinstance(listed, list) else ():
        if isinstance(entry, Mapping) and isinstance(entry.get("id"), str):
            texts = {
                name: text if isinstance(text := entry.get(name), str) else ""
                for name in ("name", "description")
            }
            found.append({"id": entry["id"], **texts, "name": texts["name"] or entry["id"]})
    return found
