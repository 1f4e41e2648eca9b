"""The options of a runner, read from flags, environment and settings.json before it starts."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from attrs import field, frozen

from hapi.build import removal
from hapi.home import Home
from hapi.idle_limit import KEY as IDLE_KEY
from hapi.idle_limit import VARIABLE as IDLE_VARIABLE
from hapi.idle_limit import read_idle_limit
from hapi.process.child_limits import SessionLimits
from hapi.runner.config.admission_limits import AdmissionLimits
from hapi.runner.workspace.roots import RootUnusable, WorkspaceRoots, has_undecodable_bytes
from hapi.settings import (
    ConfigurationError,
    HubAccess,
    configuration_error,
    hub_access,
    machine_id,
    read_settings,
)
from hapi.switches import GIT_ACTIONS, TERMINAL, read_git_actions, read_terminal
from hapi.units import parse_size

# -P: a hapi.py or json.py in the project's directory is not imported.
OWN_SESSION_COMMAND = (sys.executable, "-P", "-m", "hapi")
ANNOUNCE_TIMEOUT = 15.0  # seconds, npm's default
HEARTBEAT_INTERVAL = 60.0  # seconds, npm's default
START_TIMEOUT = 60.0  # seconds a session may take to announce itself while it shows life


@frozen
class RunnerOptions:
    """Everything that differs between two runners. `argv` is the command line in the state file,
    from the word `runner` on."""

    home: Home
    access: HubAccess
    machine_id: str
    roots: WorkspaceRoots = field(factory=WorkspaceRoots)
    session_command: tuple[str, ...] = OWN_SESSION_COMMAND
    environ: Mapping[str, str] = field(factory=lambda: dict(os.environ), repr=False)
    settings: Mapping[str, Any] = field(factory=dict, repr=False)
    argv: tuple[str, ...] = ("runner", "start-sync")
    limits: AdmissionLimits = field(factory=AdmissionLimits)
    session_limits: SessionLimits = field(factory=SessionLimits)
    idle_limit: float | None = None  # seconds until an idle agent rests; None: it never does
    revive: str = "offer"  # or "auto": interrupted sessions are revived automatically
    announce_timeout: float = ANNOUNCE_TIMEOUT  # seconds without a sign of life
    start_timeout: float = START_TIMEOUT  # seconds in any case
    heartbeat: float = HEARTBEAT_INTERVAL  # seconds
    git_actions: bool = False  # whether people may change repositories from the page
    terminal: bool = True  # whether people may open a shell in sessions
    hostname: str = ""
    supervised: bool = False
    handoff_disabled: bool = False
    control_port: int = 0
    sets_title: bool = True  # whether the runner sets the process title; embedders say no
    log_path: str | None = None

    @property
    def workspace_roots(self) -> tuple[str, ...]:
        return self.roots.given

    @property
    def uses_own_sessions(self) -> bool:
        """Whether sessions run this package's program. npm's knows other agents, and looks for
        other executables."""
        return self.session_command == OWN_SESSION_COMMAND

    @property
    def program_problem(self) -> str | None:
        """Why no session can be started, as a clause; None if its program exists."""
        missing = removal(None if self.uses_own_sessions else Path(self.session_command[0]))
        return missing and f"no session can be started: {missing}"

    def session_environment(self) -> dict[str, str]:
        """The variables that give a session its home, hub and token, whatever the environment of
        the runner holds."""
        found = {
            "HAPI_HOME": str(self.home.path),
            "HAPI_API_URL": self.access.url,
            "CLI_API_TOKEN": self.access.token,
        }
        if self.idle_limit is not None:
            found[IDLE_VARIABLE] = f"{self.idle_limit:.0f}s"
        elif self.settings.get(IDLE_KEY):
            found[IDLE_VARIABLE] = "off"
        found[GIT_ACTIONS.variable] = "yes" if self.git_actions else "no"
        found[TERMINAL.variable] = "yes" if self.terminal else "no"
        if self.access.headers:
            import json

            found["HAPI_EXTRA_HEADERS_JSON"] = json.dumps(dict(self.access.headers))
        if len(self.session_command) == 1:
            found["HAPI_CLI_EXECUTABLE"] = self.session_command[0]
        return found

    @classmethod
    def from_environment(
        cls,
        environ: Mapping[str, str] = os.environ,
        *,
        workspace_roots: Iterable[str] = (),
        session_command: str | Iterable[str] | None = None,
        argv: Iterable[str] | None = None,
        max_sessions: str | int | None = None,
        min_free_memory: str | int | None = None,
        queue: str | int | None = None,
        revive: str | None = None,
        session_memory: str | int | None = None,
        idle_agent: str | None = None,
        git_actions: str | None = None,
        terminal: str | None = None,
        **more: Any,
    ) -> RunnerOptions:
        """Read options from flags, environment and `settings.json`. Creates the home and, the first
        time, the machine id.

        Raises HomeUnusable, InvalidSettings or ConfigurationError, each with one sentence for the
        user.
        """
        home = Home.find(environ).prepare()
        settings = read_settings(home)
        access = hub_access(environ, settings)
        flagged = tuple(workspace_roots)
        roots = read_roots(flagged, settings)
        command = read_command(session_command, environ)
        flags = {"max_sessions": max_sessions, "min_free_memory": min_free_memory, "queue": queue}
        flags |= {"revive": revive, "session_memory": session_memory, "idle_agent": idle_agent}
        flags |= {"git_actions": git_actions, "terminal": terminal}
        given = {
            "revive": read_revive_mode(environ, settings, revive),
            "session_limits": read_session_limits(environ, settings, session_memory),
            "idle_limit": read_idle_limit(environ, settings, idle_agent),
            "git_actions": read_git_actions(environ, settings, git_actions),
            "terminal": read_terminal(environ, settings, terminal, bool(roots.given)),
            "limits": AdmissionLimits.read(flags, environ, settings),
            **_read_times(environ, settings),
            "hostname": environ.get("HAPI_HOSTNAME", ""),
            "supervised": environ.get("HAPI_RUNNER_SUPERVISED") == "1",
            "handoff_disabled": environ.get("HAPI_DISABLE_VERSION_HANDOFF") == "1",
        }
        words = (
            tuple(argv)
            if argv is not None
            else command_line_of(roots if flagged else WorkspaceRoots(), session_command, flags)
        )
        identity = machine_id(home)
        facts = (home, access, identity, roots, command, dict(environ), settings, words)
        return cls(*facts, **{**given, **more})


def command_line_of(
    roots: WorkspaceRoots,
    session_command: str | Iterable[str] | None,
    more: Mapping[str, str | int | None] | None = None,
) -> tuple[str, ...]:
    """The command line that starts the same runner again, from the word `runner` on."""
    words = ["runner", "start-sync"]
    for root in roots.given:
        words += ["--workspace-root", root]
    if session_command:
        words += [
            "--session-command",
            session_command if isinstance(session_command, str) else shlex.join(session_command),
        ]
    for name, value in (more or {}).items():
        if value is not None:
            words += [f"--{name.replace('_', '-')}", str(value)]
    return tuple(words)


def read_command(given: str | Iterable[str] | None, environ: Mapping[str, str]) -> tuple[str, ...]:
    """The program that sessions run: the flag `given`, else HAPI_CLI_EXECUTABLE (an absolute path),
    else this package's. Raises ConfigurationError."""
    named = environ.get("HAPI_CLI_EXECUTABLE")
    for name, text in (("--session-command", given), ("HAPI_CLI_EXECUTABLE", named)):
        if text and has_undecodable_bytes("".join(text)):
            raise ConfigurationError(
                f"{name} {text!r} is not valid UTF-8, so folders and journal could not name it"
            )
    if given:
        try:
            words = tuple(shlex.split(given) if isinstance(given, str) else given)
        except ValueError as error:
            raise ConfigurationError(f"--session-command {given!r}: {error}") from error
        program = shutil.which(words[0], path=environ.get("PATH")) if words else None
        if program is None:
            raise ConfigurationError(f"--session-command {given!r}: there is no such program")
        return (os.path.abspath(program), *words[1:])
    if not named:
        return OWN_SESSION_COMMAND
    if not os.path.isabs(named) or not Path(named).is_file() or not os.access(named, os.X_OK):
        raise ConfigurationError(
            f"HAPI_CLI_EXECUTABLE {named!r} must be the absolute path of an executable file"
        )
    return (named,)


def read_roots(flagged: Iterable[str], settings: Mapping[str, Any]) -> WorkspaceRoots:
    """The roots of the flags, else `workspaceRoots` of the settings, a list of absolute paths.
    Raises ConfigurationError."""
    given, name = list(flagged), "--workspace-root"
    if not given and (kept := settings.get("workspaceRoots")) is not None:
        name = "workspaceRoots in settings.json"
        if not isinstance(kept, list) or not all(
            isinstance(path, str) and os.path.isabs(path) for path in kept
        ):
            raise ConfigurationError(f"{name} must be a list of absolute paths")
        given = kept
    try:
        return WorkspaceRoots.parse(given)
    except RootUnusable as error:
        raise ConfigurationError(f"{name}: {error}") from error


def read_revive_mode(
    environ: Mapping[str, str], settings: Mapping[str, Any], flag: str | None = None
) -> str:
    """What is done with interrupted sessions: `offer` or `auto`. Raises ConfigurationError."""
    kept = "revive in settings.json", settings.get("revive")
    for name, wanted in (
        ("--revive", flag),
        ("HAPI_RUNNER_REVIVE", environ.get("HAPI_RUNNER_REVIVE")),
        kept,
    ):
        if wanted is None or wanted == "":
            continue
        if wanted not in ("offer", "auto"):
            raise configuration_error(name, f"{name} is {wanted!r}: it must be offer or auto")
        return str(wanted)
    return "offer"


def read_session_limits(
    environ: Mapping[str, str], settings: Mapping[str, Any], memory: str | int | None = None
) -> SessionLimits:
    """The limits of one session; `memory` is the flag. Raises ConfigurationError."""
    named = {
        "--session-memory": memory,
        "HAPI_RUNNER_SESSION_MEMORY": environ.get("HAPI_RUNNER_SESSION_MEMORY"),
    }
    named["sessionMemory in settings.json"] = settings.get("sessionMemory")
    name, given = next(
        ((name, value) for name, value in named.items() if value not in (None, "")), ("", None)
    )
    try:
        size = None if given is None else parse_size(str(given))
    except ValueError as error:
        raise configuration_error(name, f"{name} {given!r}: {error}") from error
    scopes = environ.get("HAPI_RUNNER_SESSION_SCOPES") or settings.get("sessionScopes") or "auto"
    try:
        return SessionLimits.read(settings, size, scopes)
    except ValueError as error:
        raise ConfigurationError(f"settings.json: {error}") from error


def _read_times(environ: Mapping[str, str], settings: Mapping[str, Any]) -> dict[str, float]:
    """The options in seconds."""
    return {
        "announce_timeout": _milliseconds(
            environ, "HAPI_RUNNER_WEBHOOK_TIMEOUT_MS", ANNOUNCE_TIMEOUT
        ),
        "start_timeout": _milliseconds(
            environ, "HAPI_RUNNER_START_CAP_MS", _start_timeout(settings)
        ),
        "heartbeat": _milliseconds(environ, "HAPI_RUNNER_HEARTBEAT_INTERVAL", HEARTBEAT_INTERVAL),
    }


def _start_timeout(settings: Mapping[str, Any]) -> float:
    found = settings.get("startCapSeconds")
    return (
        float(found)
        if isinstance(found, int | float) and not isinstance(found, bool) and 0 < found < 1e9
        else START_TIMEOUT
    )


def _milliseconds(environ: Mapping[str, str], name: str, default: float) -> float:
    """Seconds from a variable in milliseconds. Like npm, anything but a positive number counts as
    missing."""
    try:
        value = float(environ.get(name, ""))
    except ValueError:
        return default
    return value / 1000 if 0 < value < 1e12 else default
