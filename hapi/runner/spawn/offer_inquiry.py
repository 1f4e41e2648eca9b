"""Asking an installed agent what it offers, before a session of it has run on this machine.

The session program `hapi.session.offer_inquiry` does it: it starts the agent, opens a session
without a prompt, and remembers the offer (see `hapi.remembered_offers`).
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

from attrs import define, field
from twisted.internet.defer import DeferredLock
from twisted.logger import Logger

from hapi.home import Home
from hapi.process.command import run_command

COMMAND = (sys.executable, "-P", "-m", "hapi.session.offer_inquiry")
TIMEOUT = 27.0  # seconds; the program itself gives up earlier
RETRY_AFTER = 300.0  # seconds until an agent that did not answer is asked again
DIRECTORY = "offers"  # of the home: an agent that works in it finds no project to read


@define(eq=False, repr=False)
class OfferInquiry:
    """Asks one agent at a time. What an agent answered is in the file of its offer."""

    _reactor: Any
    _home: Home
    _environ: Mapping[str, str] = field(repr=False)
    _command: tuple[str, ...] = COMMAND
    _lock: DeferredLock = field(factory=DeferredLock)
    _failures: dict[str, tuple[float, str]] = field(factory=dict)  # by agent: when, and why
    log = Logger()

    async def ask(self, agent: str) -> str | None:
        """Why the agent did not say what it offers; None if it did."""
        await self._lock.acquire()
        try:
            at, reason = self._failures.get(agent, (float("-inf"), ""))
            if self._reactor.seconds() - at < RETRY_AFTER:
                return reason
            return await self._ask(agent)
        finally:
            self._lock.release()

    async def _ask(self, agent: str) -> str | None:
        environ = {**self._environ, "HAPI_HOME": str(self._home.path)}
        result = await run_command(
            self._reactor,
            [*self._command, agent],
            environ,
            str(self._home.directory(DIRECTORY)),
            TIMEOUT,
        )
        if result.exit_code == 0:
            self._failures.pop(agent, None)
            return None
        reason = result.reason().rpartition("\n")[2] or f"{agent} did not say what it offers"
        self._failures[agent] = self._reactor.seconds(), reason
        self.log.warn("{reason}", reason=reason)
        return reason
