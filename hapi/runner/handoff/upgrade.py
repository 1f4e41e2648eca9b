"""Whether another build is installed and a hand-off to it is due, and how often one may be tried.

Version and content decide. Modification times only cause a check: files that were touched, or
built again with the same content, are not an upgrade.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from attrs import define, field
from twisted.internet.interfaces import IReactorTime

from hapi.build import Build
from hapi.runner.handoff.interfaces import HandoffRunner
from hapi.runner.supervision.supervisor import Supervision

# Two checks that are so far apart must find the same new build: a copy may still be going on.
CONFIRM_DELAY = 5.0  # seconds
MAX_TRIES = 3  # within THROTTLE_PERIOD
THROTTLE_PERIOD = 3600.0  # seconds
FAILURE_DELAY = 300.0  # seconds from a failed hand-off to the next one


class Installed(Protocol):
    """`hapi.build.Installation`, as far as a watch needs it."""

    @property
    def started_mtime_ms(self) -> float: ...
    def running(self) -> Build | None: ...
    def installed(self) -> Build | None: ...
    def has_changed(self) -> bool: ...


@define
class BuildWatch:
    """Finds a new build, once it has stayed the same for `confirm` seconds."""

    _clock: IReactorTime
    _installation: Installed
    confirm: float = field(factory=lambda: CONFIRM_DELAY)
    _seen: tuple[Build, float] | None = None

    def check(self) -> Build | None:
        """The build that is due, None while there is none.

        `confirming` says afterwards whether another check can find one.
        """
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
        """Whether the last check has seen a new build."""
        return self._seen is not None

    def running(self) -> Build | None:
        """The build of this program, None if its files changed before or cannot be read."""
        try:
            return self._installation.running()
        except OSError:
            return None

    def modified_at(self) -> int:
        """When the running build was last modified, in milliseconds since the epoch."""
        return int(self._installation.started_mtime_ms)

    def is_current(self) -> bool | None:
        """Whether the running build is the installed one, None while that cannot be read."""
        try:
            if not self._installation.has_changed():
                return True if self._installation.installed() is not None else None
            return False
        except OSError:
            return None

    def _changed(self) -> Build | None:
        try:
            return self._installation.installed() if self._installation.has_changed() else None
        except OSError:  # a copy is going on
            return None


@define
class UpgradeThrottle:
    """At most three hand-offs an hour, and none for five minutes after a failed one.

    The times of successes are handed over from runner to runner. Three of them within an hour and
    yet another build are a loop and no upgrade: hand-offs are then off until the runner is
    restarted. Times are seconds of the reactor's clock.
    """

    _clock: IReactorTime
    _successes: list[float] = field(factory=list)
    _failures: list[float] = field(factory=list)
    off: str | None = None

    @classmethod
    def after(cls, clock: IReactorTime, ages: Iterable[float]) -> UpgradeThrottle:
        """The throttle of a replacement, after hand-offs that were `ages` seconds ago."""
        return cls(clock, [clock.seconds() - max(age, 0.0) for age in ages])

    def reason_to_wait(self) -> str | None:
        """Why no hand-off may be tried now, None when one may. Only called when one is due."""
        now = self._clock.seconds()
        self._successes, self._failures = (
            [at for at in kept if now - at < THROTTLE_PERIOD]
            for kept in (self._successes, self._failures)
        )
        if self.off is None and len(self._successes) >= MAX_TRIES:
            self.off = (
                f"{MAX_TRIES} hand-offs within an hour, and yet another build is installed: "
                "hand-offs are off until the runner is restarted"
            )
        if self.off is not None:
            return self.off
        if self._failures and now - self._failures[-1] < FAILURE_DELAY:
            return f"the last try failed less than {FAILURE_DELAY / 60:.0f} minutes ago"
        if len(self._successes) + len(self._failures) >= MAX_TRIES:
            return f"{MAX_TRIES} hand-offs were tried within the last hour"
        return None

    def failed(self) -> None:
        self._failures.append(self._clock.seconds())

    def success_ages(self) -> list[float]:
        """For the replacement: how many seconds ago the hand-offs of the last hour were.

        The one to that replacement is included.
        """
        now = self._clock.seconds()
        return [round(now - at, 3) for at in self._successes if now - at < THROTTLE_PERIOD] + [0.0]

    def next_try_in(self) -> float | None:
        """Seconds until the next hand-off may be tried, None when none is waited for."""
        left = self._failures[-1] + FAILURE_DELAY - self._clock.seconds() if self._failures else 0.0
        return left if left > 0 else None


def reason_to_postpone(
    runner: HandoffRunner, supervision: Supervision, throttle: UpgradeThrottle, has_command: bool
) -> str | None:
    """Why the installed build cannot be started now, None when it can.

    `has_command`: the command line that starts the runner again is known.
    """
    mode = supervision.mode
    if mode == "none" or (mode != "restart" and not has_command):
        return f"only {supervision.by} may restart this runner"
    if mode == "restart":
        if (wait := throttle.reason_to_wait()) is not None:
            return wait
        live = len(runner.sessions.children.live())
        if live:
            return f"{supervision.by} restarts this runner when its {live} live sessions have ended"
        return None
    if not runner.hub.registered or runner.hub.status(runner.options)["phase"] != "connected":
        return "the hub is not connected, so a replacement could not prove that it works"
    if reason := runner.sessions.drain.reason_to_stay:
        return reason
    return throttle.reason_to_wait()
