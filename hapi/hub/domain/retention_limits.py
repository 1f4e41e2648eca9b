"""The limits of retention: how long sessions are kept, and how large the database may be."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from attrs import frozen

from hapi.settings import configuration_error
from hapi.units import format_duration, format_size, parse_duration, parse_size

MIN_KEPT_AGE = 3600.0  # seconds: the shortest age that can be set
MIN_DATABASE_SIZE = 10 << 20  # bytes: the smallest size that can be set


@frozen
class RetentionLimits:
    """How long sessions are kept and how large the database may be. None means no limit."""

    keep_sessions: float | None = None  # seconds since a session was last used
    database_size: int | None = None  # bytes

    @classmethod
    def read(
        cls, flags: Mapping[str, Any], environ: Mapping[str, str], settings: Mapping[str, Any]
    ) -> RetentionLimits:
        """Read each limit from `flags` (`keep_sessions`, `max_database_size`), else from the
        environment, else from the settings. Raises ConfigurationError.
        """

        def read(flag: str, key: str, parse: Callable[[str], Any]) -> Any:
            variable = f"HAPI_{flag.upper()}"
            for name, value in (
                (f"--{flag.replace('_', '-')}", flags.get(flag)),
                (variable, environ.get(variable)),
                (f"{key} in settings.json", settings.get(key)),
            ):
                if value is None or (value == "" and name == variable):
                    continue
                try:
                    return parse(str(value))
                except ValueError as error:
                    raise configuration_error(name, f"{name} {value!r}: {error}") from error
            return None

        return cls(
            read("keep_sessions", "keepSessions", _kept_age),
            read("max_database_size", "maxDatabaseSize", _database_size),
        )


NO_LIMITS = RetentionLimits()


def _kept_age(text: str) -> float:
    seconds = parse_duration(text)
    if seconds < MIN_KEPT_AGE:
        raise ValueError(f"it must be at least {format_duration(MIN_KEPT_AGE)}")
    return seconds


def _database_size(text: str) -> int:
    size = parse_size(text)
    if size < MIN_DATABASE_SIZE:
        raise ValueError(f"it must be at least {format_size(MIN_DATABASE_SIZE)}")
    return size
