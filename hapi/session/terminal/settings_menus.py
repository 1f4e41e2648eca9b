"""The permission mode and the model, changed by a key."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from attrs import define
from twisted.logger import Logger

from hapi.deferreds import run_in_background
from hapi.session.session import Session
from hapi.session.terminal.dialogs import Dialogs
from hapi.session.terminal.menus import Item, Menu
from hapi.session.terminal.text import printable


@define(eq=False, repr=False)
class SettingsKeys:
    """`tell` prints a line; `changed` is called when something was set."""

    _session: Session
    _dialogs: Dialogs
    _tell: Callable[[str], object]
    _changed: Callable[[], object]
    _is_setting: bool = False
    _wanted_mode: str | None = None  # that is being set, or is set next
    log = Logger()

    def next_mode(self) -> None:
        """The next of the modes in which the agent asks; those that ask nothing are in the list
        alone."""
        modes = [each["id"] for each in self._offered("modes") if not each.get("unrestricted")]
        current = self._wanted_mode or self._session.settings.mode
        if len(modes) < 2 and (not modes or modes[0] == current):
            self._tell(f"{self._session.agent.label} has no other permission mode.")
            return
        at = modes.index(current) + 1 if current in modes else 0
        self._set_mode(modes[at % len(modes)])

    def _set_mode(self, mode: str) -> None:
        self._wanted_mode = mode
        if not self._is_setting:
            self._is_setting = True
            run_in_background(self._set_wanted_mode(), self.log, "The mode could not be set")

    async def _set_wanted_mode(self) -> None:
        """Set the mode that is wanted last, however fast the keys were pressed."""
        try:
            while (mode := self._wanted_mode) is not None and mode != self._session.settings.mode:
                if not await self._configure({"permissionMode": mode}):
                    break
        finally:
            self._is_setting, self._wanted_mode = False, None

    async def _configure(self, wanted: Mapping[str, Any]) -> bool:
        answer = await self._session.settings.configure(wanted)
        if "error" in answer:
            self._tell(f"{answer['error']}.")
        self._changed()
        return "error" not in answer

    def choose_mode(self) -> None:
        self._choose("modes", "mode", "Permission mode", self._set_mode)

    def choose_model(self) -> None:
        def set_model(model: str) -> None:
            setting = self._configure({"model": model})
            run_in_background(setting, self.log, "The model could not be set")

        self._choose("models", "model", "Model", set_model)

    def _choose(self, key: str, current: str, title: str, use: Callable[[str], object]) -> None:
        if self._dialogs.menu is not None:
            return
        offered = self._offered(key)
        if not offered:
            self._tell(f"{self._session.agent.label} offers no choice of {current}.")
            return
        items = [
            Item(
                printable(str(each.get("name") or each["id"])),
                printable(str(each.get("description") or "")),
            )
            for each in offered
        ]
        ids = [each["id"] for each in offered]
        menu = Menu(
            key,
            title,
            items,
            lambda numbers, _: use(ids[numbers[0]]),
            may_leave=True,
        )
        now = self._session.settings.metadata(()).get(current)
        menu.current = ids.index(now) if now in ids else 0
        self._dialogs.show(menu)
        self._dialogs.focus()  # the person has asked for it

    def _offered(self, key: str) -> list[dict[str, Any]]:
        found = self._session.settings.metadata(()).get(key)
        return found if isinstance(found, list) else []
