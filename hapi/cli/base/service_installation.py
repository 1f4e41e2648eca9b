"""What `hapi runner install-service` and `hapi hub install-service` share: the options, the facts
of the service, and putting its file in place.
"""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import click
from attrs import frozen

from hapi.cli.base.errors import CommandError
from hapi.cli.base.output import echo, warn
from hapi.cli.base.service_account import Account
from hapi.cli.base.unit_files import KINDS, RUNNER, Installation, Kind, Service, text_of
from hapi.home import read_capped, write_atomically
from hapi.redaction import escape_control

COMMON_VARIABLES = ("SSL_CERT_FILE", "SSL_CERT_DIR", "HAPI_LOG_LEVEL", "HAPI_LOG_FORMAT")
_OPTIONS = (
    click.option(
        "--kind",
        type=click.Choice(KINDS),
        help="Supervisor to create the file for. [default: systemd-user; launchd on macOS]",
    ),
    click.option(
        "--write",
        is_flag=True,
        help="Write the file where the supervisor looks for it. [default: print it]",
    ),
    click.option(
        "--to",
        "path",
        type=click.Path(path_type=Path, dir_okay=False),
        metavar="FILE",
        help="Write to FILE instead.",
    ),
    click.option("--force", is_flag=True, help="Replace an existing file that differs."),
    click.option(
        "--user",
        metavar="NAME",
        help="User that runs the service (systemd, supervisord). [default: the current user]",
    ),
)


def installation_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that say which file is written and where."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


@frozen
class Target:
    """Which file is wanted, and where; the values of `installation_options`."""

    kind: Kind
    write: bool = False
    path: Path | None = None
    force: bool = False
    user: str | None = None

    @classmethod
    def chosen(
        cls, kind: Kind | None, write: bool, path: Path | None, force: bool, user: str | None
    ) -> Target:
        return cls(kind or default_kind(), write or path is not None, path, force, user)


def service_environment(
    environ: Mapping[str, str], user: str | None, is_home_given: bool
) -> Mapping[str, str]:
    """The variables that count for a service of `user`. HAPI_HOME of the current user is no
    concern of another one: only `--home` names a home for the service of somebody else.
    """
    named, account = environ.get("HAPI_HOME"), Account.find(user)
    if not named or account.is_current or is_home_given:
        return environ
    warn(
        f"HAPI_HOME={escape_control(named)} is not used for the service of {account.name}; "
        "--home DIR names another home than the .hapi of that user"
    )
    return {name: value for name, value in environ.items() if name != "HAPI_HOME"}


def default_kind(platform: str = sys.platform) -> Kind:
    return "launchd" if platform == "darwin" else "systemd-user"


def destination(kind: Kind, environ: Mapping[str, str], service: Service = RUNNER) -> Path:
    """Where the supervisor looks for its files."""
    home = Path(environ.get("HOME") or Path.home())
    match kind:
        case "systemd-user":
            config = Path(environ.get("XDG_CONFIG_HOME") or home / ".config")
            return config / "systemd/user" / f"{service.name}.service"
        case "systemd":
            return Path(f"/etc/systemd/system/{service.name}.service")
        case "supervisord":
            return Path(f"/etc/supervisor/conf.d/{service.name}.conf")
        case "launchd":
            return home / "Library/LaunchAgents" / f"{service.label}.plist"


def next_steps(kind: Kind, what: Installation, *, is_replaced: bool = False) -> list[str]:
    """The commands that start the service once its file is in place, or start it again if the
    file replaced another one.
    """
    name, label = what.service.name, what.service.label
    match kind:
        case "systemd-user" | "systemd" if is_replaced:
            systemctl = "systemctl --user" if kind == "systemd-user" else "systemctl"
            return [f"{systemctl} daemon-reload", f"{systemctl} restart {name}"]
        case "systemd-user":
            return [
                "systemctl --user daemon-reload",
                f"systemctl --user enable --now {name}",
                'loginctl enable-linger "$USER"        # or it stops when you log out',
            ]
        case "systemd":
            return ["systemctl daemon-reload", f"systemctl enable --now {name}"]
        case "supervisord":
            return ["supervisorctl reread", "supervisorctl update"]
        case "launchd":
            return [f"launchctl bootstrap gui/$(id -u) ~/Library/LaunchAgents/{label}.plist"]


def installation(
    service: Service,
    words: Sequence[str],
    environ: Mapping[str, str],
    target: Target,
    variables: Sequence[str] = (),
    *,
    binds_low_port: bool = False,
) -> Installation:
    """The service of this program with the command line `words`, for the user of `target`.

    PATH is included, because agents are looked up there and supervisors have a minimal one, and
    those of `variables` that are set. Tokens are not: every user can read a unit file. Raises
    CommandError for text that fits in no file, and for a user who cannot run this program or use
    the home; HomeUnusable.
    """
    account = Account.find(target.user)
    if not account.is_current and target.kind in ("systemd-user", "launchd"):
        raise CommandError(
            f"a service of the kind {target.kind} runs as the user who installs it: run this "
            f"command as {account.name}, or use --kind systemd or --kind supervisord"
        )
    home = account.home(environ)
    path = os.pathsep.join(dict.fromkeys(account.search_path(environ).split(os.pathsep)))
    kept = (*COMMON_VARIABLES, *variables)
    environment = {name: environ[name] for name in kept if environ.get(name)}
    environment |= {"HAPI_HOME": str(home.path)} | ({"PATH": path} if path else {})
    if target.kind == "supervisord":  # systemd sets them for User=
        environment |= account.login_environment
    argv = (*our_program(), *words)
    for text in (*argv, *environment.values(), account.name):
        if any(sign in text for sign in "\n\r\0"):
            raise CommandError(
                f"{escape_control(text)!r} contains a line break, which no service file can contain"
            )
    if not account.check_can_run(our_program(), environment):
        warn(
            f"only root can find out the PATH of {account.name} and whether that user can run "
            f"{argv[0]}; check both in the file"
        )
    log = str(home.path / "logs/launchd.out")
    return Installation(argv, environment, account.name, log, service, binds_low_port)


def our_program() -> tuple[str, ...]:
    ours = Path(sys.executable).with_name("hapi")
    return (
        (str(ours),)
        if ours.is_file() and os.access(ours, os.X_OK)
        else (sys.executable, "-P", "-m", "hapi")
    )


def token_hint(what: Installation) -> str:
    """Where the service has its access token from, as it is not in the file."""
    if what.service is not RUNNER:
        return "The file contains no token; the hub's is in settings.json, made at its first start"
    become = (
        ["runuser", "-u", what.user, "--", "env"]
        if os.geteuid() == 0
        else ["sudo", "-u", what.user]
    )
    words = [*become, f"HAPI_HOME={what.environment['HAPI_HOME']}"]
    login = shlex.join([*words, *our_program(), "auth", "login"])
    is_other = what.user not in ("", Account.find(None).name)
    return (
        "The file contains no token; "
        f"`{login if is_other else 'hapi auth login'}` saves it in settings.json"
    )


def install(target: Target, what: Installation) -> None:
    """Print the file, or write it; one that differs is replaced only with `force`.

    Raises CommandError.
    """
    path = target.path or destination(target.kind, os.environ, what.service)
    try:
        text = text_of(target.kind, what)
    except ValueError as error:
        raise CommandError(str(error)) from error
    if target.kind in ("systemd", "supervisord") and what.user == "root" != target.user:
        warn("the service will run as root; --user NAME makes it run as another user")
    if not target.write:
        print(text, end="", flush=True)
        warn(f"nothing was written; --write writes this to {path}. {token_hint(what)}")
        return
    try:
        before = read_capped(path)
        if before == text.encode():
            echo(f"{escape_control(path)} is up to date")
            return
        if before is not None and not target.force:
            raise CommandError(
                f"{path} exists and differs; compare the two, then use --force to replace it"
            )
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, text.encode(), 0o644)
    except (OSError, ValueError) as error:
        raise CommandError(
            f"{path} cannot be written: {getattr(error, 'strerror', None) or error}"
        ) from error
    echo(f"{escape_control(path)} has been written. {escape_control(token_hint(what))}. Next, run:")
    for line in next_steps(target.kind, what, is_replaced=before is not None):
        echo(f"  {line}")
