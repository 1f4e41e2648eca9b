"""The delay before the next attempt to reach the hub."""

from __future__ import annotations

from random import Random

from attrs import define, field

# A hub that restarts is away for seconds, and nobody can reach a session meanwhile; one that has
# been away for a minute may take as long again. So each delay is a share of the outage, and after
# 2 and 15 s of it a client is back within 0.3 and 1.2 s. (npm's client waits 1 s · 2^k, ±50 %.)
MIN_DELAY, MAX_DELAY = 0.3, 5.0  # seconds
OUTAGE_SHARE = 0.08
JITTER = 0.5  # a fraction; it keeps a thousand machines from coming back at the same time
REFUSED_INITIAL_DELAY, REFUSED_MAX_DELAY = 10.0, 300.0  # seconds, after a refusal by the hub


@define
class Backoff:
    """Counts the failures since the hub last accepted us; a TCP connection alone resets nothing."""

    _random: Random = field(factory=Random)
    failures: int = 0
    refusals: int = 0
    _waited: float = 0.0  # seconds of all delays since the hub last accepted us

    def delay(self, _attempt: int = 0) -> float:
        """Seconds until the next attempt. The signature is that of ClientService's retry policy."""
        if self.refusals:
            longest = REFUSED_INITIAL_DELAY * 2.0 ** min(self.refusals - 1, 20)
            longest = min(longest, REFUSED_MAX_DELAY)
        else:
            longest = min(max(MIN_DELAY, OUTAGE_SHARE * self._waited), MAX_DELAY)
        seconds = longest * self._random.uniform(1 - JITTER, 1)
        self._waited += seconds
        return seconds

    def failed(self) -> None:
        """An attempt or a connection ended."""
        self.failures += 1

    def refused(self) -> None:
        """The hub refused us: a wrong token, or it removed us from the namespace."""
        self.refusals += 1

    def connected(self) -> None:
        """The hub answered CONNECT."""
        self.failures = self.refusals = 0
        self._waited = 0.0
