"""The ways in to the control API: opened or inherited, guarded, closed again."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable
from typing import Any

from attrs import define, field
from twisted.internet.error import CannotListenError
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.web.resource import IResource

from hapi.runner.config.options import RunnerOptions
from hapi.runner.control.listeners import Listeners
from hapi.runner.control.peer_credentials import PeerLookup
from hapi.runner.control.site import ControlSite, Guarded
from hapi.runner.handoff.descriptors import NONE, InheritedDescriptors

QUIESCE_POLL_INTERVAL = 0.01  # seconds


@define(eq=False, repr=False)
class Endpoints:
    """`_make` makes the API itself; its modules are loaded for the first caller, not before."""

    _reactor: Any
    _make: Callable[[], IResource]
    lookup: PeerLookup = field(factory=PeerLookup)
    token: str = field(factory=lambda: secrets.token_urlsafe(32))
    listeners: Listeners | None = None  # None while they are closed
    site: ControlSite | None = None
    _resource: IResource | None = None
    log = Logger()

    @property
    def port(self) -> int | None:
        return self.listeners.port if self.listeners is not None else None

    def open(self, options: RunnerOptions, inherited: InheritedDescriptors | None) -> None:
        """Listen, on the sockets that another runner handed over if there are any.

        Raises CannotListenError if the port is taken.
        """
        if inherited is not None and inherited.token:
            self.token = inherited.token
        path = options.home.runner_socket
        guarded = Guarded(os.geteuid(), lambda: self.port, self.token, self.resource)
        self.site = site = ControlSite(self._reactor, guarded, self.lookup)
        if inherited is not None:
            unix = inherited.unix if inherited.unix != NONE else None
            self.listeners = Listeners.adopt(self._reactor, path, site, inherited.tcp, unix)
            return
        self.listeners = Listeners.open(self._reactor, options.control_port, path, site)
        try:
            self.listeners.open_unix(site)
        except (OSError, CannotListenError) as error:
            self.log.warn(
                "Cannot open {path}; the control API is available on its TCP port only: {reason}",
                path=str(path),
                reason=str(error),
            )

    def resource(self) -> IResource:
        if self._resource is None:
            self._resource = self._make()
        return self._resource

    async def quiesce(self) -> None:
        """Leave new connections waiting in the kernel, and finish the requests that have begun."""
        if self.listeners is not None:
            self.listeners.pause()
        if self.site is not None:
            self.site.closes_after_reply = True
            while self.site.busy:
                await deferLater(self._reactor, QUIESCE_POLL_INTERVAL)

    def resume(self) -> None:
        """Accept connections again, unless closed."""
        if self.site is not None:
            self.site.closes_after_reply = False
        if self.listeners is not None:
            self.listeners.resume()

    def leave_open(self) -> None:
        """Another runner listens on them by now."""
        if self.listeners is not None:
            self.listeners.leave_open()

    async def close(self) -> None:
        listeners, self.listeners = self.listeners, None
        if listeners is not None:
            await listeners.close()
