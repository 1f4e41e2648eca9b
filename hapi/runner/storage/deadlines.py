"""Steps of leaving, each with a time of its own: late or failing it is logged, and the next one comes."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from twisted.internet.defer import CancelledError, Deferred, TimeoutError
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

log = Logger()


async def within(
    clock: IReactorTime, seconds: float, step: str, leave: Callable[[], Coroutine[Any, Any, None]]
) -> None:
    """Do `leave`, for `seconds` at the most. Never raises."""
    try:
        await Deferred.fromCoroutine(leave()).addTimeout(seconds, clock)
    except (TimeoutError, CancelledError):
        log.warn(
            "{step} did not finish within {seconds} s", step=step.capitalize(), seconds=seconds
        )
    except Exception:
        log.failure("{step} failed", step=step.capitalize())
