"""Limits on how often: wrong access tokens by address, and expensive requests by namespace."""

from __future__ import annotations

from collections import OrderedDict
from enum import Enum
from ipaddress import IPv6Address, ip_network
from math import ceil

from attrs import define, field, frozen
from twisted.logger import Logger

from hapi.hub.domain.errors import RequestRateLimited
from hapi.protocol.authority import parse_address

MAX_KEYS = 10_000  # addresses or namespaces that one limit remembers

IPV6_PREFIX = 64  # bits; one customer's network, RFC 6177


@frozen
class Rate:
    """`burst` at once, and then `per_second`."""

    burst: int
    per_second: float


WARNING_INTERVAL = 60.0  # seconds between two warnings about wrong access tokens

WRONG_TOKENS = Rate(10, 10 / 60)  # from one address
WRONG_TOKENS_IN_ALL = Rate(200, 200 / 60)  # from all addresses together


@define
class TokenBucket:
    """How much of a Rate has been used. Times in seconds of one clock."""

    _used: float = 0.0
    _at: float = 0.0

    def retry_after(self, rate: Rate, now: float) -> float:
        """Seconds until one more is allowed, 0 for now."""
        over = self._current(rate, now) + 1 - rate.burst
        return over / rate.per_second if over > 0 else 0.0

    def add(self, rate: Rate, now: float) -> None:
        self._used, self._at = self._current(rate, now) + 1, now

    def _current(self, rate: Rate, now: float) -> float:
        return max(0.0, self._used - (now - self._at) * rate.per_second)


@define(eq=False, repr=False)
class TokenBuckets:
    """A bucket for each key; only the keys used last are remembered."""

    _rate: Rate
    _buckets: OrderedDict[str, TokenBucket] = field(factory=OrderedDict)

    def __len__(self) -> int:
        return len(self._buckets)

    def retry_after(self, key: str, now: float) -> float:
        bucket = self._buckets.get(key)
        return 0.0 if bucket is None else bucket.retry_after(self._rate, now)

    def add(self, key: str, now: float) -> None:
        self._buckets.setdefault(key, TokenBucket()).add(self._rate, now)
        self._buckets.move_to_end(key)
        while len(self._buckets) > MAX_KEYS:
            self._buckets.popitem(last=False)


def address_group(address: str) -> str:
    """The addresses that count as one: an IPv4 address (also if it is mapped into IPv6), or the
    /64 network of an IPv6 address. A text that is no address counts as itself.
    """
    found = parse_address(address)
    if isinstance(found, IPv6Address):
        return str(ip_network((int(found), IPV6_PREFIX), strict=False))
    return address if found is None else str(found)


@define(eq=False, repr=False)
class LoginRateLimit:
    """Counts wrong access tokens by address and in all. Right tokens are never asked about it, so
    that no number of wrong ones keeps anybody out.
    """

    _by_address: TokenBuckets = field(factory=lambda: TokenBuckets(WRONG_TOKENS))
    _in_all: TokenBucket = field(factory=TokenBucket)
    _next_warning_at: float = 0.0

    log = Logger()

    def record_failure(self, address: str, now: float) -> int:
        """Count a wrong token. The result is 0, or, if there were too many, the seconds until
        another one is counted.
        """
        group = address_group(address)
        wait = max(
            self._by_address.retry_after(group, now),
            self._in_all.retry_after(WRONG_TOKENS_IN_ALL, now),
        )
        if wait > 0:
            return ceil(wait)
        self._by_address.add(group, now)
        self._in_all.add(WRONG_TOKENS_IN_ALL, now)
        if self._by_address.retry_after(group, now) > 0 and now >= self._next_warning_at:
            self._next_warning_at = now + WARNING_INTERVAL
            self.log.warn("{address} sends too many wrong access tokens", address=address)
        return 0


class Cost(Enum):
    """Kinds of requests that are expensive for the hub, a runner or a session, with what one
    namespace may ask for.

    A person with several pages stays far below these rates; a program in a loop does not.
    """

    LOGIN = Rate(5_000, 100.0)
    RPC = Rate(600, 20.0)  # files, diffs, models and so on: a session or runner answers
    SEARCH = Rate(300, 10.0)  # a session runs a search over its whole directory
    UPLOAD = Rate(1_000, 20.0)  # besides the quota of bytes
    SPAWN = Rate(300, 5.0)  # starts a process


@define(eq=False, repr=False)
class RequestRateLimits:
    """Counts expensive requests by kind and namespace."""

    _by_cost: dict[Cost, TokenBuckets] = field(
        factory=lambda: {cost: TokenBuckets(cost.value) for cost in Cost}
    )

    def admit(self, cost: Cost, namespace: str, now: float) -> None:
        """Count a request. Raises RequestRateLimited."""
        buckets = self._by_cost[cost]
        wait = buckets.retry_after(namespace, now)
        if wait > 0:
            raise RequestRateLimited(ceil(wait))
        buckets.add(namespace, now)
