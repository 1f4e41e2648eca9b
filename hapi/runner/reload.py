"""Reload on SIGHUP: read `settings.json` again, and retry the hub.

Another hub, token or headers make a new link. A runner that cannot register reads them by itself.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol

from attrs import define, evolve
from twisted.logger import Logger

from hapi.deferreds import run_in_background
from hapi.runner.config.options import RunnerOptions
from hapi.settings import ConfigurationError, InvalidSettings, hub_access, read_settings


def reread(options: RunnerOptions) -> RunnerOptions:
    """`options` with the settings read again. The environment stays, and overrides the settings.

    Another machine id takes effect at the next start. Raises InvalidSettings, ConfigurationError.
    """
    settings = read_settings(options.home)
    return evolve(options, settings=settings, access=hub_access(options.environ, settings))


class ReloadableRunner(Protocol):
    """The runner, as far as a reload needs it."""

    @property
    def options(self) -> RunnerOptions: ...
    def try_hub(self) -> None: ...
    def use(self, options: RunnerOptions) -> None:
        """Use these options, for sessions from the next start on."""

    def unlink(self) -> Awaitable[None]:
        """Leave the hub, in a bounded time."""

    def link_again(self) -> None:
        """Register at the hub of the options, unless this runner has left."""


@define
class SettingsReloader:
    """Reloads one after another, however often `reload` is called."""

    _runner: ReloadableRunner
    _busy: bool = False
    _again: bool = False
    log = Logger()

    def reload_if_moved(self) -> None:
        """Reload if the settings name another hub, token or headers than at the last reading.

        So a runner finds a hub that has written its address only after the runner was started.
        """
        options = self._runner.options
        try:
            before = hub_access(options.environ, options.settings)
            now = hub_access(options.environ, read_settings(options.home))
        except (InvalidSettings, ConfigurationError) as error:
            self.log.debug("The settings stay as they were: {reason}", reason=str(error))
            return
        if now != before:
            self.reload()

    def reload(self) -> None:
        if self._busy:
            self._again = True
            return
        self._busy = True
        run_in_background(self._work(), self.log, "Reading the settings again failed")

    async def _work(self) -> None:
        try:
            while True:
                self._again = False
                await self._once()
                if not self._again:
                    return
        finally:
            self._busy = False

    async def _once(self) -> None:
        before = self._runner.options
        try:
            options = reread(before)
        except (InvalidSettings, ConfigurationError) as error:
            self.log.error("The settings stay as they were: {reason}", reason=str(error))
            self._runner.try_hub()
            return
        self.log.info("The settings were read again{changes}", changes=_changes(before, options))
        self._runner.use(options)
        if options.access == before.access:
            self._runner.try_hub()
            return
        await self._runner.unlink()
        self._runner.link_again()


def _changes(before: RunnerOptions, now: RunnerOptions) -> str:
    """What has changed, without revealing tokens."""
    getters: tuple[tuple[str, Callable[[RunnerOptions], object]], ...] = (
        ("hub", lambda options: options.access.url),
        ("access token", lambda options: options.access.token),
        ("headers", lambda options: options.access.headers),
    )
    found = [name for name, get in getters if get(before) != get(now)]
    return f": {', '.join(found)} changed" if found else ""
