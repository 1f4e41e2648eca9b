"""Whether a session in a terminal begins with the agent's own program (local) or not (remote)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hapi.protocol.session import Mode
from hapi.settings import configuration_error

VARIABLE, KEY = "HAPI_STARTING_MODE", "startingMode"
MODES: Mapping[str, Mode] = {"local": "local", "remote": "remote"}


def read_starting_mode(environ: Mapping[str, str], settings: Mapping[str, Any]) -> Mode | None:
    """What the variable says, else the settings; None where neither does. Raises
    ConfigurationError."""
    named = {VARIABLE: environ.get(VARIABLE), f"{KEY} in settings.json": settings.get(KEY)}
    for name, given in named.items():
        if given is None or given == "":
            continue
        if not isinstance(given, str) or given not in MODES:
            raise configuration_error(name, f"{name} is {given!r}: it must be local or remote")
        return MODES[given]
    return None
