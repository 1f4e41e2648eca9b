"""A hub that serves a database together with others."""

from __future__ import annotations

from typing import Any

from attrs import define

from hapi.hub.active_role import ActiveRole, Term
from hapi.one_shot import OneShotObserver


class SharedTerm(Term):
    """It does not end while the database is away: each session and machine has a home, and what
    this hub writes shows whether that is still here.
    """

    @property
    def may_write(self) -> bool:
        return not self.ended.has_fired

    def check(self) -> None:
        """Nothing ends the term but another hub that has the database for itself, and a stop."""


@define(eq=False, repr=False)
class SharedRole(ActiveRole):
    """As ActiveRole, with a lock that other hubs of this kind hold as well. Signs of life are given
    by the Cluster that `serve` makes.
    """

    is_shared = True

    async def _be_active(self, first: OneShotObserver[None]) -> None:
        term = self.term = SharedTerm(self._clock, self._clock.seconds())
        problem: Exception | None = None
        try:
            self.active, self._problem = None, ""
            await self._serve(self.store)
            first.fire(None)
            reason = await term.ended.when_fired()
            if reason:
                self.log.error("This hub no longer serves: {reason}", reason=reason)
        except Exception as error:
            problem = error
        term.ended.fire("")
        await self._withdraw()
        self.term = None
        if not self._stopping:
            await self._close_store()
        if problem is not None:
            raise problem

    def report(self) -> dict[str, Any]:
        told = super().report()
        for hub in told["hubs"] if self.is_active else ():
            hub["role"] = "active" if hub["isUp"] else "standby"
        return told
