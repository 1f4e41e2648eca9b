"""One finding of `hapi doctor`."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Literal

from attrs import frozen

from hapi.cli.base.errors import known_failure

Finding = Literal["good", "note", "broken"]


@frozen
class Check:
    """A finding: `good`, `note` (it works, but is worth knowing) or `broken` (it will not work)."""

    name: str
    finding: Finding
    text: str


def failed_check(name: str, error: Exception) -> Check:
    """The finding for a check that raised `error`."""
    failure = known_failure(error)
    text = failure.sentence if failure else f"{type(error).__name__}: {error}"
    return Check(name, "broken", text)


def run_checks(name: str, check: Callable[[], Iterable[Check]]) -> list[Check]:
    """The findings of `check`, or a broken one under `name` if it raises."""
    try:
        return list(check())
    except Exception as error:
        return [failed_check(name, error)]
