"""Relief for a start that lacks memory: idle agents rest, the one that has idled longest first."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from attrs import define, field
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from hapi.runner.attempts.child import Child

MIN_IDLE_TIME = 30.0  # seconds; agents that have been idle for less are not asked
REST_TIME = 4.0  # seconds in which a session notices the request and its agent ends
RETRY_INTERVAL = 60.0  # seconds until an agent that did not rest is asked again


def longest_idle(children: Iterable[Child], now: float) -> Child | None:
    """The session whose agent could rest and has had nothing to do for longest; None if there is
    none. `now`: epoch seconds."""
    found = [
        (report.idle_since, child)
        for child in children
        if (report := child.report) is not None
        and report.idle_since is not None
        and report.resting_since is None
        and now - report.idle_since >= MIN_IDLE_TIME
    ]
    return min(found, key=lambda each: each[0])[1] if found else None


@define(eq=False, repr=False)
class MemoryRelief:
    """`children` are the live sessions with their current reports."""

    _clock: IReactorTime
    _children: Callable[[], Sequence[Child]]
    _now: Callable[[], float]
    _asked: dict[str, float] = field(factory=dict)  # attempt → seconds of the clock
    log = Logger()

    def ask(self) -> bool:
        """Ask for the memory of one more idle agent; whether any is on its way to rest."""
        now = self._clock.seconds()
        self._asked = {
            attempt: at for attempt, at in self._asked.items() if now - at < RETRY_INTERVAL
        }
        if any(now - at < REST_TIME for at in self._asked.values()):
            return True
        children = [child for child in self._children() if child.attempt not in self._asked]
        child = longest_idle(children, self._now())
        if child is None:
            return False
        self._asked[child.attempt] = now
        try:
            child.folder.request_rest()
        except OSError as error:
            self.log.warn(
                "Session {session_id} could not be asked to let its agent rest: {reason}",
                session_id=child.session_id,
                reason=error.strerror or str(error),
            )
            return False
        self.log.info(
            "Memory is short: the idle agent of session {session_id} is asked to rest",
            session_id=child.session_id,
        )
        return True
