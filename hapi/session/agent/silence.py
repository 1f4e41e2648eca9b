"""Silence of an agent, told in the conversation: no sign of life, a login that waits, retries.

A line is told after FIRST_SILENCE, the next ones after ever longer times, so that a turn of a whole
day adds no more than seven lines.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from attrs import define, field
from twisted.internet.interfaces import IDelayedCall, IReactorTime

from hapi.units import plural

FIRST_SILENCE = 30.0  # seconds
FIRST_SILENCE_OF_CALL = 120.0  # seconds: builds and tests say nothing for a while
GROWTH = 4  # each silence that is told is so many times longer than the one before
MAX_NAME = 80  # characters of the name of a tool call


def duration_in_words(seconds: float) -> str:
    """`45 seconds`, `2 minutes`, `3 hours`."""
    for size, unit in ((3600, "hour"), (60, "minute"), (1, "second")):
        if seconds >= size:
            return plural(seconds // size, unit)
    return "0 seconds"


@define(eq=False, repr=False)
class SilenceWatch:
    """Watches an agent that should say something: during its start, and during a turn.

    `tell` gets the lines. `is_asking` tells whether the agent waits for a person. `calls` returns
    the names of the tool calls that have not ended, `last_words` what it wrote besides messages.
    """

    _clock: IReactorTime
    _label: str
    _tell: Callable[[str], object]
    _is_asking: Callable[[], bool]
    _calls: Callable[[], Sequence[str]]
    last_words: Callable[[], str | None] = field(default=lambda: None)
    _is_start: bool = False
    _last: float = 0.0  # seconds of the clock: the last sign of life
    _limit: float = FIRST_SILENCE
    _notice_at: float | None = None  # seconds of the clock: when the next notice is told
    _notice_interval: float = FIRST_SILENCE
    _timer: IDelayedCall | None = None

    def begin(self, is_start: bool = False) -> None:
        """The agent was asked for something. `is_start`: to open its session."""
        self.end()
        self._is_start = is_start
        self._last, self._limit = self._clock.seconds(), FIRST_SILENCE
        self._notice_at, self._notice_interval = None, FIRST_SILENCE
        self._schedule()

    def end(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def seen(self) -> None:
        """A sign of life."""
        self._last = self._clock.seconds()

    def notice(self, text: str) -> None:
        """The agent tells that it retries: the first time at once, then ever more seldom."""
        self.seen()
        now = self._clock.seconds()
        if self._timer is None or (self._notice_at is not None and now < self._notice_at):
            return
        self._notice_at, self._notice_interval = (
            now + self._notice_interval,
            self._notice_interval * GROWTH,
        )
        self._tell(f"{self._label} {text}")

    def _schedule(self) -> None:
        due = self._last + self._limit - self._clock.seconds()
        self._timer = self._clock.callLater(max(due, 0.0), self._check)

    def _check(self) -> None:
        self._timer = None
        if self._is_asking():
            self.seen()
        calls = self._calls()
        if calls:
            self._limit = max(self._limit, FIRST_SILENCE_OF_CALL)
        silent = self._clock.seconds() - self._last
        if silent >= self._limit:
            self._limit *= GROWTH
            self._tell(self._line(duration_in_words(silent), calls))
        self._schedule()

    def _line(self, duration: str, calls: Sequence[str]) -> str:
        if self._is_start:
            said = self.last_words()
            line = f"{self._label} has not answered for {duration} while it starts"
            return f"{line}. It wrote: {said}" if said else line
        line = f"No sign of life from {self._label} for {duration}"
        if not calls:
            return line
        name = calls[-1] if len(calls[-1]) <= MAX_NAME else f"{calls[-1][:MAX_NAME]}…"
        return f"{line}; a tool call has not ended: {name}"
