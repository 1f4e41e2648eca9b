"""Service files that make systemd, supervisord or launchd run a runner. Pure: facts in, text out.

With each of them the supervisor stops the runner alone, leaves its sessions running, and acts on
the runner's exit codes.
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
LABEL = "dev.hapi.runner"  # launchd: a name in reverse-domain form
STOP_TIMEOUT = 20  # seconds; a runner takes less than two
WATCHDOG = 60  # seconds without a sign of life after which systemd restarts the runner


@frozen
class Installation:
    """What a service runs: `argv` starts with an absolute path, `environment` has no secrets."""

    argv: tuple[str, ...]
    environment: Mapping[str, str] = field(factory=dict)
    user: str = ""
    log: str = ""  # for launchd, which has no log of its own


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
    """A service unit (systemd.service(5)). KillMode=process: sessions survive a stop or restart."""
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
        "# Sessions keep running when the runner is stopped, restarted or upgraded.",
        "KillMode=process",
        f"WatchdogSec={WATCHDOG}",
        "Restart=on-failure",
        "RestartSec=5",
        "# 2: usage error, 3: another runner in this home, 4: another has taken over; 75: restart.",
        "RestartPreventExitStatus=2 3 4",
        "RestartForceExitStatus=75",
        f"TimeoutStopSec={STOP_TIMEOUT}",
        "",
        "[Install]",
        f"WantedBy={'default' if of_user else 'multi-user'}.target",
    ]
    return "\n".join(lines) + "\n"


def _word(text: str, *, dollars: bool = False) -> str:
    """One word for systemd (systemd.syntax(7)), quoted if needed; `%`, or also `$`, is doubled."""
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
    """A program section. Sessions lead process groups of their own, out of reach of its signals."""
    pairs = ",".join(f"{name}={_in_quotes(_percents(value))}" for name, value in _environment(what))
    lines = [
        f"[program:{NAME}]",
        f"command={_percents(shlex.join(what.argv))}",
        f"environment={pairs}",
        *([f"user={what.user}"] if what.user else []),
        "autostart=true",
        "; 0: stopped, 2: usage error, 3: another runner in this home, 4: another has taken over;",
        "; any other status: restart",
        "autorestart=unexpected",
        "exitcodes=0,2,3,4",
        "startsecs=2",
        "startretries=10",
        "stopsignal=TERM",
        f"stopwaitsecs={STOP_TIMEOUT}",
        "stopasgroup=false",
        "killasgroup=false",
    ]
    return "\n".join(lines) + "\n"


def _percents(text: str) -> str:
    return text.replace("%", "%%")


def _in_quotes(text: str) -> str:
    """`text` in quotes; supervisord has two kinds of quotes and no escapes."""
    return f"'{text}'" if '"' in text else f'"{text}"'


def launchd(what: Installation) -> str:
    """A property list (launchd.plist(5)). AbandonProcessGroup: sessions survive the runner."""
    found = {
        "Label": LABEL,
        "ProgramArguments": list(what.argv),
        "EnvironmentVariables": dict(_environment(what)),
        "RunAtLoad": True,
        "KeepAlive": {"SuccessfulExit": False},
        "ThrottleInterval": 10,
        "ExitTimeOut": STOP_TIMEOUT,
        "AbandonProcessGroup": True,
        "ProcessType": "Interactive",
        **({"StandardOutPath": what.log, "StandardErrorPath": what.log} if what.log else {}),
    }
    return plistlib.dumps(found, sort_keys=False).decode()


def _environment(what: Installation) -> list[tuple[str, str]]:
    return sorted({**what.environment, "HAPI_RUNNER_SUPERVISED": "1"}.items())
