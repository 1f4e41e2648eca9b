"""Limits of admission: how many sessions run at once, how much memory stays free, how long the
queue is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from attrs import frozen

from hapi.settings import configuration_error
from hapi.units import parse_size


@frozen
class AdmissionLimits:
    """What must hold for one more session to start. None means no limit."""

    sessions: int | None = None  # sessions that may run at once
    free_memory: int | None = None  # bytes that must be free before a start
    queue: int = 0  # starts that may wait for a free slot

    @classmethod
    def read(
        cls, flags: Mapping[str, Any], environ: Mapping[str, str], settings: Mapping[str, Any]
    ) -> AdmissionLimits:
        """Read each limit from `flags` (`max_sessions`, `min_free_memory`, `queue`), else from the
        environment, else from the settings. Raises ConfigurationError."""

        def read(flag: str, variable: str, key: str, parse: Callable[[str], int]) -> int | None:
            for name, value in (
                (f"--{flag.replace('_', '-')}", flags.get(flag)),
                (variable, environ.get(variable)),
                (f"{key} in settings.json", settings.get(key)),
            ):
                if value is None or value == "":
                    continue
                try:
                    return parse(str(value))
                except ValueError as error:
                    raise configuration_error(name, f"{name} {value!r}: {error}") from error
            return None

        return cls(
            read("max_sessions", "HAPI_RUNNER_MAX_SESSIONS", "maxSessions", parse_count),
            read("min_free_memory", "HAPI_RUNNER_MIN_FREE_MEMORY", "minFreeMemory", parse_size),
            read("queue", "HAPI_RUNNER_QUEUE", "spawnQueue", parse_count) or 0,
        )


def parse_count(text: str) -> int:
    """Read a whole number of at most nine digits. Raises ValueError."""
    if not text.isascii() or not text.isdecimal() or len(text) > 9:
        raise ValueError("it must be a whole number, 0 or more")
    return int(text)
