"""The start lease: how long a session may take to announce itself, counted from its last sign of life."""

from __future__ import annotations

import os
from collections.abc import Callable

from attrs import define, field
from twisted.internet.interfaces import IDelayedCall, IReactorTime

from hapi.attempts import AttemptFolder

LOOKS = 15  # in the time that silence is allowed
LATE = 1.0  # seconds: whoever comes later than that to his own appointment was stopped, or the machine slept


def signs_of_life(folder: AttemptFolder) -> tuple[object, ...]:
    """Something that differs whenever the session has written output or reported: compared, never interpreted."""
    return tuple(stamp_of(path) for path in (folder.output, folder.report_path))


def last_sign(folder: AttemptFolder) -> float | None:
    """When it last wrote or reported, in epoch seconds by the file system's clock."""
    seen = [
        stamp[0]
        for path in (folder.output, folder.report_path)
        if (stamp := stamp_of(path)) is not None
    ]
    return max(seen) / 1e9 if seen else None


def stamp_of(path: os.PathLike[str] | str) -> tuple[int, int, int] | None:
    """Time (ns), size and inode of a file; None while there is none."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


@define(eq=False)
class Lease:
    """Calls `over` when `signs()` has stayed the same for `patience` seconds, or `longest` seconds after the beginning.

    `signs` gives whatever changes while the session shows life: the size of its output, the time of its report. When we were
    stopped ourselves, nobody could reach us: then all begins anew.
    """

    _clock: IReactorTime
    patience: float
    longest: float
    _signs: Callable[[], object]
    _over: Callable[[], object]
    _seen: object = field(init=False)
    _heard: float = field(init=False)  # when there was a sign last
    _end: float = field(init=False)
    _next: IDelayedCall | None = None
    _due: float = 0.0  # when the next look was to be

    def begin(self) -> Lease:
        self._seen, self._heard = self._signs(), self._clock.seconds()
        self._end = self._heard + max(self.longest, self.patience)
        self._wait()
        return self

    def cancel(self) -> None:
        if self._next is not None and self._next.active():
            self._next.cancel()

    def _wait(self) -> None:
        left = min(self._heard + self.patience, self._end) - self._clock.seconds()
        pause = min(left, self.patience / LOOKS) if self.longest > self.patience else left
        self._due = self._clock.seconds() + max(pause, 0.0)
        self._next = self._clock.callLater(max(pause, 0.0), self._look)

    def _look(self) -> None:
        now, signs = self._clock.seconds(), self._signs()
        if now - self._due > LATE:
            self._seen, self._heard, self._end = signs, now, now + max(self.longest, self.patience)
        if signs != self._seen:
            self._seen, self._heard = signs, now
        if now >= min(self._heard + self.patience, self._end) - 1e-6:
            self._over()
        else:
            self._wait()
