"""A runner that has nothing but figures, for tests of what `/metrics` names."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from attrs import define, field
from twisted.internet.task import Clock

from hapi.runner.storage.counters import Counters


@define(eq=False)
class FiguresRunner:
    clock: Clock = field(factory=Clock)
    counters: Counters = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.counters = Counters(self.clock)

    def status(self) -> dict[str, Any]:
        """With what makes figures that a runner has at times only."""
        failure = {"reason": "SyntaxError", "at": 5000, "output": "/logs/1-trial.out"}
        return {"current": False, "handoff": {"failures": 1, "lastFailure": failure}}

    def list(self) -> list[Any]:
        return []

    def after(self, seconds: float, call: Callable[[], object]) -> None:
        self.clock.callLater(seconds, call)
