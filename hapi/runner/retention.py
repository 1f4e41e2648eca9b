"""Which ended attempts are kept: the newest, and none for ever."""

from __future__ import annotations

from collections.abc import Sequence

from attrs import frozen

from hapi.runner.child import Child


@frozen
class Retention:
    """`count` ended attempts at most, none older than `age` seconds. Live ones are never given up."""

    count: int = 200
    age: float = 14 * 86400.0

    def outdated(self, children: Sequence[Child], now: float) -> list[Child]:
        """The ended attempts to remove, the oldest first. `now`: epoch seconds.

        `children` are in the order in which they were begun, as a runner knows them: their names say times, and a clock may
        have been set back.
        """
        ended = [child for child in children if not child.is_live]
        surplus = max(len(ended) - self.count, 0)
        return [child for place, child in enumerate(ended) if place < surplus or now - child.started_at > self.age]
