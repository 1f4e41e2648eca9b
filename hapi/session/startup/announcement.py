"""Retries of the early registration: at a hub that is away, and at a runner that restarts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from attrs import define
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger

from hapi.net.common.errors import HubRefused, HubUnreachable
from hapi.session.startup.early_registration import Json, RegistrationOutcome

INITIAL_DELAY, MAX_DELAY, ANNOUNCE_TIMEOUT = 0.25, 15.0, 600.0  # seconds


@define
class Announcer:
    """Announces a session to the runner.

    `announce(port, body)` fires with the HTTP status of the runner, None for no answer.
    """

    _clock: IReactorTime
    _port: Callable[[], int | None]
    _announce: Callable[[int, Json], Deferred[int | None]]
    log = Logger()

    async def run(self, body: Json) -> bool:
        """Announce until the runner accepts or refuses, for ten minutes at most. Whether it
        accepted."""
        deadline, delay = self._clock.seconds() + ANNOUNCE_TIMEOUT, INITIAL_DELAY
        while self._clock.seconds() < deadline:
            await deferLater(self._clock, delay)
            delay = min(delay * 2, MAX_DELAY)
            port = self._port()
            status = None if port is None else await self._announce(port, body)
            if status == 200:
                return True
            if status is not None and 400 <= status < 500:
                self.log.warn("The runner refused the announcement: HTTP {status}", status=status)
                return False
        self.log.warn(
            "No runner accepted the announcement within {seconds:.0f} s", seconds=ANNOUNCE_TIMEOUT
        )
        return False


async def wait_for_row(
    clock: IReactorTime,
    outcome: RegistrationOutcome,
    again: Callable[[], Deferred[RegistrationOutcome]],
    give_up: bool,
) -> RegistrationOutcome:
    """The first outcome with a row: this one, or that of a later attempt.

    `give_up`: do not wait for a hub that is away. Raises HubRefused, and HubUnreachable when giving
    up.
    """
    delay = INITIAL_DELAY
    while outcome.row is None:
        problem: Any = outcome.problem
        if isinstance(problem, HubRefused) or (give_up and isinstance(problem, HubUnreachable)):
            raise problem
        Announcer.log.warn(
            "{problem}; retrying in {seconds:g} s", problem=str(problem), seconds=delay
        )
        await deferLater(clock, delay)
        delay = min(delay * 2, MAX_DELAY)
        outcome = await again()
    return outcome
