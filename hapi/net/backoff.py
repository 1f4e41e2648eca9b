"""How long to wait before the next attempt to reach the hub."""

from __future__ import annotations

from random import Random

from attrs import define, field

# transport.md 7: 1000 ms · 2^k, ±50 % random, capped at 5000 ms, anew after each success.
FIRST, LONGEST, SPREAD = 1.0, 5.0, 0.5  # seconds; a fraction
REFUSED_FIRST, REFUSED_LONGEST = 10.0, 300.0  # seconds, after the hub refused us by word


@define
class Backoff:
    """Counts failures since the hub last took us in; a TCP connection alone clears nothing."""

    _random: Random = field(factory=Random)
    failures: int = 0
    refusals: int = 0

    def delay(self, _attempt: int = 0) -> float:
        """Seconds until the next attempt. The signature is that of ClientService's retry policy."""
        if self.refusals:
            return min(self._spread(REFUSED_FIRST * 2.0 ** min(self.refusals - 1, 10)), REFUSED_LONGEST)
        return min(self._spread(FIRST * 2.0 ** min(max(self.failures - 1, 0), 10)), LONGEST)

    def failed(self) -> None:
        """The attempt, or the connection, ended."""
        self.failures += 1

    def refused(self) -> None:
        """The hub is there and does not want us: a wrong token, or we were put out."""
        self.refusals += 1

    def greeted(self) -> None:
        """The hub answered CONNECT."""
        self.failures = self.refusals = 0

    def _spread(self, seconds: float) -> float:
        return seconds * (1 + self._random.uniform(-SPREAD, SPREAD))
