"""Where sessions and machines are at home, for the parts of a hub that talk to the other hubs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from hapi.hub.store.shared import Member


class Directory(Protocol):
    """A Cluster as those parts see it. An owner is the id of a session or machine."""

    @property
    def hub_id(self) -> str:
        """The id of this hub's process."""

    @property
    def members(self) -> list[Member]:
        """All hubs, this one included."""

    @property
    def problem(self) -> str | None:
        """Why this hub serves nothing at present, None if it does."""

    @property
    def on_lost(self) -> list[Callable[[str], object]]:
        """Called with an owner that was at home here, when it is no more."""

    # --- as far as this hub has read
    def is_home(self, owner: str) -> bool:
        """Whether `owner` is at home here."""

    def elsewhere(self, owner: str) -> Member | None:
        """The hub where `owner` is at home; None: here, nowhere, or at a hub that is not up."""

    # --- as the database has it
    async def look_up(self, owner: str) -> Member | None:
        """As `elsewhere`."""

    async def know(self, owner: str) -> bool:
        """Whether there is such a session or machine, which is in the registry then."""

    async def claim(self, owner: str) -> bool:
        """Make this hub the home of `owner`. False if there is no such session or machine, or
        another hub has claimed it meanwhile: look up again.
        """

    async def caught_up(self) -> None:
        """Wait, for a short time at most, until this hub has read what any hub has published
        before this call.
        """
