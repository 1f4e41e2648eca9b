"""What can be set on an agent session: modes, models, efforts, and the calls that set them."""

from __future__ import annotations

from typing import Any

from attrs import frozen

from hapi.protocol.acp.values import mapping, objects, text_or_none


@frozen
class Choice:
    value: str
    name: str
    description: str | None = None


@frozen
class Select:
    """A choice that the agent offers.

    `option` is the id of the config option; None for the older `modes` and `models`.
    """

    option: str | None
    current: str | None
    choices: tuple[Choice, ...]

    def has(self, value: str) -> bool:
        return any(choice.value == value for choice in self.choices)


@frozen
class Offer:
    """What can be set on a session; None where the agent offers no choice."""

    mode: Select | None = None
    model: Select | None = None
    effort: Select | None = None


CATEGORIES = {"mode": "mode", "model": "model", "thought_level": "effort"}


def read_offer(value: Any, before: Offer | None = None) -> Offer:
    """What an answer or a `config_option_update` offers, merged into `before`."""
    before = before or Offer()
    found = mapping(value)
    parts: dict[str, Select | None] = {
        "mode": before.mode,
        "model": before.model,
        "effort": before.effort,
    }
    modes, models = mapping(found.get("modes")), mapping(found.get("models"))
    if modes:
        parts["mode"] = Select(
            None,
            text_or_none(modes.get("currentModeId")),
            _choices(modes.get("availableModes"), "id"),
        )
    if models:
        parts["model"] = Select(
            None,
            text_or_none(models.get("currentModelId")),
            _choices(models.get("availableModels"), "modelId"),
        )
    for option in objects(found.get("configOptions")):
        part = CATEGORIES.get(str(option.get("category") or option.get("id")))
        name = text_or_none(option.get("id"))
        if part and name and option.get("type", "select") == "select":
            parts[part] = Select(
                name,
                text_or_none(option.get("currentValue")),
                _choices(option.get("options"), "value"),
            )
    return Offer(**parts)


def _choices(listed: Any, key: str) -> tuple[Choice, ...]:
    """The choices of a list, flat or grouped."""
    found: list[Choice] = []
    for item in objects(listed):
        if isinstance(item.get("options"), list):
            found += _choices(item["options"], key)
        elif value := text_or_none(item.get(key)):
            found.append(
                Choice(
                    value,
                    text_or_none(item.get("name")) or value,
                    text_or_none(item.get("description")),
                )
            )
    return tuple(found)


def setting_call(
    session_id: str, part: str, select: Select, value: str
) -> tuple[str, dict[str, Any]]:
    """Method and parameters that set `part` (mode, model, effort) to `value`."""
    if select.option is not None:
        return "session/set_config_option", {
            "sessionId": session_id,
            "configId": select.option,
            "value": value,
        }
    if part == "mode":
        return "session/set_mode", {"sessionId": session_id, "modeId": value}
    return "session/set_model", {"sessionId": session_id, "modelId": value}
