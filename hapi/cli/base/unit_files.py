"""The texts that make a supervisor keep a runner: systemd, supervisord, launchd. Pure: facts in, text out.

Each of them ends the runner alone and leaves its sessions, and takes the runner's exit codes for what they mean.
"""

from __future__ import annotations

import plistlib
import shlex
from collections.abc import Mapping
from typing import Literal

from attrs import field, frozen

Kind = Literal["systemd-user", "systemd", "supervisord", "launchd"]
KINDS: tuple[Kind, ...] = ("systemd-user", "systemd", "supervisord", "launchd")

NAME = "hapi-runner"
LABEL = "dev.hapi.runner"  # launchd wants a name that reads like a domain
STOP_WITHIN = 20  # seconds; a runner takes less than two
WATCHDOG = 60  # seconds without a sign of life after which systemd starts the runner again


@frozen
class Installation:
    """What is to be kept: `argv` from the program's absolute path on, `environment` without any secret."""

    argv: tuple[str, ...]
    environment: Mapping[str, str] = field(factory=dict)
    user: str = ""
    log: str = ""  # launchd alone has no log of its own


def text_of(kind: Kind, what: Installation) -> str:
    match kind:
        case "systemd-user":
            return systemd(what, of_user=True)
        case "systemd":
            return systemd(what, of_user=False)
        case "supervisord":
            return supervisord(what)
        case "launchd":
            return launchd(what)


def systemd(what: Installation, *, of_user: bool) -> str:
    """A service unit (systemd.service(5)). KillMode=process: a stop or restart ends the runner, not its sessions."""
    lines = [
        "[Unit]",
        "Description=HAPI runner",
        *([] if of_user else ["Wants=network-online.target", "After=network-online.target"]),
        "",
        "[Service]",
        "Type=notify",
        *([] if of_user else [f"User={_specifiers(what.user)}"]),
        f"ExecStart={' '.join(_word(word, dollars=True) for word in what.argv)}",
        *(f"Environment={_word(f'{name}={value}')}" for name, value in _environment(what)),
        "# The sessions live on when the runner is stopped, restarted or upgraded.",
        "KillMode=process",
        f"WatchdogSec={WATCHDOG}",
        "Restart=on-failure",
        "RestartSec=5",
        "# 2: wrong usage, 3: another runner holds the home, 4: another one took it over; 75: please start me again.",
        "RestartPreventExitStatus=2 3 4",
        "RestartForceExitStatus=75",
        f"TimeoutStopSec={STOP_WITHIN}",
        "",
        "[Install]",
        f"WantedBy={'default' if of_user else 'multi-user'}.target",
    ]
    return "\n".join(lines) + "\n"


def _word(text: str, *, dollars: bool = False) -> str:
    """One word for systemd (systemd.syntax(7)): quoted where needed, `%` doubled, `$` too where it would be a variable."""
    escaped = (
        _specifiers(text)
        .replace("\\", "\\\\")
        .replace('"', '\\"')
        .replace("\n", "\\n")
        .replace("\t", "\\t")
    )
    if dollars:
        escaped = escaped.replace("$", "$$")
    plain = escaped and not set(escaped) & set(" '\"\\;") and not escaped.startswith("#")
    return escaped if plain else f'"{escaped}"'


def _specifiers(text: str) -> str:
    return text.replace("%", "%%")


def supervisord(what: Installation) -> str:
    """A program section. Sessions lead groups of their own, so a signal to the runner's group does not reach them."""
    pairs = ",".join(f"{name}={_in_quotes(_percents(value))}" for name, value in _environment(what))
    lines = [
        f"[program:{NAME}]",
        f"command={_percents(shlex.join(what.argv))}",
        f"environment={pairs}",
        *([f"user={what.user}"] if what.user else []),
        "autostart=true",
        "; 0: asked to stop, 2: wrong usage, 3: another runner holds the home, 4: it was taken over; all else starts it again",
        "autorestart=unexpected",
        "exitcodes=0,2,3,4",
        "startsecs=2",
        "startretries=10",
        "stopsignal=TERM",
        f"stopwaitsecs={STOP_WITHIN}",
        "stopasgroup=false",
        "killasgroup=false",
    ]
    return "\n".join(lines) + "\n"


def _percents(text: str) -> str:
    return text.replace("%", "%%")


def _in_quotes(text: str) -> str:
    """supervisord knows two kinds of quotes and no escapes."""
    return f"'{text}'" if '"' in text else f'"{text}"'


def launchd(what: Installation) -> str:
    """A property list for launchd.plist(5). AbandonProcessGroup: launchd leaves the sessions when the runner ends."""
    found = {
        "Label": LABEL,
        "ProgramArguments": list(what.argv),
        "EnvironmentVariables": dict(_environment(what)),
        "RunAtLoad": True,
        "KeepAlive": {"SuccessfulExit": False},
        "ThrottleInterval": 10,
        "ExitTimeOut": STOP_WITHIN,
        "AbandonProcessGroup": True,
        "ProcessType": "Interactive",
        **({"StandardOutPath": what.log, "StandardErrorPath": what.log} if what.log else {}),
    }
    return plistlib.dumps(found, sort_keys=False).decode()


def _environment(what: Installation) -> list[tuple[str, str]]:
    return sorted({**what.environment, "HAPI_RUNNER_SUPERVISED": "1"}.items())
