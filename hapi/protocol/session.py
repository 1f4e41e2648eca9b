"""A session as hubs know it: its first agent state and how it ends (session.md 6, 11). Pure."""

from __future__ import annotations

from typing import Any, Literal

from attrs import frozen

Json = dict[str, Any]


Mode = Literal["remote", "local"]


def mode_state(mode: Mode) -> Json:
    """What the agent state tells of the mode: in local mode the agent's own program has the
    terminal."""
    return {"controlledByUser": mode == "local", "startingMode": mode}


def initial_state() -> Json:
    """The first agent state: the page may always write, whoever started the session."""
    return mode_state("remote")


@frozen
class Ending:
    """How a session ends.

    `reason` goes into `session-end`, `archive_reason` into the metadata.
    """

    reason: Literal["completed", "terminated", "error", "handoff"]
    archive_reason: str
    exit_code: int
    explicit: bool = False

    def with_stop_reason(self, stop_reason: str | None) -> Ending:
        """This ending with the reason of a stop order, unless it has an explicit reason already."""
        if self.explicit or not stop_reason:
            return self
        return Ending("terminated", stop_reason, 0, explicit=True)


BY_SIGNAL = Ending("terminated", "Hub restart", 0)  # the wire's words for SIGTERM without more
BY_INTERRUPT = Ending("terminated", "User terminated", 0)
BY_USER = Ending("terminated", "User terminated", 0, explicit=True)
COMPLETED = Ending("completed", "Session completed", 0)
HANDED_OFF = Ending("handoff", "Handed off to local terminal", 0, explicit=True)
CRASHED = Ending("error", "Session crashed", 1)


def launch_failed(text: str) -> Ending:
    return Ending("error", f"Local launch failed: {text}", 1)
