"""Versioned updates: what the hub's answer to a write means, and when to retry."""

from __future__ import annotations

from collections.abc import Mapping
from random import Random
from typing import Any

from attrs import frozen

QUICK_RETRIES = 5
INITIAL_MAX_DELAY, MAX_DELAY, RAMP_LENGTH = (
    0.265,
    1.0,
    50,
)  # seconds; runner.md 4.3: uniform in 0…U, U grows over 50 failures
SLOW_MAX_DELAY = 30.0  # seconds: after the quick tries of a write that is refused each time


@frozen
class Stored:
    """The hub has the value, as `version`."""

    value: Any
    version: int


@frozen
class Mismatch:
    """Someone else wrote first: rebuild the change on `value` and `version` and send it again."""

    value: Any
    version: int


@frozen
class NotStored:
    """The hub did not store it; the write may be retried.

    `reason`: not-found, access-denied, namespace-missing or None.
    """

    reason: str | None


def read_update_answer(answer: Any, field: str, sent: Any) -> Stored | Mismatch | NotStored:
    """Read the hub's answer to a versioned update of `field` with the value `sent`."""
    if not isinstance(answer, Mapping):
        return NotStored("malformed answer")
    version = answer.get("version")
    usable = isinstance(version, int) and not isinstance(version, bool)
    match answer.get("result"):
        case "success" if usable:
            return Stored(answer.get(field, sent), version)  # type: ignore[arg-type]
        case "version-mismatch" if usable:
            return Mismatch(answer.get(field), version)  # type: ignore[arg-type]
        case "error":
            reason = answer.get("reason")
            return NotStored(reason if isinstance(reason, str) else None)
        case _:
            return NotStored("malformed answer")


def retry_delay(failures: int, random: Random) -> float:
    """The delay in seconds after `failures` failed tries in a row: first short, then longer."""
    if failures <= QUICK_RETRIES:
        upper = (
            INITIAL_MAX_DELAY
            + (MAX_DELAY - INITIAL_MAX_DELAY) * min(failures - 1, RAMP_LENGTH) / RAMP_LENGTH
        )
        return random.uniform(0, upper)
    upper = min(MAX_DELAY * 2.0 ** min(failures - QUICK_RETRIES, 10), SLOW_MAX_DELAY)
    return random.uniform(upper / 2, upper)
