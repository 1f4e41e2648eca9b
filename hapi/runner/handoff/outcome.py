"""How a hand-off ended: handed over, failed, or stopped. It is decided here that one failed."""

from __future__ import annotations

from attrs import frozen
from twisted.python.failure import Failure

from hapi.runner.handoff.program import ProgramNotStarted


@frozen
class HandedOver:
    """The replacement owns the home: this runner retires."""

    pid: int


@frozen
class Failed:
    """The replacement was ended: this runner keeps serving."""

    reason: str


@frozen
class Stopped:
    """The replacement was asked to stop, by someone who meant the runner: this runner stops too."""

    reason: str


Outcome = HandedOver | Failed | Stopped


class HandoffFailed(Exception):
    """A step of the hand-off did not succeed; the message is the reason."""


class ReplacementStopped(Exception):
    """The replacement left because it was asked to stop; the message says by whom."""


def outcome_of_failure(reason: Failure) -> Failed | Stopped:
    """Decide what the failure of any step means for this runner."""
    error = reason.value
    if isinstance(error, ReplacementStopped):
        return Stopped(str(error))
    if isinstance(error, HandoffFailed | ProgramNotStarted):
        return Failed(str(error))
    return Failed(f"unexpected error: {error}")
