"""SIGHUP: read `settings.json` again; another hub, token or headers make a new link. In any case the hub is tried at once."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol

from attrs import define, evolve
from twisted.internet.defer import Deferred
from twisted.logger import Logger

from hapi.runner.config.options import RunnerOptions
from hapi.settings import ConfigurationError, InvalidSettings, hub_access, read_settings


def reread(options: RunnerOptions) -> RunnerOptions:
    """`options` as they would be now. The environment of a process does not change, and it wins over the settings.

    Raises InvalidSettings or ConfigurationError. The machine id stays: another one is another machine, and that takes a restart.
    """
    settings = read_settings(options.home)
    return evolve(options, settings=settings, access=hub_access(options.environ, settings))


class Reloaded(Protocol):
    """What is asked of the runner."""

    @property
    def options(self) -> RunnerOptions: ...
    def try_hub(self) -> None: ...
    def use(self, options: RunnerOptions) -> None:
        """Go on with these: sessions that start from now on get them."""

    def unlink(self) -> Awaitable[None]:
        """Take leave of the hub, in a bounded time."""

    def link_again(self) -> None:
        """Register at the hub of the options, unless we have left meanwhile."""


@define
class SettingsReloader:
    """One after another, however often it is asked for."""

    _runner: Reloaded
    _busy: bool = False
    _again: bool = False
    log = Logger()

    def reload(self) -> None:
        if self._busy:
            self._again = True
            return
        self._busy = True
        Deferred.fromCoroutine(self._work()).addErrback(
            lambda reason: self.log.failure("Reading the settings again failed", reason)
        )

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
    """What is different, without saying what a token is or was."""
    looks: tuple[tuple[str, Callable[[RunnerOptions], object]], ...] = (
        ("hub", lambda options: options.access.url),
        ("access token", lambda options: options.access.token),
        ("headers", lambda options: options.access.headers),
    )
    found = [name for name, look in looks if look(before) != look(now)]
    return f": {', '.join(found)} changed" if found else ""
