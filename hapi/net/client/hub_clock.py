"""The hub's time, for what this machine writes on the wire.

A machine whose clock is wrong can be used all the same: npm's hub ignores signs of life that are
older than ten minutes, and times of people's messages and of agents' answers belong on one scale.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from datetime import UTC, datetime

from attrs import define

# Seconds by which two clocks may differ before ours is taken for wrong. The `Date` header has whole
# seconds, and its way takes time.
MAX_DIFFERENCE = 5.0

MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_DATE = re.compile(r"[A-Z][a-z]{2}, (\d\d) ([A-Z][a-z]{2}) (\d{4}) (\d\d):(\d\d):(\d\d) GMT")


def read_date(text: str) -> float:
    """Epoch seconds of a `Date` header (RFC 9110 5.6.7). Raises ValueError and OverflowError.

    `email.utils` would read it as well, but takes 0.3 MB of each session; what does not have the
    form that servers have to write is left to it.
    """
    found = _DATE.fullmatch(text)
    if found is None:
        from email.utils import parsedate_to_datetime

        return parsedate_to_datetime(text).timestamp()
    day, month, year, hour, minute, second = found.groups()
    at = (int(year), MONTHS.index(month) + 1, int(day), int(hour), int(minute))
    return datetime(*at, tzinfo=UTC).timestamp() + int(second)  # 60 is a leap second


def elapsed_seconds() -> float:
    """Seconds of a clock that nobody sets, and that goes on while the machine is suspended."""
    name = getattr(time, "CLOCK_BOOTTIME", None)  # Linux
    return time.monotonic() if name is None else time.clock_gettime(name)


@define(eq=False, repr=False)
class HubClock:
    """Epoch seconds by the hub's clock, and by ours until the hub has told its time.

    From then on, nobody who sets this machine's clock changes it.
    """

    _wall: Callable[[], float] = time.time
    _elapsed: Callable[[], float] = elapsed_seconds
    _base: tuple[float, float] | None = None  # the hub's time, and `_elapsed` then

    def observe(self, date: str | None) -> None:
        """Take the hub's time from the `Date` header of an answer that has just arrived.

        May be called in any thread. Headers that are no dates are ignored.
        """
        try:
            told = read_date(date or "")
        except (ValueError, TypeError, OverflowError):
            return
        ours = self._wall()
        hub = ours if abs(told - ours) <= MAX_DIFFERENCE else told + 0.5
        self._base = hub, self._elapsed()

    def seconds(self) -> float:
        """Seconds since the epoch."""
        if self._base is None:
            return self._wall()
        hub, since = self._base
        return hub + self._elapsed() - since

    def milliseconds(self) -> int:
        """Milliseconds since the epoch, as the wire has them."""
        return int(self.seconds() * 1000)
