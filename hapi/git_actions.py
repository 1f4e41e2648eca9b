"""Whether people may change repositories from the page: a setting of hubs and of machines, off by
default. Both have to be on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hapi.settings import configuration_error

FLAG, VARIABLE, KEY = "--git-actions", "HAPI_GIT_ACTIONS", "gitActions"
_SWITCH = {"yes": True, "on": True, "true": True, "1": True}
_SWITCH |= {"no": False, "off": False, "false": False, "0": False}


def read_git_actions(
    environ: Mapping[str, str], settings: Mapping[str, Any], flag: str | None = None
) -> bool:
    """The setting of the flag, else of the variable, else of `settings.json`. Raises
    ConfigurationError."""
    named = {FLAG: flag, VARIABLE: environ.get(VARIABLE)}
    named[f"{KEY} in settings.json"] = settings.get(KEY)
    for name, given in named.items():
        if given is None or given == "":
            continue
        found = given if isinstance(given, bool) else _SWITCH.get(str(given).strip().lower())
        if found is None:
            raise configuration_error(name, f"{name} is {given!r}: it must be yes or no")
        return found
    return False
