"""Which ended attempts are kept: the newest ones, and none for ever."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from attrs import evolve, frozen

from hapi.runner.attempts.child import Child


@frozen
class Retention:
    """At most `count` ended attempts are kept, none older than `age`. Live ones are always kept."""

    count: int = 200
    age: float = 14 * 86400.0  # seconds

    @classmethod
    def read(cls, settings: Mapping[str, Any]) -> Retention:
        """`keepAttempts` of settings.json (`count` and `days`); an invalid value counts as
        missing."""
        given = settings.get("keepAttempts")
        found = given if isinstance(given, Mapping) else {}
        count, days = found.get("count"), found.get("days")
        kept = cls()
        if isinstance(count, int) and not isinstance(count, bool) and count >= 0:
            kept = evolve(kept, count=count)
        if isinstance(days, int | float) and not isinstance(days, bool) and days > 0:
            kept = evolve(kept, age=days * 86400.0)
        return kept

    def outdated(self, children: Sequence[Child], now: float) -> list[Child]:
        """The ended attempts to remove, the oldest first. `now`: epoch seconds.

        `children` are in the order in which they began; their names hold times as well, but the
        clock may have been set back.
        """
        ended = [child for child in children if not child.is_live]
        surplus = max(len(ended) - self.count, 0)
        return [
            child
            for position, child in enumerate(ended)
            if position < surplus or now - child.spec.started_at > self.age
        ]
