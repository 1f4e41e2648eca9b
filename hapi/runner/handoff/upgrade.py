"""The installed build against the running one: when a replacement is due, and how often one may be tried.

Version and content decide. Times of files only wake the look: what was touched, or built again to the same bytes, is no upgrade.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from attrs import define, field
from twisted.internet.interfaces import IReactorTime

from hapi.build import Build

CONFIRM = (
    5.0  # seconds between two looks that must find the same new build: a copy may still be going on
)
MOST, AN_HOUR = 3, 3600.0  # tries within so many seconds
AFTER_FAILURE = 300.0  # seconds before the next try


class Installed(Protocol):
    """What is asked of `hapi.build.Installation`."""

    @property
    def started_mtime_ms(self) -> float: ...
    def running(self) -> Build | None: ...
    def installed(self) -> Build | None: ...
    def has_changed(self) -> bool: ...


@define
class BuildWatch:
    """`look` again and again; it names a new build once that has stayed the same for `confirm` seconds."""

    _clock: IReactorTime
    _installation: Installed
    confirm: float = field(factory=lambda: CONFIRM)
    _seen: tuple[Build, float] | None = None

    def check(self) -> Build | None:
        """The build that is due, None while there is none. `confirming` tells afterwards whether a second look would help."""
        found = self._changed()
        now = self._clock.seconds()
        if found is None:
            self._seen = None
        elif self._seen is None or self._seen[0] != found:
            self._seen = found, now
        elif now - self._seen[1] >= self.confirm:
            return found
        return None

    @property
    def confirming(self) -> bool:
        """Whether a new build was seen by the last look."""
        return self._seen is not None

    def running(self) -> Build | None:
        """The build of this program; None if its files changed before anybody looked, or cannot be read."""
        try:
            return self._installation.running()
        except OSError:
            return None

    def modified_at(self) -> int:
        """When the running build was last modified, in milliseconds since the epoch."""
        return int(self._installation.started_mtime_ms)

    def is_current(self) -> bool | None:
        """Whether the running build is the installed one; None while the installed one cannot be read."""
        try:
            if not self._installation.has_changed():
                return True if self._installation.installed() is not None else None
            return False
        except OSError:
            return None

    def _changed(self) -> Build | None:
        try:
            return self._installation.installed() if self._installation.has_changed() else None
        except OSError:  # files come and go: somebody is copying
            return None


@define
class UpgradeThrottle:
    """At most three tries an hour, and five minutes of peace after one that failed. Seconds of the reactor's clock.

    Successes are handed on from runner to runner. Three of them within an hour, and yet another build: that is no upgrade but a
    loop, and replacing is off until somebody starts the runner anew.
    """

    _clock: IReactorTime
    _successes: list[float] = field(factory=list)
    _failures: list[float] = field(factory=list)
    off: str | None = None

    @classmethod
    def after(cls, clock: IReactorTime, ages: Iterable[float]) -> UpgradeThrottle:
        """The throttle of a runner that came up by the last of the hand-offs that are `ages` seconds ago."""
        return cls(clock, [clock.seconds() - max(age, 0.0) for age in ages])

    def hindrance(self) -> str | None:
        """Why no replacement may be tried now, None when one may. Only asked when one is due."""
        now = self._clock.seconds()
        self._successes, self._failures = (
            [at for at in kept if now - at < AN_HOUR] for kept in (self._successes, self._failures)
        )
        if self.off is None and len(self._successes) >= MOST:
            self.off = f"{MOST} hand-offs within an hour, and yet another build is installed: off until the runner is started anew"
        if self.off is not None:
            return self.off
        if self._failures and now - self._failures[-1] < AFTER_FAILURE:
            return f"the last try failed less than {AFTER_FAILURE / 60:.0f} minutes ago"
        if len(self._successes) + len(self._failures) >= MOST:
            return f"there were {MOST} tries within the last hour"
        return None

    def failed(self) -> None:
        self._failures.append(self._clock.seconds())

    def success_ages(self) -> list[float]:
        """What the replacement must know: hand-offs of the last hour, the one to it included, as seconds ago."""
        now = self._clock.seconds()
        return [round(now - at, 3) for at in self._successes if now - at < AN_HOUR] + [0.0]

    def next_try_in(self) -> float | None:
        """Seconds, None when nothing is being waited for."""
        left = self._failures[-1] + AFTER_FAILURE - self._clock.seconds() if self._failures else 0.0
        return left if left > 0 else None
