"""What can be set on an agent session: modes, models, efforts, and the calls that set them."""

from __future__ import annotations

from typing import Any

from attrs import evolve, frozen

from hapi.protocol.acp.values import mapping, objects, text_or_none

ON, OFF = "on", "off"  # the choices of an option that is on or off


@frozen
class Choice:
    value: str
    name: str
    description: str | None = None


@frozen
class Select:
    """A choice that the agent offers.

    `option` is the id of the config option; None for the older `modes` and `models`. `is_boolean`:
    on the wire its values are true and false.
    """

    option: str | None
    current: str | None
    choices: tuple[Choice, ...]
    name: str = ""
    is_boolean: bool = False

    def has(self, value: str) -> bool:
        return any(choice.value == value for choice in self.choices)


@frozen
class Offer:
    """What can be set on a session; None where the agent offers no choice.

    `collaboration` is how the agent works with its person (Codex: default, plan), `speed` a faster
    and dearer service (on, off), `others` every other config option.
    """

    mode: Select | None = None
    model: Select | None = None
    effort: Select | None = None
    collaboration: Select | None = None
    speed: Select | None = None
    others: tuple[Select, ...] = ()

    def select(self, part: str) -> Select | None:
        """The choice of `part`: the name of a field, or the id of one of the other options."""
        if part in PARTS:
            found: Select | None = getattr(self, part)
            return found
        return next((select for select in self.others if select.option == part), None)

    def with_current(self, part: str, value: str) -> Offer:
        """The offer after `part` was set to `value`."""
        select = self.select(part)
        if select is None:
            return self
        changed = evolve(select, current=value)
        if part in PARTS:
            parts: dict[str, Any] = {part: changed}
            return evolve(self, **parts)
        others = (changed if other is select else other for other in self.others)
        return evolve(self, others=tuple(others))


PARTS = ("mode", "model", "effort", "collaboration", "speed")
# The category of a config option, else its id, with "_" for "-" -> the part of the offer. ACP names
# the first three (Session Config Options, "Option categories"); the others are those of codex-acp.
_PARTS_BY_CATEGORY = {
    "mode": "mode",
    "model": "model",
    "thought_level": "effort",
    "reasoning_effort": "effort",
    "collaboration_mode": "collaboration",
    "fast": "speed",
    "fast_mode": "speed",
}


def read_offer(value: Any, before: Offer | None = None) -> Offer:
    """What an answer or a `config_option_update` offers, merged into `before`.

    A list of config options is complete: an option that it lacks is no longer offered.
    """
    before = before or Offer()
    found = mapping(value)
    parts: dict[str, Any] = {part: before.select(part) for part in PARTS}
    parts["others"] = before.others
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
    if options := objects(found.get("configOptions")):
        for part in PARTS:
            if parts[part] is not None and parts[part].option is not None:
                parts[part] = None
        parts |= _read_options([_read_option(option) for option in options])
    return Offer(**parts)


def _read_options(options: list[tuple[str | None, Select | None]]) -> dict[str, Any]:
    parts: dict[str, Any] = {}
    others = []
    for part, select in options:
        if select is not None and part is not None and part not in parts:
            parts[part] = select
        elif select is not None:
            others.append(select)
    return parts | {"others": tuple(others)}


def _read_option(option: Any) -> tuple[str | None, Select | None]:
    """The part that a config option is, if it is one, and its choice; None if it cannot be read."""
    option_id, kind = text_or_none(option.get("id")), option.get("type", "select")
    if option_id is None or kind not in ("select", "boolean"):
        return None, None
    kinds = (text_or_none(option.get("category")), option_id)
    names = (name.replace("-", "_").lower() for name in kinds if name)
    part = next((_PARTS_BY_CATEGORY[name] for name in names if name in _PARTS_BY_CATEGORY), None)
    name = text_or_none(option.get("name")) or option_id
    current = option.get("currentValue")
    if kind == "boolean":
        switch = (Choice(OFF, "Off"), Choice(ON, "On"))
        return part, Select(option_id, ON if current is True else OFF, switch, name, True)
    choices = _choices(option.get("options"), "value")
    return part, Select(option_id, text_or_none(current), choices, name)


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
    """Method and parameters that set `part` to `value`."""
    if select.option is not None:
        named = {"sessionId": session_id, "configId": select.option}
        if select.is_boolean:
            return "session/set_config_option", {
                **named,
                "type": "boolean",
                "value": value == ON,
            }
        return "session/set_config_option", {**named, "value": value}
    if part == "mode":
        return "session/set_mode", {"sessionId": session_id, "modeId": value}
    return "session/set_model", {"sessionId": session_id, "modelId": value}
