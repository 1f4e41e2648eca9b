"""When another start was faster: the runner that holds the home, if it is the one that was asked for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hapi.cli.base.daemon import GLANCE, Readiness
from hapi.cli.base.errors import HELD, Stop


async def joined(
    clock: Any,
    refusal: Stop,
    look: Callable[[], Any],
    is_wanted: Callable[[dict[str, Any]], bool],
    stopped: Callable[[], int | None],
    seconds: float,
) -> int:
    """The pid of the runner that was started just before ours, as soon as it answers.

    Raises `refusal` when that is another one or does not answer within `seconds`, and says so when it is stopped.
    """
    from twisted.internet.task import deferLater

    deadline = clock.seconds() + seconds
    while True:
        if (pid := stopped()) is not None:
            raise Stop(
                f"the runner of this home (pid {pid}) is stopped and answers nobody: `kill -CONT {pid}` lets it go on",
                HELD,
            )
        found: Readiness = await look()
        if found.answers and is_wanted(found.status):
            return int(found.status["pid"])
        if found.answers or clock.seconds() >= deadline:
            raise refusal
        await deferLater(clock, GLANCE)
