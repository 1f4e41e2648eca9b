"""What one hub does about a session over a longer time, such as resuming it, and no other hub may
begin meanwhile.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from attrs import define, field

from hapi.hub.store.shared import INTERNAL, JournalEntry

RESERVED = INTERNAL + "reserved"  # fields: owner
FREED = INTERNAL + "freed"  # fields: owner


@define(eq=False, repr=False)
class Reservations:
    """A reservation is an entry of the journal from a turn of the session, which only its home can
    commit. So who claims the session later has read it when the claim is done.
    """

    _store: Any  # ISharedStore
    _claim: Callable[[str], Awaitable[bool]]
    _is_up: Callable[[str], bool]  # whether a hub lives
    _hubs: dict[str, str] = field(factory=dict)  # owner -> id of the hub that has reserved it

    def is_elsewhere(self, owner: str) -> bool:
        """Whether another hub has reserved `owner`."""
        hub = self._hubs.get(owner)
        return hub is not None and hub != self._store.hub_id and self._is_up(hub)

    def is_here(self, owner: str) -> bool:
        """Whether this hub has reserved `owner`."""
        return self._hubs.get(owner) == str(self._store.hub_id)

    async def reserve(self, owner: str) -> bool:
        """Whether this hub has reserved `owner`, and is its home. Raises Moved, and what the store
        raises.
        """
        if not await self._claim(owner) or self.is_elsewhere(owner):
            return False
        await self._store.turn(owner, lambda turn: turn.publish("", RESERVED, owner=owner))
        return True

    def free(self, owner: str) -> None:
        self._store.publish("", FREED, {"owner": owner})

    def apply(self, entry: JournalEntry) -> None:
        """An entry of the journal of a kind of this module, or of any other."""
        if entry.kind == RESERVED:
            self._hubs[entry.fields["owner"]] = entry.hub
        elif entry.kind == FREED and self._hubs.get(entry.fields["owner"]) == entry.hub:
            del self._hubs[entry.fields["owner"]]
