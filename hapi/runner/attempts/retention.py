"""Which ended attempts are kept: the newest, and none for ever."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from attrs import frozen

from hapi.runner.attempts.child import Child


@frozen
class Retention:
    """`count` ended attempts at most, none older than `age` seconds. Live ones are never given up."""

    count: int = 200
    age: float = 14 * 86400.0  # seconds

    @classmethod
    def read(cls, settings: Mapping[str, Any]) -> Retention:
        """`keepAttempts` of settings.json: `count` and `days`. What makes no sense there counts as missing."""
        given = settings.get("keepAttempts")
        found = given if isinstance(given, Mapping) else {}
        count, days = found.get("count"), found.get("days")
        kept = cls()
        return cls(
            count
            if isinstance(count, int) and not isinstance(count, bool) and count >= 0
            else kept.count,
            days * 86400.0
            if isinstance(days, int | float) and not isinstance(days, bool) and days > 0
            else kept.age,
        )

    def outdated(self, children: Sequence[Child], now: float) -> list[Child]:
        """The ended attempts to remove, the oldest first. `now`: epoch seconds.

        `children` are in the order in which they were begun, as a runner knows them: their names say times, and a clock may
        have been set back.
        """
        ended = [child for child in children if not child.is_live]
        surplus = max(len(ended) - self.count, 0)
        return [
            child
            for place, child in enumerate(ended)
            if place < surplus or now - child.started_at > self.age
        ]
