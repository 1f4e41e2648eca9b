"""The settings of a running session: permission mode, model, effort, if its agent offers them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from attrs import define, field
from twisted.logger import Logger

from hapi.protocol.acp.offers import Offer, Select
from hapi.protocol.agents import EFFORT_SETTINGS, PERMISSION_MODES, Agent
from hapi.session.agent.driver import (
    AgentError,
    AgentExited,
    AgentSessionError,
    AgentTimeout,
    Driver,
)

OTHER_SETTINGS = ("serviceTier", "collaborationMode", "copilotAgentMode")


class SettingRefused(Exception):
    """The session cannot have this setting; the text is for the person who asked for it."""


def agent_mode(mode: str, select: Select | None, initial: Select | None) -> str | None:
    """The agent's own mode that `mode` means, None if it keeps its own. Raises SettingRefused."""
    if select is not None:
        for choice in select.choices:
            if choice.value.lower() == mode.lower() or choice.value.endswith(
                f"#{mode}"
            ):  # Copilot's are URLs
                return choice.value
    known = PERMISSION_MODES.get(mode)
    if known is None or known.enforced_by != "session":
        offered = (
            ", ".join(choice.value for choice in select.choices) if select is not None else "none"
        )
        raise SettingRefused(f"the agent offers no mode {mode} (it offers {offered})")
    return initial.current if initial is not None else None


@define(eq=False)
class SessionSettings:
    """The settings that `session-alive` reports and `set-session-config` changes.

    `driver` waits until there is an agent to set them on.
    """

    _agent: Agent
    _driver: Callable[[], Awaitable[Driver]]
    mode: str | None = None
    model: str | None = None
    effort: str | None = None
    changed: Callable[[], object] = field(default=lambda: None)
    log = Logger()

    def keepalive_fields(self) -> dict[str, Any]:
        """The settings in `session-alive`; an agent without permission modes or models reports
        none."""
        found: dict[str, Any] = {}
        if self._agent.permission_modes:
            found["permissionMode"] = self.mode
        if self._agent.has_model:
            found["model"] = self.model
        for name in self._agent.effort_settings:
            found[name] = self.effort
        return found

    async def configure(self, params: Any) -> dict[str, Any]:
        """The `set-session-config` RPC: `{"applied": …}` or `{"error": …}`.

        What was applied before an error stays.
        """
        wanted = params if isinstance(params, Mapping) else {}
        applied: dict[str, Any] = {}
        try:
            for name, value in wanted.items():
                applied[name] = await self._apply(name, value)
        except SettingRefused as problem:
            return {"error": str(problem)}
        finally:
            if applied:
                self.changed()
        return {"applied": applied}

    async def set_mode(self, mode: str) -> str:
        """Raises NotApplied."""
        applied: str = await self._apply("permissionMode", mode)
        self.changed()
        return applied

    async def _apply(self, name: str, value: Any) -> Any:
        if value is not None and not isinstance(value, str):
            raise SettingRefused(f"{name} must be a string")
        if name == "permissionMode":
            if value not in self._agent.permission_modes:
                raise SettingRefused(f"{self._agent.label} has no permission mode {value}")
            driver = await self._driver()
            await self._set(
                driver, "mode", agent_mode(value, driver.select("mode"), driver.initial.mode)
            )
            self.mode = value
        elif name == "model" and self._agent.has_model:
            self.model = await self._select("model", value)
        elif name in self._agent.effort_settings:
            self.effort = await self._select("effort", value)
        elif name in (*OTHER_SETTINGS, *EFFORT_SETTINGS, "model"):
            raise SettingRefused(f"{self._agent.label} has no setting {name}")
        else:
            raise SettingRefused(f"there is no setting named {name}")
        return value

    async def _select(self, part: str, value: str | None) -> str | None:
        """Set `part` to `value`; None means what the agent began with."""
        driver = await self._driver()
        initial: Select | None = getattr(driver.initial, part)
        await self._set(
            driver,
            part,
            value if value is not None else initial.current if initial is not None else None,
        )
        return value

    async def _set(self, driver: Driver, part: str, value: str | None) -> None:
        if value is None or (driver.select(part) is None and part == "mode"):
            return
        try:
            await driver.set(part, value)
        except (AgentSessionError, AgentError, AgentExited, AgentTimeout) as problem:
            raise SettingRefused(str(problem)) from problem

    async def begin(self, driver: Driver) -> list[str]:
        """Apply these settings to a new or resumed agent session; returns the failures as
        sentences."""
        problems = []
        for part, value in (("mode", self.mode), ("model", self.model), ("effort", self.effort)):
            if value is None:
                continue
            try:
                wanted = (
                    agent_mode(value, driver.select("mode"), driver.initial.mode)
                    if part == "mode"
                    else value
                )
                await self._set(driver, part, wanted)
            except SettingRefused as problem:
                problems.append(f"{part} {value}: {problem}")
                setattr(self, part, self._agent.permission_modes[0] if part == "mode" else None)
        return problems

    def mode_changed_by_agent(self, mode: str) -> bool:
        """The agent changed its mode by itself; whether that changes ours."""
        if mode == self.mode or mode not in self._agent.permission_modes:
            return False
        self.mode = mode
        self.changed()
        return True


def model_list(offer: Offer) -> dict[str, Any]:
    """The answer to the `list…Models` calls of a session."""
    select = offer.model
    if select is None:
        return {"success": False, "error": "the agent offers no choice of model"}
    models = [{"modelId": choice.value, "name": choice.name} for choice in select.choices]
    return {"success": True, "availableModels": models, "currentModelId": select.current}
