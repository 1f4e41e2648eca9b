"""What the owner of a hub is told about all hubs of its database."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from attrs import define, field
from twisted.internet.interfaces import IReactorTime

from hapi.hub.store.shared import DEAD_AFTER, Member


@define(eq=False, repr=False)
class KnownHubs:
    """All hubs, as the database had them at `read_at`, in clock seconds, with what they did then:
    that is told while the database is away.
    """

    _clock: IReactorTime
    members: list[Member] = field(factory=list, init=False)
    read_at: float = field(default=0.0, init=False)
    _roles: dict[str, str] = field(factory=dict, init=False)

    @property
    def is_current(self) -> bool:
        """Whether it is still so, as far as anybody can know."""
        return self._clock.seconds() - self.read_at < DEAD_AFTER

    @property
    def up(self) -> int | None:
        """How many hubs are up, this one included; None: it is not known at present."""
        return sum(member.is_up for member in self.members) if self.is_current else None

    def note(self, members: list[Member], read_at: float, role_of: Callable[[Member], str]) -> None:
        self.members, self.read_at = members, read_at
        self._roles = {member.id: role_of(member) for member in members}

    def report(self, role_of: Callable[[Member], str]) -> dict[str, Any]:
        """The facts of each hub that is worth telling, see HubOfDatabase: times in milliseconds
        since the epoch, by the clock of the database. `hubsAge`: seconds since they were read.
        """

        def known_role(member: Member) -> str:
            return self._roles.get(member.id, "standby")

        role = role_of if self.is_current else known_role
        return {
            "hubs": [_facts(member, role(member)) for member in told_members(self.members)],
            "hubsAge": round(self._clock.seconds() - self.read_at, 3),
        }


def _facts(member: Member, role: str) -> dict[str, Any]:
    return {
        "id": member.id,
        "name": member.name,
        "url": member.url,
        "version": member.version,
        "role": role,
        "since": member.since,
        "seenAt": member.seen_at,
        "isUp": member.is_up,
        "isDraining": member.is_draining,
    }


def told_members(members: list[Member]) -> list[Member]:
    """Those that are worth telling: of hubs that are lost, the last one of each name that has no
    successor.
    """
    newest: dict[str, Member] = {}
    for member in sorted(members, key=lambda each: (each.is_up, each.since)):
        newest[member.name] = member
    return [member for member in members if member.is_up or newest[member.name] is member]


def hub_label(member: Member) -> str:
    """The name of a hub, and where it is reached."""
    return f"hub {member.name}" + (f" at {member.url}" if member.url else "")
