"""The session's report in its attempt folder: whether it is ready, works or waits, and is alive.

`report.json` is written when one of its facts changes. Otherwise only its modification time
changes, at most once a second; the runner takes that as a sign of life.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import msgspec
from attrs import define, field
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from hapi.attempts import AttemptFolder
from hapi.protocol.attempt import AttemptHub, AttemptReport

if TYPE_CHECKING:
    from hapi.session.session import Session

TOUCH_INTERVAL = 1.0  # seconds between two signs of life
RETRY_INTERVAL = 2.0  # seconds until a report that the disk refused is written again


@define(eq=False, repr=False)
class ReportWriter:
    _clock: IReactorTime
    _folder: AttemptFolder
    _session: Session
    _now: Callable[[], float] = time.time
    _last: AttemptReport | None = None
    _touched_at: float = field(default=-TOUCH_INTERVAL)
    _retry: IDelayedCall | None = None  # of a write that failed
    log = Logger()

    def begin(self) -> ReportWriter:
        """Start reporting. For sessions without a terminal, which uses the same callbacks."""
        session = self._session
        session.hub.on_change = self.write
        session.link.on_status(lambda status: self.write())
        session.hub.on_written = self.touch
        session.turns.observers.append(self.touch)
        session.idle.changed = self.write
        session.permissions.on_asked = lambda pending: self.write()
        session.permissions.on_settled = lambda pending, settled: self.write()
        session.questions.on_asked = lambda pending: self.write()
        session.questions.on_settled = lambda pending, settled: self.write()
        self.write()
        return self

    def write(self) -> None:
        report = self._facts()
        if (
            self._last is not None
            and msgspec.structs.replace(report, at=self._last.at) == self._last
        ):
            self.touch()
            return
        try:
            self._folder.report = self._last = report
        except OSError as error:
            self.log.warn("The report of this session was not saved: {reason}", reason=str(error))
            self._retry_later()
        self._touched_at = self._clock.seconds()

    def _retry_later(self) -> None:
        if self._retry is None or not self._retry.active():
            self._retry = self._clock.callLater(RETRY_INTERVAL, self.write)

    def _facts(self) -> AttemptReport:
        session, now, last = self._session, self._now(), self._last
        turn, waiting, queued = (
            session.hub.thinking,
            bool(session.permissions.waiting or session.questions.waiting),
            len(session.hub.inbox),
        )
        return AttemptReport(
            at=now,
            ready=session.hub.is_ready,
            turn_since=_since(turn, last.turn_since if last else None, now),
            waiting_since=_since(waiting, last.waiting_since if last else None, now),
            queued=queued,
            queued_since=_since(queued > 0, last.queued_since if last else None, now),
            agent_session_id=session.agent_session,
            hub=self._hub(now),
            idle_since=self._idle_since(now, last),
            resting_since=session.resting_since,
            problem=session.hub.delivery_problem,
            mode=session.settings.mode,
            model=session.settings.current_model,
        )

    def _idle_since(self, now: float, last: AttemptReport | None) -> float | None:
        """Since when the agent could rest; the same for the whole time, whatever the clock does."""
        idle = self._session.idle.idle_time
        if idle is None:
            return None
        before = last.idle_since if last is not None else None
        return before if before is not None else now - idle

    def _hub(self, now: float) -> AttemptHub:
        link, last = self._session.link, self._last.hub if self._last is not None else None
        url, status = link.access.url, link.status
        if last is not None and (last.url, last.phase) == (url, status.phase):
            return last  # a reason that changes with each attempt is not worth a write
        return AttemptHub(url, status.phase, now, status.reason)

    def touch(self, *_: Any) -> None:
        """The agent did something: update the modification time."""
        now = self._clock.seconds()
        if now - self._touched_at < TOUCH_INTERVAL:
            return
        self._touched_at = now
        try:
            os.utime(self._folder.report_path)
        except OSError:
            self._last = None  # the next change writes it anew


def _since(is_so: bool, before: float | None, now: float) -> float | None:
    return (before if before is not None else now) if is_so else None
