"""What a restart of the runner that a caller asks for leads to."""

from __future__ import annotations

from attrs import frozen


@frozen
class LeavesForSupervisor:
    """The installed version starts: this runner exits, and its supervisor starts it again."""


@frozen
class HandoffBegan:
    """The process `replacement` takes over; this runner serves until it has."""

    replacement: int


@frozen
class RestartRefused:
    """The runner keeps running; `reason` is a clause, such as "only twistd may restart it"."""

    reason: str


Restart = LeavesForSupervisor | HandoffBegan | RestartRefused
