"""A hub that serves a database together with others."""

from __future__ import annotations

from typing import ClassVar

from attrs import define

from hapi.hub.active_role import ActiveRole
from hapi.hub.store.shared import Member
from hapi.hub.term import SharedTerm, Term

JOINING = "This hub is joining the other hubs of its database and serves in a moment"


@define(eq=False, repr=False)
class SharedRole(ActiveRole):
    """As ActiveRole, with a lock that other hubs of this kind hold as well."""

    is_shared: ClassVar[bool] = True
    term_kind: ClassVar[type[Term]] = SharedTerm
    becoming_active: ClassVar[str] = JOINING

    async def _begin(self, term: Term) -> None:
        """The Cluster, which `serve` makes, gives the signs of life, and no hub has to leave."""

    @property
    def _own_role(self) -> str:
        if self.term is None:
            return "standby"
        return "active" if self._serves else "joining"

    def _role_of(self, member: Member) -> str:
        if self.term is None or (self.store is not None and member.id == self.store.hub_id):
            return super()._role_of(member)
        return "active"  # they share the lock
