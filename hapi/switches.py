"""Settings that are on or off: what people may do from the page besides steering agents."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attrs import frozen

from hapi.settings import configuration_error

_WORDS = {"yes": True, "on": True, "true": True, "1": True}
_WORDS |= {"no": False, "off": False, "false": False, "0": False}


def parse_switch(value: object) -> bool | None:
    """The value of a setting that is on or off; None if it is neither."""
    return _WORDS.get(str(value).strip().lower())


@frozen
class Switch:
    """A setting of one name in three places: the flag, the environment variable, the key of
    `settings.json`."""

    flag: str
    variable: str
    key: str

    def read(
        self, environ: Mapping[str, str], settings: Mapping[str, Any], flag: str | None
    ) -> bool | None:
        """The first place that says something; None where none does. Raises ConfigurationError."""
        named = {self.flag: flag, self.variable: environ.get(self.variable)}
        named[f"{self.key} in settings.json"] = settings.get(self.key)
        for name, given in named.items():
            if given is None or given == "":
                continue
            if (found := parse_switch(given)) is None:
                raise configuration_error(name, f"{name} is {given!r}: it must be yes or no")
            return found
        return None


GIT_ACTIONS = Switch("--git-actions", "HAPI_GIT_ACTIONS", "gitActions")
TERMINAL = Switch("--terminal", "HAPI_TERMINAL", "terminal")


def read_git_actions(
    environ: Mapping[str, str], settings: Mapping[str, Any], flag: str | None = None
) -> bool:
    """Whether people may change repositories from the page, which hub and machine both have to
    allow. Without any setting: no. Raises ConfigurationError."""
    return GIT_ACTIONS.read(environ, settings, flag) or False


def read_terminal(
    environ: Mapping[str, str],
    settings: Mapping[str, Any],
    flag: str | None = None,
    has_roots: bool = False,
) -> bool:
    """Whether people may open a shell in sessions of this machine.

    Without any setting: yes, unless workspace roots confine sessions (`has_roots`), which a shell
    would leave. Raises ConfigurationError.
    """
    found = TERMINAL.read(environ, settings, flag)
    return not has_roots if found is None else found
