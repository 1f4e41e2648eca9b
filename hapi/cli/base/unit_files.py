"""Service files that make systemd, supervisord or launchd run a runner or a hub. Pure: facts in,
text out.

With each of them the supervisor stops the program alone, leaves the sessions running, and acts on
the program's exit codes.
"""

from __future__ import annotations

import plistlib
import shlex
from collections.abc import Mapping
from typing import Literal

from attrs import field, frozen

Kind = Literal["systemd-user", "systemd", "supervisord", "launchd"]
KINDS: tuple[Kind, ...] = ("systemd-user", "systemd", "supervisord", "launchd")

STOP_TIMEOUT = 20  # seconds; a runner takes less than two, a hub less than eight
WATCHDOG = 60  # seconds without a sign of life after which systemd restarts the runner


@frozen
class Service:
    """One of our programs, as far as it matters to a supervisor."""

    name: str  # of the unit or section
    description: str
    label: str  # launchd: a name in reverse-domain form
    final_exit_codes: Mapping[int, str]  # after which a restart does not help, and what they mean
    has_watchdog: bool = False
    keeps_children: bool = False  # sessions, which outlive it
    environment: Mapping[str, str] = field(factory=dict)


RUNNER = Service(
    "hapi-runner",
    "HAPI runner",
    "dev.hapi.runner",
    {2: "usage error", 3: "another runner in this home", 4: "another has taken over"},
    has_watchdog=True,
    keeps_children=True,
    environment={"HAPI_RUNNER_SUPERVISED": "1"},
)
HUB = Service(
    "hapi-hub",
    "HAPI hub",
    "dev.hapi.hub",
    {2: "usage error", 3: "another hub on this home or database"},
)


@frozen
class Installation:
    """What a service runs: `argv` starts with an absolute path, `environment` has no secrets.

    `binds_low_port`: it listens on a port that only root may listen on by default. `stop_timeout`:
    seconds that it gets to stop before it is killed.
    """

    argv: tuple[str, ...]
    environment: Mapping[str, str] = field(factory=dict)
    user: str = ""
    log: str = ""  # for launchd, which has no log of its own
    service: Service = RUNNER
    binds_low_port: bool = False
    stop_timeout: int = STOP_TIMEOUT


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
    service = what.service
    codes = service.final_exit_codes
    meanings = ", ".join(f"{code}: {meaning}" for code, meaning in codes.items())
    lines = [
        "[Unit]",
        f"Description={service.description}",
        *([] if of_user else ["Wants=network-online.target", "After=network-online.target"]),
        "",
        "[Service]",
        "Type=notify",
        *([] if of_user else [f"User={_specifiers(what.user)}"]),
        f"ExecStart={' '.join(_word(word, dollars=True) for word in what.argv)}",
        "ExecReload=/bin/kill -HUP $MAINPID",
        *(f"Environment={_word(f'{name}={value}')}" for name, value in _environment(what)),
    ]
    if service.keeps_children:
        lines += [
            "# Sessions keep running when the runner is stopped, restarted or upgraded.",
            "KillMode=process",
        ]
    if what.binds_low_port and not of_user and what.user != "root":
        lines += ["AmbientCapabilities=CAP_NET_BIND_SERVICE"]
    lines += [
        *([f"WatchdogSec={WATCHDOG}"] if service.has_watchdog else []),
        "Restart=on-failure",
        "RestartSec=5",
        f"# {meanings}; 75: restart.",
        f"RestartPreventExitStatus={' '.join(map(str, codes))}",
        "RestartForceExitStatus=75",
        f"TimeoutStopSec={what.stop_timeout}",
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
    """A program section. Sessions lead process groups of their own, out of reach of its signals.

    Raises ValueError for text that such a file cannot contain.
    """
    service = what.service
    pairs = ",".join(f"{name}={_in_quotes(_percents(value))}" for name, value in _environment(what))
    codes = {0: "stopped", **service.final_exit_codes}
    meanings = ", ".join(f"{code}: {meaning}" for code, meaning in codes.items())
    lines = [
        f"[program:{service.name}]",
        f"command={_percents(shlex.join(what.argv))}",
        f"environment={pairs}",
        *([f"user={_percents(what.user)}"] if what.user else []),
    ]
    for line in lines[1:]:
        # supervisord's parser takes a semicolon or number sign after a space for a comment
        if any(sign in line for sign in (" ;", " #", "\t;", "\t#")):
            raise ValueError(
                "supervisord takes a semicolon or a number sign after a space for the start of a "
                f"comment, so that no section can contain {line.partition('=')[2]}"
            )
    lines += [
        "autostart=true",
        f"; {meanings};",
        "; any other status: restart",
        "autorestart=unexpected",
        f"exitcodes={','.join(map(str, codes))}",
        "startsecs=2",
        "startretries=10",
        "stopsignal=TERM",
        f"stopwaitsecs={what.stop_timeout}",
        "stopasgroup=false",
        "killasgroup=false",
    ]
    return "\n".join(lines) + "\n"


def _percents(text: str) -> str:
    return text.replace("%", "%%")


def _in_quotes(text: str) -> str:
    """`text` in quotes; supervisord has two kinds of quotes and no escapes."""
    if '"' in text and "'" in text:
        raise ValueError(
            f"supervisord has no way to write {text}, which contains both kinds of quotes"
        )
    return f"'{text}'" if '"' in text else f'"{text}"'


def launchd(what: Installation) -> str:
    """A property list (launchd.plist(5)). AbandonProcessGroup: sessions survive the runner."""
    found = {
        "Label": what.service.label,
        "ProgramArguments": list(what.argv),
        "EnvironmentVariables": dict(_environment(what)),
        "RunAtLoad": True,
        "KeepAlive": {"SuccessfulExit": False},
        "ThrottleInterval": 10,
        "ExitTimeOut": what.stop_timeout,
        "AbandonProcessGroup": what.service.keeps_children,
        "ProcessType": "Interactive",
        **({"StandardOutPath": what.log, "StandardErrorPath": what.log} if what.log else {}),
    }
    return plistlib.dumps(found, sort_keys=False).decode()


def _environment(what: Installation) -> list[tuple[str, str]]:
    return sorted({**what.environment, **what.service.environment}.items())
