"""A session follows its hub: to another address, and with another token.

A session that a runner started follows that runner, which writes hub and token into the session's
folder (`hub.json`) for as long as the session is not connected there. Without a runner, and for
sessions that a person started, a change of `settings.json` counts.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from attrs import define, field
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from hapi.attempts import AttemptFolder
from hapi.deferreds import run_in_background
from hapi.home import Home
from hapi.net.client.hub_client import HubClient
from hapi.net.common.errors import HubRefused, HubUnreachable
from hapi.settings import (
    ConfigurationError,
    HubAccess,
    InvalidSettings,
    hub_access,
    read_settings,
)

POLL_INTERVAL = 2.0  # seconds between two looks at the files
RETRY_INTERVAL = 10.0  # seconds until a hub that refused this session is asked again
UNKNOWN_SESSION_STATUSES = (403, 404)  # of a hub that has no such session for this user
# What a runner sets for its sessions, so that it says nothing about what their user wants.
RUNNER_VARIABLES = ("HAPI_API_URL", "CLI_API_TOKEN", "HAPI_EXTRA_HEADERS_JSON")


@define(eq=False, repr=False)
class AccessSources:
    """Where hub and token of a session come from. `is_runner_alive` tells whether a runner serves
    the home."""

    _home: Home
    _environ: Mapping[str, str] = field(repr=False)
    _folder: AttemptFolder | None
    _by_runner: bool
    _is_runner_alive: Callable[[], bool]
    _from_settings: HubAccess | None = field(init=False, repr=False)
    _settings_stamp: Any = field(init=False)
    _is_changed: bool = False

    def __attrs_post_init__(self) -> None:
        if self._by_runner:
            self._environ = {
                name: value for name, value in self._environ.items() if name not in RUNNER_VARIABLES
            }
        self._settings_stamp = _stamp(self._home.settings)
        self._from_settings = self._read_settings()

    def current(self) -> HubAccess | None:
        """The hub to go to, None if nobody names one: the present one is kept."""
        if self._folder is not None and (told := self._folder.hub) is not None:
            return HubAccess(told.url, told.token, told.headers)
        stamp = _stamp(self._home.settings)
        if stamp != self._settings_stamp:
            self._settings_stamp = stamp
            access = self._read_settings()
            if access is not None and access != self._from_settings:
                self._from_settings, self._is_changed = access, True
        if not self._is_changed or (self._by_runner and self._is_runner_alive()):
            return None
        return self._from_settings

    def _read_settings(self) -> HubAccess | None:
        try:
            return hub_access(self._environ, read_settings(self._home))
        except (ConfigurationError, InvalidSettings):
            return None


def _stamp(path: Any) -> object:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


class Link(Protocol):
    @property
    def access(self) -> HubAccess: ...
    def use(self, access: HubAccess) -> None: ...


class Client(Protocol):
    async def session(self, session_id: str) -> dict[str, Any]: ...


@define(eq=False, repr=False)
class HubFollower:
    """Moves the link of a session to the hub that `_find` names, if that hub has the session."""

    _clock: IReactorTime
    _link: Link
    _session_id: str
    _find: Callable[[], HubAccess | None]
    _on_use: Callable[[HubAccess], object] = field(default=lambda access: None)
    _make_client: Callable[[Any, HubAccess], Client] = HubClient
    _polls: LoopingCall = field(init=False)
    _is_asking: bool = False
    _refused: HubAccess | None = field(default=None, repr=False)
    _refused_at: float = 0.0
    _reason: str = ""
    log = Logger()

    def __attrs_post_init__(self) -> None:
        self._polls = LoopingCall(self._poll)
        self._polls.clock = self._clock

    def start(self) -> None:
        self._polls.start(POLL_INTERVAL, now=False)

    def stop(self) -> None:
        if self._polls.running:
            self._polls.stop()

    def _poll(self) -> None:
        try:
            access = self._find()
        except Exception:
            self.log.failure("Hub and token of this session could not be read again")
            return
        if access is None or access == self._link.access or self._is_asking:
            return
        if access == self._refused and self._clock.seconds() - self._refused_at < RETRY_INTERVAL:
            return
        self._is_asking = True
        run_in_background(self._try(access), self.log, "The session could not follow its hub")

    async def _try(self, access: HubAccess) -> None:
        try:
            self._on_use(access)  # from here on the token may show up in a message
            await self._make_client(self._clock, access).session(self._session_id)
        except HubUnreachable as error:
            self._stay(access, f"{error}")
        except HubRefused as error:
            self._refused, self._refused_at = access, self._clock.seconds()
            self._stay(
                access,
                "it does not have this session"
                if error.status in UNKNOWN_SESSION_STATUSES
                else f"{error}",
            )
        else:
            if self._polls.running:
                self.log.info("This session goes over to {url}", url=access.url)
                self._refused, self._reason = None, ""
                self._link.use(access)
        finally:
            self._is_asking = False

    def _stay(self, access: HubAccess, reason: str) -> None:
        if reason != self._reason:
            self._reason = reason
            self.log.warn(
                "This session stays at {url} and does not go over to {other} yet: {reason}",
                url=self._link.access.url,
                other=access.url,
                reason=reason,
            )
