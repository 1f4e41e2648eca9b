"""After which time an idle agent rests: from a flag, the environment or settings.json."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hapi.settings import configuration_error
from hapi.units import parse_idle_time

FLAG, VARIABLE, KEY = "--idle-agent", "HAPI_IDLE_AGENT", "idleAgent"


def read_idle_limit(
    environ: Mapping[str, str], settings: Mapping[str, Any], flag: str | None = None
) -> float | None:
    """The seconds; None if agents never rest, which is the default. Raises ConfigurationError."""
    named = {FLAG: flag, VARIABLE: environ.get(VARIABLE), f"{KEY} in settings.json": None}
    named[f"{KEY} in settings.json"] = settings.get(KEY)
    for name, given in named.items():
        if given in (None, ""):
            continue
        try:
            return parse_idle_time(str(given))
        except ValueError as error:
            raise configuration_error(name, f"{name} is {given!r}: {error}") from error
    return None


def own_idle_time(given: str | None, stored: Any) -> str | None:
    """The idle time of one session's own, such as `30m`: as it was started with, or as its row's
    metadata has it since an earlier start. None: it has none, and the setting of the machine holds.
    """
    if given:
        return given
    found = stored.get(KEY) if isinstance(stored, Mapping) else None
    try:
        parse_idle_time(str(found))
    except ValueError:
        return None
    return str(found)
