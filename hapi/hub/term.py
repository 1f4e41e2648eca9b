"""The time in which a hub serves its database, and when it is over."""

from __future__ import annotations

from attrs import define, field
from twisted.internet.interfaces import IReactorTime

from hapi.one_shot import OneShotObserver

LEASE = 8.0  # seconds for which a confirmed sign of life allows to serve


@define(eq=False, repr=False)
class Term:
    """The time in which this hub is the active one. `ended` fires with the reason, "" if the hub is
    stopped.

    While the connection is interrupted, another hub may have taken over. What this hub writes
    shows that, and waits meanwhile; what it knows may be out of date.
    """

    _clock: IReactorTime
    confirmed_at: float  # clock seconds: the last sign of life was sent then, and confirmed
    is_interrupted: bool = False
    ended: OneShotObserver[str] = field(factory=OneShotObserver)

    @property
    def may_write(self) -> bool:
        return not self.ended.has_fired and self._clock.seconds() - self.confirmed_at < LEASE

    @property
    def is_current(self) -> bool:
        return self.may_write and not self.is_interrupted

    def confirm(self, sent_at: float) -> None:
        if self.may_write:  # what is over does not begin again
            self.confirmed_at, self.is_interrupted = sent_at, False

    def prolong(self, confirmed_at: float) -> None:
        """Something else than a sign of life was sent at that time, and confirmed."""
        if self.may_write:
            self.confirmed_at = max(self.confirmed_at, confirmed_at)

    def check(self) -> None:
        if not self.may_write:
            self.ended.fire(f"the database has confirmed nothing for {LEASE:g} s")


class SharedTerm(Term):
    """It does not end while the database is away: each session and machine has a home, and what
    this hub writes shows whether that is still here.
    """

    @property
    def may_write(self) -> bool:
        return not self.ended.has_fired

    def check(self) -> None:
        """Nothing ends the term but another hub that has the database for itself, and a stop."""
