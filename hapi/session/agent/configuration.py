"""The settings of a running session: permission mode, model, effort, if its agent offers them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any

from attrs import define, field
from twisted.logger import Logger

from hapi.protocol.acp.offers import Offer, Select
from hapi.protocol.agents import EFFORT_SETTINGS, PERMISSION_MODES, Agent
from hapi.protocol.offer.metadata import offer_metadata
from hapi.protocol.offer.modes import (
    OfferedMode,
    agent_mode_name,
    agent_mode_value,
    current_mode,
    find_mode,
    offered_modes,
    speed_value,
)
from hapi.session.agent.driver import (
    AgentError,
    AgentExited,
    AgentSessionError,
    AgentTimeout,
    Driver,
)

SET_PROBLEMS = (AgentSessionError, AgentError, AgentExited, AgentTimeout)
DEFAULT_MODEL = "default"  # the choice of agents that have one for "not chosen"
SETTING_PARTS = {"collaborationMode": "collaboration", "serviceTier": "speed"}  # of an offer


class SettingRefused(Exception):
    """The session cannot have this setting; the text is for the person who asked for it."""


@define(eq=False, repr=False)
class SessionSettings:
    """The settings that `session-alive` reports and `set-session-config` changes.

    `driver` waits until there is an agent to set them on. `mode` is the permission mode by its name
    for people; None until the agent has said in which one it works. `changed` is called when a
    setting changes, `offer_changed` also when the agent offers something else.
    """

    _agent: Agent
    _driver: Callable[[], Awaitable[Driver]]
    mode: str | None = None
    model: str | None = None
    effort: str | None = None
    changed: Callable[[], object] = field(default=lambda: None)
    offer_changed: Callable[[], object] = field(default=lambda: None)
    others: dict[str, str] = field(factory=dict)  # wire name of a further setting -> its value
    # Whether changes wait for the next start of the agent: its own program has the terminal.
    is_deferred: Callable[[], bool] = field(default=lambda: False)
    _mode_is_chosen: bool = field(init=False)  # by a person, not by the agent itself
    _offer: Offer = field(factory=Offer)
    _initial: Offer = field(factory=Offer)
    _modes: tuple[OfferedMode, ...] = ()
    _current: Driver | None = None  # the driver whose offer this is
    log = Logger()

    def __attrs_post_init__(self) -> None:
        self._mode_is_chosen = self.mode is not None

    @property
    def granting_mode(self) -> str | None:
        """The permission mode by which HAPI answers requests: one that a person has chosen."""
        return self.mode if self._mode_is_chosen else None

    @property
    def current_model(self) -> str | None:
        """The model in use, as far as the agent tells."""
        select = self._offer.model
        return select.current if select is not None and select.current else self.model

    def keepalive_fields(self) -> dict[str, Any]:
        """The settings in `session-alive`; what the agent lacks is not reported."""
        found: dict[str, Any] = {}
        # npm's hub knows these modes only; `metadata.offer` tells the others.
        if (self._modes or self.is_deferred()) and self.mode in PERMISSION_MODES:
            found["permissionMode"] = self.mode
        if self._agent.has_model:
            found["model"] = self.model
        for name in self._effort_settings():
            found[name] = self.effort
        return found | self.others

    def _effort_settings(self) -> tuple[str, ...]:
        """The wire names of the effort: those of the table, else the common one, if offered."""
        return self._agent.effort_settings or (("effort",) if self._offer.effort else ())

    def metadata(self, commands: Iterable[tuple[str, str | None]]) -> dict[str, Any]:
        """`metadata.offer`, with the agent's slash commands: name and description."""
        return offer_metadata(self._agent, self._offer, self._modes, self.mode, commands)

    async def configure(self, params: Any) -> dict[str, Any]:
        """The `set-session-config` RPC: `{"applied": …}` or `{"error": …}`.

        What was applied before an error stays. `option`, of our own, is `{"id", "value"}` of a
        config option that has no name on the wire.
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
                self.offer_changed()
        return {"applied": applied}

    async def set_mode(self, mode: str) -> str:
        """Raises SettingRefused."""
        applied: str = await self._apply("permissionMode", mode)
        self.changed()
        self.offer_changed()
        return applied

    async def _apply(self, name: str, value: Any) -> Any:
        if name == "option" and not self.is_deferred():
            return await self._set_option(value)
        if value is not None and not isinstance(value, str):
            raise SettingRefused(f"{name} must be a string")
        if self.is_deferred():
            return self._defer(name, value)
        driver = await self._driver()
        if name == "permissionMode":
            await self._set_mode(driver, value)
        elif name == "model" and self._agent.has_model:
            self.model = await self._select(driver, "model", value)
        elif name in EFFORT_SETTINGS and (
            name in self._agent.effort_settings or driver.select("effort") is not None
        ):
            self.effort = await self._select(driver, "effort", value)
        elif self._has_other(driver, name):
            await self._set_other(driver, name, value)
        elif name in (*SETTING_PARTS, *EFFORT_SETTINGS, "model", "copilotAgentMode"):
            raise SettingRefused(f"{self._agent.label} has no setting {name}")
        else:
            raise SettingRefused(f"there is no setting named {name}")
        return value

    def _defer(self, name: str, value: Any) -> Any:
        """Keep a setting for `begin`, which tells if the agent does not take it."""
        if name == "permissionMode":
            known = [each.id for each in self._modes] or self._agent.permission_modes
            if value not in known:
                raise SettingRefused(
                    f"{self._agent.label} has no permission mode {value} (it has: "
                    f"{', '.join(known)})"
                )
            self.mode, self._mode_is_chosen = value, True
        elif name == "model" and self._agent.has_model:
            self.model = value
        elif name in self._agent.effort_settings:
            self.effort = value
        else:
            raise SettingRefused(
                f"{name} cannot be changed while {self._agent.label}'s own program has the terminal"
            )
        return value

    def follow(self, mode: str) -> None:
        """The agent's own program works in that permission mode now: the person chose it there."""
        before = self.mode or "default"
        if mode != before and mode in self._agent.permission_modes:
            self.mode, self._mode_is_chosen = mode, True

    def _has_other(self, driver: Driver, name: str) -> bool:
        if name == "copilotAgentMode":
            return name in self._agent.settings and driver.select("mode") is not None
        return name in SETTING_PARTS and driver.select(SETTING_PARTS[name]) is not None

    async def _set_mode(self, driver: Driver, wanted: str | None) -> None:
        """Set the permission mode that is called `wanted` or means the same."""
        self._read_offer(driver)
        mode = find_mode(wanted, self._modes) if wanted is not None else None
        if mode is None:
            if not self._modes:
                raise SettingRefused(f"{self._agent.label} has no permission modes to choose from")
            offered = ", ".join(each.id for each in self._modes)
            raise SettingRefused(
                f"{self._agent.label} has no permission mode {wanted} (it has: {offered})"
            )
        if mode.agent_mode is not None:
            await self._set(driver, "mode", mode.agent_mode)
        self.mode, self._mode_is_chosen = mode.id, True

    async def _set_other(self, driver: Driver, name: str, value: str | None) -> None:
        """Set `serviceTier`, `collaborationMode` or `copilotAgentMode`; None is what the agent
        began with."""
        part = SETTING_PARTS.get(name, "mode")
        select, initial = driver.select(part), driver.initial.select(part)
        if select is None or not self._has_other(driver, name):
            raise SettingRefused(f"{self._agent.label} has no setting {name}")
        wanted: str | None
        if value is None:
            wanted = initial.current if initial is not None else None
        elif name == "serviceTier":
            wanted = speed_value(value)
        elif name == "copilotAgentMode":
            wanted = agent_mode_value(select, value)
        else:
            wanted = value
        if wanted is None or (select.choices and not select.has(wanted)):
            offered = ", ".join(
                (agent_mode_name(choice.value) or "") if part == "mode" else choice.value
                for choice in select.choices
            )
            raise SettingRefused(
                f"{self._agent.label} offers no {name} {value} (it offers {offered})"
            )
        await self._set(driver, part, wanted)
        if value is None:
            self.others.pop(name, None)
        else:
            self.others[name] = value

    async def _set_option(self, params: Any) -> Any:
        found = params if isinstance(params, Mapping) else {}
        name, value = found.get("id"), found.get("value")
        driver = await self._driver()
        select = driver.offer.select(name) if isinstance(name, str) else None
        if select is None or select not in driver.offer.others or not isinstance(name, str):
            raise SettingRefused(f"{self._agent.label} has no option {name}")
        if not isinstance(value, str) or not select.has(value):
            offered = ", ".join(choice.value for choice in select.choices)
            raise SettingRefused(f"{select.name} cannot be {value} (it can be {offered})")
        await self._set(driver, name, value)
        return {"id": name, "value": value}

    async def _select(self, driver: Driver, part: str, value: str | None) -> str | None:
        """Set `part` to `value`; None means what the agent began with."""
        initial: Select | None = driver.initial.select(part)
        wanted = value if value is not None else initial.current if initial is not None else None
        if wanted is not None:
            await self._set(driver, part, wanted)
        return value

    async def _set(self, driver: Driver, part: str, value: str) -> None:
        try:
            await driver.set(part, value)
        except SET_PROBLEMS as problem:
            raise SettingRefused(str(problem)) from problem
        finally:
            self._read_offer(driver)

    async def begin(self, driver: Driver) -> list[str]:
        """Apply these settings to a new or resumed agent session; returns the failures as
        sentences.

        A permission mode that the agent lacks gives way to the one in which it asks.
        """
        problems = []
        self._read_offer(driver)
        if self.mode is not None:
            is_chosen = self._mode_is_chosen
            try:
                await self._set_mode(driver, self.mode)
                self._mode_is_chosen = is_chosen
            except SettingRefused as problem:
                problems.append(f"{problem}. It asks for each permission")
                self.mode, self._mode_is_chosen = None, False
                await self._begin_asking(driver)
        self._follow_agent(driver)
        for part, value in (("model", self.model), ("effort", self.effort)):
            if value is None:
                continue
            try:
                await self._set(driver, part, value)
            except SettingRefused as problem:
                problems.append(f"{part} {value}: {problem}")
                setattr(self, part, None)
        for name, value in list(self.others.items()):
            try:
                await self._set_other(driver, name, value)
            except SettingRefused as problem:
                problems.append(f"{name} {value}: {problem}")
                del self.others[name]
        self._follow_agent(driver)
        return problems

    async def keep_default_model(self, driver: Driver) -> None:
        """Have a resumed agent go on with its default model, unless a person has chosen one.

        Claude's takes the one of its last answer for chosen.
        """
        select = driver.select("model")
        if self.model is not None or select is None:
            return
        if select.current == DEFAULT_MODEL or not select.has(DEFAULT_MODEL):
            return
        try:
            await self._set(driver, "model", DEFAULT_MODEL)
        except SettingRefused as problem:
            self.log.warn("The agent keeps its model: {reason}", reason=str(problem))
            return
        driver.initial = driver.initial.with_current("model", DEFAULT_MODEL)
        self._follow_agent(driver)

    async def _begin_asking(self, driver: Driver) -> None:
        if find_mode("default", self._modes) is not None:
            try:
                await self._set_mode(driver, "default")
            except SettingRefused as problem:
                self.log.warn("The agent keeps its mode: {reason}", reason=str(problem))

    def _read_offer(self, driver: Driver) -> None:
        self._current = driver
        self._offer, self._initial = driver.offer, driver.initial
        self._modes = offered_modes(self._agent, self._offer, self._initial)

    def _follow_agent(self, driver: Driver) -> bool:
        """Take over what the agent reports; whether its permission mode is another one now."""
        self._read_offer(driver)
        select = self._offer.mode if "copilotAgentMode" not in self._agent.settings else None
        mode = current_mode(self._modes, self.mode, select.current if select is not None else None)
        if mode == self.mode:
            return False
        self.mode, self._mode_is_chosen = mode, False
        return True

    def agent_changed(self) -> bool:
        """The agent changed its mode, or what it offers, by itself; whether its permission mode is
        another one now."""
        if self._current is None:
            return False
        was_other = self._follow_agent(self._current)
        select = self._offer.mode
        if "copilotAgentMode" in self._agent.settings and select is not None:
            mode = agent_mode_name(select.current)
            if mode is not None and (mode != "interactive" or "copilotAgentMode" in self.others):
                self.others["copilotAgentMode"] = mode
        self.changed()
        self.offer_changed()
        return was_other
