"""The shell that people open on the page: which program it is, and what is in its environment."""

from __future__ import annotations

import os
import pwd
from collections.abc import Mapping

# What says who this session is to hub and runner, and npm's programs take out as well.
SECRETS = frozenset(
    {
        *("CLI_API_TOKEN", "HAPI_API_URL", "HAPI_EXTRA_HEADERS_JSON", "ANTHROPIC_API_KEY"),
        *("HAPI_ATTEMPT", "HAPI_AGENT_START", "HAPI_TERMINAL", "HAPI_GIT_ACTIONS"),
        *("HAPI_TELEGRAM_BOT_TOKEN", "TELEGRAM_BOT_TOKEN", "NOTIFY_SOCKET", "LISTEN_FDS"),
        *("HAPI_DATABASE", "LISTEN_PID", "COLUMNS", "LINES"),
    }
)
MARK = "HAPI_TERMINAL_ID"  # in the environment of all that a terminal starts


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
