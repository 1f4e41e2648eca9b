"""Points in time and durations for people."""

from __future__ import annotations

import time

from hapi.cli.base.output import plural

UNITS = (("day", 86400), ("hour", 3600), ("minute", 60), ("second", 1))  # seconds each


def duration(seconds: float) -> str:
    """A duration in its largest unit: "1 minute", "2 hours"."""
    seconds = max(round(seconds), 0)
    for unit, size in UNITS:
        if seconds >= size:
            return plural(seconds // size, unit)
    return "0 seconds"


def ago(at: float, now: float) -> str:
    """How long ago `at` (milliseconds since the epoch) was; `now` in seconds."""
    return f"{duration(now - at / 1000)} ago"


def local_time(at: float) -> str:
    """`at` (milliseconds since the epoch) as local time."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(at / 1000))
