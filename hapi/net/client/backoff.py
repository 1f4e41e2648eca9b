"""How long to wait before the next attempt to reach the hub."""

from __future__ import annotations

from random import Random

from attrs import define, field

# transport.md 7: 1000 ms · 2^k, ±50 % random, capped at 5000 ms, anew after each success.
INITIAL_DELAY, MAX_DELAY, JITTER = 1.0, 5.0, 0.5  # seconds; a fraction
REFUSED_INITIAL_DELAY, REFUSED_MAX_DELAY = 10.0, 300.0  # seconds, after the hub refused us by word


@define
class Backoff:
    """Counts failures since the hub last took us in; a TCP connection alone clears nothing."""

    _random: Random = field(factory=Random)
    failures: int = 0
    refusals: int = 0

    def delay(self, _attempt: int = 0) -> float:
        """Seconds until the next attempt. The signature is that of ClientService's retry policy."""
        if self.refusals:
            return self._with_jitter(REFUSED_INITIAL_DELAY, self.refusals, REFUSED_MAX_DELAY)
        return self._with_jitter(INITIAL_DELAY, self.failures, MAX_DELAY)

    def failed(self) -> None:
        """The attempt, or the connection, ended."""
        self.failures += 1

    def refused(self) -> None:
        """The hub is there and does not want us: a wrong token, or we were put out."""
        self.refusals += 1

    def connected(self) -> None:
        """The hub answered CONNECT."""
        self.failures = self.refusals = 0

    def _with_jitter(self, first: float, times: int, longest: float) -> float:
        seconds = (
            first * 2.0 ** min(max(times - 1, 0), 20) * self._random.uniform(1 - JITTER, 1 + JITTER)
        )
        # The real client waits exactly the longest from then on; a thousand machines should not come back together.
        return seconds if seconds < longest else longest * self._random.uniform(1 - JITTER, 1)
