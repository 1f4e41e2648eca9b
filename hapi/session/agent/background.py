"""Work of the agent outside a turn, as of Claude's background tasks.

ACP says neither when it begins nor when it ends: it begins with what the agent says or does while
no turn runs, and ends with silence.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from attrs import define
from twisted.internet.interfaces import IDelayedCall, IReactorTime

TEXT_PAUSE = 2.0  # seconds of silence that end a message
SILENCE = 5.0  # seconds of silence that end the work
CALL_TIMEOUT = 600.0  # seconds of silence that end it while a tool call has not ended
CHECK_INTERVAL = 5.0  # seconds


def silence_limit(is_asking: bool, has_open_calls: bool) -> float:
    """The seconds of silence after which the work is over.

    A person may take any time to answer.
    """
    if is_asking:
        return math.inf
    return CALL_TIMEOUT if has_open_calls else SILENCE


@define(eq=False, repr=False)
class BackgroundWork:
    """`limit` returns the seconds of silence that end the work now.

    `paused` is called after TEXT_PAUSE, `ended` when the work has ended.
    """

    _clock: IReactorTime
    _limit: Callable[[], float]
    _began: Callable[[], object]
    _paused: Callable[[], object]
    _ended: Callable[[], object]
    is_active: bool = False
    _last: float = 0.0  # seconds of the clock
    _timer: IDelayedCall | None = None

    def seen(self, begins: bool = True) -> None:
        """The agent did something. `begins`: something with which work begins."""
        self._last = self._clock.seconds()
        if self.is_active:
            return
        if not begins:
            self._schedule(TEXT_PAUSE)
            return
        self.is_active = True
        self._schedule(TEXT_PAUSE)
        self._began()

    def stop(self) -> None:
        """A turn begins, or the agent has ended: this is not called the end of the work."""
        self.is_active = False
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _schedule(self, seconds: float) -> None:
        if self._timer is None:
            self._timer = self._clock.callLater(seconds, self._check_silence)

    def _check_silence(self) -> None:
        self._timer = None
        silent = self._clock.seconds() - self._last
        if silent < TEXT_PAUSE:
            self._schedule(TEXT_PAUSE - silent)
            return
        self._paused()
        if not self.is_active:
            return
        left = self._limit() - silent
        if left > 0:
            self._schedule(min(left, CHECK_INTERVAL))
            return
        self.is_active = False
        self._ended()
