"""What the owner of a hub is told about all hubs of its database."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hapi.hub.store.shared import Member


def hubs_report(members: list[Member], role_of: Callable[[Member], str]) -> list[dict[str, Any]]:
    """The facts of each hub that is worth telling: see HubOfDatabase. Times in milliseconds since
    the epoch, by the clock of the database.
    """
    return [
        {
            "id": member.id,
            "name": member.name,
            "url": member.url,
            "version": member.version,
            "role": role_of(member),
            "since": member.since,
            "seenAt": member.seen_at,
            "isUp": member.is_up,
            "isDraining": member.is_draining,
        }
        for member in told_members(members)
    ]


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
