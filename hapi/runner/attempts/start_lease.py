"""The start lease: how long a session may take to announce itself, counted from its last sign
of life."""

from __future__ import annotations

import os
from collections.abc import Callable

from attrs import define, field
from twisted.internet.interfaces import IDelayedCall, IReactorTime

from hapi.attempts import AttemptFolder

POLLS_PER_LEASE = 15  # how often signs of life are polled within the allowed silence
MAX_TIMER_DELAY = 1.0  # seconds; a poll that comes later shows that the runner was stopped


def signs_of_life(folder: AttemptFolder) -> tuple[object, ...]:
    """A value that differs whenever the session has written output or a report."""
    return tuple(file_stamp(path) for path in (folder.output, folder.report_path))


def last_sign_of_life(folder: AttemptFolder) -> float | None:
    """When the session last wrote output or a report: epoch seconds of the file system's clock."""
    stamps = (file_stamp(path) for path in (folder.output, folder.report_path))
    times = [stamp[0] for stamp in stamps if stamp is not None]
    return max(times) / 1e9 if times else None


def file_stamp(path: os.PathLike[str] | str) -> tuple[int, int, int] | None:
    """Modification time (ns), size and inode of a file; None if it does not exist."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


@define(eq=False, repr=False)
class StartLease:
    """Calls `on_expired` after `silence_timeout` seconds without a change of `signs()`, and in any
    case `start_timeout` seconds after the beginning (at least `silence_timeout`).

    When the runner itself was stopped, or the machine slept, no session could announce itself: the
    lease then begins anew.
    """

    _clock: IReactorTime
    silence_timeout: float
    start_timeout: float
    _signs: Callable[[], object]
    _on_expired: Callable[[], object]
    _last_signs: object = field(init=False)
    _last_change: float = field(init=False)
    _end: float = field(init=False)
    _next_poll: IDelayedCall | None = None
    _next_poll_due: float = 0.0

    def begin(self) -> StartLease:
        """Start counting."""
        self._restart(self._clock.seconds())
        self._schedule_poll()
        return self

    def cancel(self) -> None:
        """End the lease without a call of `on_expired`."""
        if self._next_poll is not None and self._next_poll.active():
            self._next_poll.cancel()

    def _restart(self, now: float) -> None:
        self._last_signs, self._last_change = self._signs(), now
        self._end = now + max(self.start_timeout, self.silence_timeout)

    def _expiry(self) -> float:
        return min(self._last_change + self.silence_timeout, self._end)

    def _schedule_poll(self) -> None:
        pause = self._expiry() - self._clock.seconds()
        if self.start_timeout > self.silence_timeout:
            pause = min(pause, self.silence_timeout / POLLS_PER_LEASE)
        self._next_poll_due = self._clock.seconds() + max(pause, 0.0)
        self._next_poll = self._clock.callLater(max(pause, 0.0), self._poll)

    def _poll(self) -> None:
        now = self._clock.seconds()
        if now - self._next_poll_due > MAX_TIMER_DELAY:
            self._restart(now)
        elif (signs := self._signs()) != self._last_signs:
            self._last_signs, self._last_change = signs, now
        if now >= self._expiry() - 1e-6:
            self._on_expired()
        else:
            self._schedule_poll()
