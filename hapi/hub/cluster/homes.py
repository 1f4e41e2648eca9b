"""Where the sockets of each session and machine are, as far as this hub has read."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from attrs import define, field

from hapi.hub.store.shared import Home


@define(eq=False, repr=False)
class Homes:
    """`on_lost` is called with an owner that was at home here, after it is known not to be."""

    hub_id: str
    _on_lost: Callable[[str], object]
    _homes: dict[str, Home] = field(factory=dict)
    _epochs: dict[str, int] = field(factory=dict)  # the highest that was seen of each owner

    def find(self, owner: str) -> Home | None:
        return self._homes.get(owner)

    def is_here(self, owner: str) -> bool:
        home = self._homes.get(owner)
        return home is not None and home.hub == self.hub_id

    @property
    def here(self) -> list[str]:
        """The owners that are at home at this hub."""
        return [owner for owner, home in self._homes.items() if home.hub == self.hub_id]

    def apply(self, fields: dict[str, Any]) -> bool:
        """A HOME_CHANGED of the journal. False if a later one is known already."""
        owner, hub, epoch = fields["owner"], fields.get("hub"), fields["epoch"]
        return self.moved(owner, None if hub is None else Home(owner, hub, epoch), epoch)

    def moved(self, owner: str, home: Home | None, epoch: int) -> bool:
        """The home of `owner` in `epoch`, None if it was given up. False if a later one is known
        already.
        """
        known = self._epochs.get(owner, -1)
        if epoch < known or (epoch == known and home is not None):
            return epoch == known and self._homes.get(owner) == home
        was_here = self.is_here(owner)
        self._epochs[owner] = epoch
        if home is None:
            self._homes.pop(owner, None)
        else:
            self._homes[owner] = home
        if was_here and not self.is_here(owner):
            self._on_lost(owner)
        return True

    def epochs(self) -> dict[str, int]:
        """The epoch of each home that is known."""
        return {owner: home.epoch for owner, home in self._homes.items()}

    def replace(self, homes: Iterable[Home], before: dict[str, int]) -> None:
        """All homes as the database has them. `before`: `epochs()` before they were read."""
        found = {home.owner: home for home in homes}
        for owner, home in found.items():
            self.moved(owner, home, home.epoch)
        for owner, epoch in before.items():
            if owner not in found and self._epochs.get(owner) == epoch:
                self.moved(owner, None, epoch)
