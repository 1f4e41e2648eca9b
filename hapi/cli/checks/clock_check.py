"""Compare this machine's clock with the hub's, and with its own monotonic clock."""

from __future__ import annotations

import time
from email.utils import parsedate_to_datetime
from typing import Any

from hapi.cli.checks.launch_check import TrialResult

HUB_TIMEOUT = 10.0  # seconds
MAX_CLOCK_SKEW = 30.0  # seconds between the two clocks
MAX_CLOCK_JUMP = 2.0  # seconds by which the wall clock may leave the monotonic one meanwhile


async def fetch_hub_time(reactor: Any, url: str) -> tuple[float, float] | None:
    """The hub's Date header and our clock at that time (epoch seconds); None if it sends none."""
    from treq.client import HTTPClient
    from twisted.internet.defer import Deferred
    from twisted.internet.protocol import Protocol
    from twisted.web.client import Agent

    class Discard(Protocol):
        """The body is not needed and may be long."""

        def connectionMade(self) -> None:
            self.transport.loseConnection()  # type: ignore[union-attr]

    async def fetch() -> tuple[float, float]:
        client = HTTPClient(Agent(reactor, connectTimeout=HUB_TIMEOUT))
        response = await client.get(f"{url}/health", unbuffered=True, allow_redirects=False)
        now = time.time()
        date = (response.headers.getRawHeaders("date") or [""])[0]
        response.deliverBody(Discard())
        return parsedate_to_datetime(date).timestamp(), now

    try:
        return await Deferred.fromCoroutine(fetch()).addTimeout(HUB_TIMEOUT, reactor)
    except Exception:  # the check of the hub reports what is wrong with it
        return None


def check_clock(dates: tuple[float, float] | None, wall: float, monotonic: float) -> TrialResult:
    """`wall` and `monotonic`: seconds that passed on each of our clocks during the checks."""
    if abs(wall - monotonic) > MAX_CLOCK_JUMP:
        jump = wall - monotonic
        return TrialResult(False, f"the clock was set by {jump:+.1f} s during the checks")
    if dates is None:
        return TrialResult(True, "runs evenly (not compared with the hub's clock)")
    skew = dates[1] - dates[0]  # the header has whole seconds
    if abs(skew) > MAX_CLOCK_SKEW:
        direction = "ahead of" if skew > 0 else "behind"
        return TrialResult(
            False,
            f"{abs(skew):.0f} s {direction} the hub's clock; displayed times will be wrong",
        )
    return TrialResult(True, f"runs evenly, within {max(abs(skew), 1):.0f} s of the hub's clock")
