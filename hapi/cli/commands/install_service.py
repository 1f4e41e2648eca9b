"""`hapi runner install-service`: what a supervisor needs to keep this runner, printed or written."""

from __future__ import annotations

import getpass
import os
import pwd
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path

from attrs import evolve

from hapi.cli.base.errors import Stop
from hapi.cli.base.flags import RunnerFlags
from hapi.cli.base.output import say, warn
from hapi.cli.base.unit_files import LABEL, NAME, Installation, Kind, text_of
from hapi.home import Home, read_capped, write_atomically
from hapi.redaction import escape_control

KEPT = (
    "HAPI_HOSTNAME",
    "HAPI_CLI_EXECUTABLE",
    "HAPI_API_URL",
    "XDG_CONFIG_HOME",
)  # variables a unit would not have
AFTERWARDS: dict[Kind, tuple[str, ...]] = {
    "systemd-user": (
        "systemctl --user daemon-reload",
        f"systemctl --user enable --now {NAME}",
        'loginctl enable-linger "$USER"        # or the runner ends when you log out',
    ),
    "systemd": ("systemctl daemon-reload", f"systemctl enable --now {NAME}"),
    "supervisord": ("supervisorctl reread", "supervisorctl update"),
    "launchd": (f"launchctl bootstrap gui/$(id -u) ~/Library/LaunchAgents/{LABEL}.plist",),
}


HINT = "tokens stay out of it: `hapi auth login` keeps yours in settings.json"


def default_kind(platform: str = sys.platform) -> Kind:
    return "launchd" if platform == "darwin" else "systemd-user"


def destination(kind: Kind, environ: Mapping[str, str]) -> Path:
    """Where the supervisor looks for it."""
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
    """This program, with these flags, for this home. Raises Stop for what no unit can carry.

    The PATH goes along, since agents are looked up there and a supervisor's own is bare. Tokens never do: a unit can be read
    by everybody, `settings.json` cannot.
    """
    found = {name: environ[name] for name in ("PATH", *KEPT) if environ.get(name)} | {
        "HAPI_HOME": str(home.path)
    }
    if "PATH" in found:
        found["PATH"] = os.pathsep.join(dict.fromkeys(found["PATH"].split(os.pathsep)))
    argv = (*_program(), "runner", "start-sync", *_absolute(flags).words())
    for text in (*argv, *found.values()):
        if any(sign in text for sign in "\n\r\0"):
            raise Stop(
                f"{escape_control(text)!r} holds a line break, which no service file can carry"
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
    """A service starts in another directory than this command."""
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
    """Print the text, or put it at `path`. What is there already and differs stays, unless `force`. Raises Stop."""
    text = text_of(kind, what)
    if kind in ("systemd", "supervisord") and not is_user(what.user):
        warn(
            f"this machine knows no user {escape_control(what.user)}: the service will not start before it does"
        )
    if not write:
        print(text, end="", flush=True)
        warn(f"nothing was written; --write puts this into {path} ({HINT})")
        return
    try:
        before = read_capped(path)
        if before == text.encode():
            say(f"{escape_control(path)} is as it should be")
            return
        if before is not None and not force:
            raise Stop(
                f"{path} is there and differs; look at both, then give --force to replace it"
            )
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, text.encode(), 0o644)
    except (OSError, ValueError) as error:
        raise Stop(
            f"{path} cannot be written: {getattr(error, 'strerror', None) or error}"
        ) from error
    say(f"{escape_control(path)} is written; {HINT}. Then:")
    for line in AFTERWARDS[kind]:
        say(f"  {line}")
