"""`hapi runner install-service`: the file that makes a supervisor run this runner."""

from __future__ import annotations

import getpass
import os
import pwd
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click
from attrs import evolve

from hapi.cli.base.errors import CommandError, exit_codes_epilog
from hapi.cli.base.flags import RunnerFlags
from hapi.cli.base.output import echo, warn
from hapi.cli.base.runner_options import runner_flags, runner_options
from hapi.cli.base.unit_files import KINDS, LABEL, NAME, Installation, Kind, text_of
from hapi.home import Home, read_capped, write_atomically
from hapi.redaction import escape_control

INHERITED_VARIABLES = (  # a service would not have them
    "HAPI_HOSTNAME",
    "HAPI_CLI_EXECUTABLE",
    "HAPI_API_URL",
    "XDG_CONFIG_HOME",
)
NEXT_STEPS: dict[Kind, tuple[str, ...]] = {
    "systemd-user": (
        "systemctl --user daemon-reload",
        f"systemctl --user enable --now {NAME}",
        'loginctl enable-linger "$USER"        # or the runner stops when you log out',
    ),
    "systemd": ("systemctl daemon-reload", f"systemctl enable --now {NAME}"),
    "supervisord": ("supervisorctl reread", "supervisorctl update"),
    "launchd": (f"launchctl bootstrap gui/$(id -u) ~/Library/LaunchAgents/{LABEL}.plist",),
}
TOKEN_HINT = "The file contains no token; `hapi auth login` saves it in settings.json"


@click.command(
    "install-service",
    epilog=exit_codes_epilog(),
    short_help="Create a systemd, supervisord or launchd service.",
)
@runner_options
@click.option(
    "--kind",
    type=click.Choice(KINDS),
    help="Supervisor to create the file for. [default: systemd-user; launchd on macOS]",
)
@click.option(
    "--write",
    is_flag=True,
    help="Write the file where the supervisor looks for it. [default: print it]",
)
@click.option(
    "--to",
    "path",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Write to FILE instead.",
)
@click.option("--force", is_flag=True, help="Replace an existing file that differs.")
@click.option(
    "--user",
    metavar="NAME",
    help="User that runs the service (systemd, supervisord). [default: the current user]",
)
@click.pass_context
def command(
    context: click.Context,
    /,
    roots: tuple[str, ...],
    session_command: str | None,
    kind: Any,
    write: bool,
    path: Path | None,
    force: bool,
    user: str | None,
    **more: str | None,
) -> None:
    """Print or write the file that makes a supervisor run this runner.

    The file contains the home directory, the PATH and the options given here, never a token.
    Stopping or restarting the service leaves the sessions running.
    """
    wanted: Kind = kind or default_kind()
    flags = runner_flags(roots, session_command, more, context.obj)
    what = installation(flags, Home.find().check(), os.environ, user)
    target = path or destination(wanted, os.environ)
    install(wanted, what, target, write=write or path is not None, force=force)


def default_kind(platform: str = sys.platform) -> Kind:
    return "launchd" if platform == "darwin" else "systemd-user"


def destination(kind: Kind, environ: Mapping[str, str]) -> Path:
    """Where the supervisor looks for its files."""
    home = Path(environ.get("HOME") or Path.home())
    match kind:
        case "systemd-user":
            return (
                Path(environ.get("XDG_CONFIG_HOME") or home / ".config")
                / "systemd/user"
                / f"{NAME}.service"
            )
        case "systemd":
            return Path(f"/etc/systemd/system/{NAME}.service")
        case "supervisord":
            return Path(f"/etc/supervisor/conf.d/{NAME}.conf")
        case "launchd":
            return home / "Library/LaunchAgents" / f"{LABEL}.plist"


def installation(
    flags: RunnerFlags, home: Home, environ: Mapping[str, str], user: str | None = None
) -> Installation:
    """The service of this program with these flags and this home.

    PATH is included, because agents are looked up there and supervisors have a minimal one. Tokens
    are not: every user can read a unit file. Raises CommandError for text that fits in no file.
    """
    found = {
        name: environ[name] for name in ("PATH", *INHERITED_VARIABLES) if environ.get(name)
    } | {"HAPI_HOME": str(home.path)}
    if "PATH" in found:
        found["PATH"] = os.pathsep.join(dict.fromkeys(found["PATH"].split(os.pathsep)))
    argv = (*_program(), "runner", "start-sync", *_absolute(flags).words())
    for text in (*argv, *found.values()):
        if any(sign in text for sign in "\n\r\0"):
            raise CommandError(
                f"{escape_control(text)!r} contains a line break, which no service file can contain"
            )
    return Installation(argv, found, user or getpass.getuser(), str(home.path / "logs/launchd.out"))


def _program() -> tuple[str, ...]:
    ours = Path(sys.executable).with_name("hapi")
    return (
        (str(ours),)
        if ours.is_file() and os.access(ours, os.X_OK)
        else (sys.executable, "-P", "-m", "hapi")
    )


def _absolute(flags: RunnerFlags) -> RunnerFlags:
    """The flags with absolute paths: a service starts in another directory."""
    command = flags.session_command
    if command and not os.path.isabs(command.split()[0]):
        program, *rest = command.split(" ", 1)
        command = " ".join((shutil.which(program) or os.path.abspath(program), *rest))
    roots = tuple(os.path.abspath(os.path.expanduser(root)) for root in flags.workspace_roots)
    return evolve(flags, workspace_roots=roots, session_command=command)


def is_user(name: str) -> bool:
    try:
        pwd.getpwuid(int(name)) if name.isdecimal() else pwd.getpwnam(name)
    except (KeyError, OverflowError):
        return False
    return True


def install(kind: Kind, what: Installation, path: Path, *, write: bool, force: bool) -> None:
    """Print the file, or write it to `path`; one that differs is replaced only with `force`.

    Raises CommandError.
    """
    text = text_of(kind, what)
    if kind in ("systemd", "supervisord") and not is_user(what.user):
        warn(f"there is no user {what.user} on this machine; the service will not start without it")
    if not write:
        print(text, end="", flush=True)
        warn(f"nothing was written; --write writes this to {path}. {TOKEN_HINT}")
        return
    try:
        before = read_capped(path)
        if before == text.encode():
            echo(f"{escape_control(path)} is up to date")
            return
        if before is not None and not force:
            raise CommandError(
                f"{path} exists and differs; compare the two, then use --force to replace it"
            )
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, text.encode(), 0o644)
    except (OSError, ValueError) as error:
        raise CommandError(
            f"{path} cannot be written: {getattr(error, 'strerror', None) or error}"
        ) from error
    echo(f"{escape_control(path)} has been written. {TOKEN_HINT}. Next, run:")
    for line in NEXT_STEPS[kind]:
        echo(f"  {line}")
