"""The delay before the next attempt to reach the hub."""

from __future__ import annotations

from random import Random

from attrs import define, field

# transport.md 7: 1000 ms · 2^k, ±50 % random, capped at 5000 ms, anew after each success.
INITIAL_DELAY, MAX_DELAY, JITTER = 1.0, 5.0, 0.5  # seconds; a fraction
REFUSED_INITIAL_DELAY, REFUSED_MAX_DELAY = 10.0, 300.0  # seconds, after a refusal by the hub


@define
class Backoff:
    """Counts the failures since the hub last accepted us; a TCP connection alone resets nothing."""

    _random: Random = field(factory=Random)
    failures: int = 0
    refusals: int = 0

    def delay(self, _attempt: int = 0) -> float:
        """Seconds until the next attempt. The signature is that of ClientService's retry policy."""
        if self.refusals:
            return self._with_jitter(REFUSED_INITIAL_DELAY, self.refusals, REFUSED_MAX_DELAY)
        return self._with_jitter(INITIAL_DELAY, self.failures, MAX_DELAY)

    def failed(self) -> None:
        """An attempt or a connection ended."""
        self.failures += 1

    def refused(self) -> None:
        """The hub refused us: a wrong token, or it removed us from the namespace."""
        self.refusals += 1

    def connected(self) -> None:
        """The hub answered CONNECT."""
        self.failures = self.refusals = 0

    def _with_jitter(self, first: float, times: int, longest: float) -> float:
        seconds = (
            first * 2.0 ** min(max(times - 1, 0), 20) * self._random.uniform(1 - JITTER, 1 + JITTER)
        )
        # npm's client waits exactly the maximum from then on. The spread keeps a thousand machines
        # from coming back at the same time.
        return seconds if seconds < longest else longest * self._random.uniform(1 - JITTER, 1)
