"""Coroutines on the reactor: in the background with a log, and steps that have a deadline."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

from twisted.internet.defer import CancelledError, Deferred, TimeoutError, maybeDeferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

T = TypeVar("T")


def run_in_background(
    coroutine: Coroutine[Deferred[Any], Any, T], log: Logger, message: str, **facts: Any
) -> Deferred[T | None]:
    """Start `coroutine`.

    A failure is logged as `message` with `facts`; the Deferred then fires with None.
    """

    def failed(reason: Failure) -> None:
        log.failure(message, reason, **facts)

    running: Deferred[T | None] = Deferred.fromCoroutine(coroutine)
    return running.addErrback(failed)


async def run_step(
    clock: IReactorTime,
    seconds: float,
    step: str,
    action: Callable[[], Awaitable[object] | object],
    log: Logger,
) -> None:
    """Run one step of a shutdown for at most `seconds`. Never raises: a step that fails or is late
    is logged by its name, and the caller goes on with the next one."""
    try:
        await maybeDeferred(action).addTimeout(seconds, clock)
    except (TimeoutError, CancelledError):
        log.warn("{step} did not finish within {seconds} s", step=step, seconds=seconds)
    except Exception:
        log.failure("{step} failed", step=step)
