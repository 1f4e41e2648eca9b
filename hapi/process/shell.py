"""The shell that people open on the page: whether this machine lets them, which program it is, and
what is in its environment."""

from __future__ import annotations

import os
import pwd
from collections.abc import Mapping
from typing import Any

from hapi.settings import configuration_error

FLAG, VARIABLE, KEY = "--terminal", "HAPI_TERMINAL", "terminal"
_SWITCH = {"yes": True, "on": True, "true": True, "1": True}
_SWITCH |= {"no": False, "off": False, "false": False, "0": False}
# What says who this session is to hub and runner, and npm's programs take out as well.
SECRETS = frozenset(
    {
        *("CLI_API_TOKEN", "HAPI_API_URL", "HAPI_EXTRA_HEADERS_JSON", "ANTHROPIC_API_KEY"),
        *("HAPI_ATTEMPT", "HAPI_AGENT_START", "HAPI_TERMINAL", "HAPI_GIT_ACTIONS"),
        *("HAPI_TELEGRAM_BOT_TOKEN", "TELEGRAM_BOT_TOKEN", "NOTIFY_SOCKET", "LISTEN_FDS"),
        *("LISTEN_PID", "COLUMNS", "LINES"),
    }
)
MARK = "HAPI_TERMINAL_ID"  # in the environment of all that a terminal starts


def read_terminal(
    environ: Mapping[str, str],
    settings: Mapping[str, Any],
    flag: str | None = None,
    has_roots: bool = False,
) -> bool:
    """Whether people may open a shell in sessions of this machine: the setting of the flag, else
    of the variable, else of `settings.json`.

    Without any: yes, unless workspace roots confine sessions (`has_roots`), which a shell would
    leave. Raises ConfigurationError.
    """
    named = {FLAG: flag, VARIABLE: environ.get(VARIABLE)}
    named[f"{KEY} in settings.json"] = settings.get(KEY)
    for name, given in named.items():
        if given is None or given == "":
            continue
        found = given if isinstance(given, bool) else _SWITCH.get(str(given).strip().lower())
        if found is None:
            raise configuration_error(name, f"{name} is {given!r}: it must be yes or no")
        return found
    return not has_roots


def shell_program(environ: Mapping[str, str]) -> str:
    """The person's shell: that of the environment, else of the account, else /bin/sh."""
    candidates = [environ.get("SHELL", "")]
    try:
        candidates.append(pwd.getpwuid(os.getuid()).pw_shell)
    except KeyError:  # a user without an entry, as in some containers
        pass
    usable = (path for path in candidates if os.path.isabs(path) and os.access(path, os.X_OK))
    return next(usable, "/bin/sh")


def shell_environment(environ: Mapping[str, str], terminal_id: str) -> dict[str, str]:
    """The environment of a shell: ours without what is secret or only ours."""
    kept = {name: value for name, value in environ.items() if name not in SECRETS}
    return {**kept, "TERM": "xterm-256color", "COLORTERM": "truecolor", MARK: terminal_id}
