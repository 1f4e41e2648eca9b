"""What concerns pages at all hubs and is no event: notifications, and which namespaces are on a
screen.
"""

from __future__ import annotations

from typing import Any

from attrs import define, field

from hapi.hub.domain.registry import HubRegistry
from hapi.hub.store.shared import INTERNAL, JournalEntry

TOAST = INTERNAL + "toast"  # fields: data
WATCHED = INTERNAL + "watched"  # fields: namespaces, those that a page at the hub shows


@define(eq=False, repr=False)
class PageRelay:
    registry: HubRegistry
    _store: Any  # ISharedStore
    _watched: dict[str, frozenset[str]] = field(factory=dict)  # id of a hub -> namespaces
    _published: frozenset[str] = frozenset()  # namespaces that the other hubs know of
    _hubs: frozenset[str] = frozenset()  # ids of the hubs that were up at the last check

    def show(self, namespace: str, data: dict[str, Any]) -> None:
        """Show a notification at the pages of all hubs."""
        self._store.publish(namespace, TOAST, {"data": data})

    def is_watched(self, namespace: str) -> bool:
        """Whether a page at another hub shows the namespace, as of the last beat."""
        return any(namespace in watched for watched in self._watched.values())

    def check(self, hubs: frozenset[str]) -> None:
        """Tell the other hubs what pages show here, if it has changed or a hub is new. `hubs` are
        the ids of those that are up.
        """
        self._watched = {hub: watched for hub, watched in self._watched.items() if hub in hubs}
        watched = self.registry.events.watched_here
        if watched != self._published or (watched and not hubs <= self._hubs):
            self._published = watched
            self._store.publish("", WATCHED, {"namespaces": sorted(watched)})
        self._hubs = hubs

    def apply(self, entry: JournalEntry) -> None:
        """An entry of the journal of a kind of this module, or of any other."""
        if entry.kind == TOAST:
            self.registry.events.show_notification(entry.namespace, entry.fields["data"])
        elif entry.kind == WATCHED and entry.hub != self._store.hub_id:
            self._watched[entry.hub] = frozenset(entry.fields["namespaces"])
