"""Waiting for the runner that another `hapi runner start` is starting at the same time."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from hapi.cli.base.errors import HELD, CommandError
from hapi.cli.runner.background import POLL_INTERVAL, Readiness


async def wait_for_other_start(
    clock: Any,
    refusal: CommandError,
    query: Callable[[], Awaitable[Readiness]],
    is_wanted: Callable[[dict[str, Any]], bool],
    stopped_pid: Callable[[], int | None],
    seconds: float,
) -> int:
    """The pid of the runner that another start was faster with, as soon as that runner answers.

    Raises `refusal` when that runner has other options or does not answer within `seconds`, and
    CommandError when its process is stopped (SIGSTOP).
    """
    from twisted.internet.task import deferLater

    deadline = clock.seconds() + seconds
    while True:
        if (pid := stopped_pid()) is not None:
            raise CommandError(
                f"the runner of this home (pid {pid}) is suspended and does not answer; "
                f"resume it with `kill -CONT {pid}`",
                HELD,
            )
        found = await query()
        if found.answers and is_wanted(found.status):
            return int(found.status["pid"])
        if found.answers or clock.seconds() >= deadline:
            raise refusal
        await deferLater(clock, POLL_INTERVAL)
