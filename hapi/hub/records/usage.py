"""How many tokens the sessions of a namespace have used, by day, agent and model."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime, tzinfo
from typing import Any

from attrs import define

from hapi.hub.domain.errors import InvalidRequest
from hapi.hub.domain.registry import HubRegistry
from hapi.hub.store.rows import TokenUse

DAY = 24 * 3600 * 1000  # ms
RANGES = {"7d": 7 * DAY, "30d": 30 * DAY, "all": None}
DEFAULT_RANGE, DEFAULT_ZONE = "7d", "UTC"


def time_zone(name: str) -> tzinfo:
    """The zone of an IANA name. Raises InvalidRequest."""
    from zoneinfo import ZoneInfo  # 0.3 MB

    try:
        return ZoneInfo(name)
    except (ValueError, KeyError, OSError):
        raise InvalidRequest("Invalid timeZone") from None


def sums(uses: Iterable[TokenUse]) -> dict[str, int]:
    """The tokens of several requests. `totalTokens` are all of them, `uncachedTokens` those that
    were neither read from a cache nor written to one.
    """
    found = dict.fromkeys(("input", "output", "read", "written", "requests"), 0)
    for use in uses:
        found["input"] += use.input
        found["output"] += use.output
        found["read"] += use.cache_read
        found["written"] += use.cache_written
        found["requests"] += use.requests
    uncached = found["input"] + found["output"]
    return {
        "inputTokens": found["input"],
        "outputTokens": found["output"],
        "cacheReadTokens": found["read"],
        "cacheCreationTokens": found["written"],
        "totalTokens": uncached + found["read"] + found["written"],
        "uncachedTokens": uncached,
        "requests": found["requests"],
    }


def grouped(uses: list[TokenUse], key: Callable[[TokenUse], str]) -> list[dict[str, Any]]:
    """The sums by `key`, in the order in which the keys first occur."""
    groups: dict[str, list[TokenUse]] = {}
    for use in uses:
        groups.setdefault(key(use), []).append(use)
    return [{"key": name, **sums(group)} for name, group in groups.items()]


def by_amount(groups: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return sorted(groups, key=lambda group: (-group["totalTokens"], group["key"]))


@define(eq=False, repr=False)
class UsageSummary:
    registry: HubRegistry

    async def summary(self, namespace: str, range_name: str, zone: tzinfo) -> dict[str, Any]:
        """The use since the beginning of a range; an unknown one is that of seven days."""
        now = self.registry.now()
        length = RANGES.get(range_name, RANGES[DEFAULT_RANGE])
        since = 0 if length is None else now - length
        uses, sessions = await self.registry.store.token_use(namespace, since)
        if length is None:
            since = uses[0].at if uses else now

        def day(use: TokenUse) -> str:
            return datetime.fromtimestamp(use.at / 1000, zone).date().isoformat()

        return {
            "range": {"from": since, "to": now},
            "totals": {**sums(uses), "sessions": sessions},
            "daily": grouped(uses, day),
            "byAgent": by_amount(grouped(uses, lambda use: use.agent)),
            "byModel": by_amount(grouped(uses, lambda use: use.model)),
            "updatedAt": now,
        }
