"""What a runner is told before it starts: its home, its hub, its roots, the program its sessions run."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from attrs import field, frozen

from hapi.home import Home
from hapi.process.child_limits import SessionLimits
from hapi.runner.config.limits import AdmissionLimits, parse_size
from hapi.runner.workspace.roots import RootUnusable, WorkspaceRoots
from hapi.settings import (
    ConfigurationError,
    HubAccess,
    configuration_error,
    hub_access,
    machine_id,
    read_settings,
)

OWN_SESSIONS = (
    sys.executable,
    "-P",
    "-m",
    "hapi",
)  # -P: a project that holds a hapi.py or json.py is not imported
ANNOUNCE_WITHIN, BEAT = 15.0, 60.0  # seconds, npm's defaults
START_WITHIN = 60.0  # seconds a session may take to announce itself while it shows life


@frozen
class RunnerOptions:
    """Everything that differs between two runners. `argv` is told in the state file, from the word `runner` on."""

    home: Home
    access: HubAccess
    machine_id: str
    roots: WorkspaceRoots = field(factory=WorkspaceRoots)
    session_command: tuple[str, ...] = OWN_SESSIONS
    environ: Mapping[str, str] = field(factory=lambda: dict(os.environ), repr=False)
    settings: Mapping[str, Any] = field(factory=dict, repr=False)
    argv: tuple[str, ...] = ("runner", "start-sync")
    limits: AdmissionLimits = field(factory=AdmissionLimits)
    session_limits: SessionLimits = field(factory=SessionLimits)
    revive: str = "offer"  # or "auto": interrupted sessions come back by themselves
    announce_within: float = ANNOUNCE_WITHIN
    start_within: float = START_WITHIN
    heartbeat: float = BEAT
    hostname: str = ""
    supervised: bool = False
    handoff_disabled: bool = False
    control_port: int = 0
    titled: bool = True  # whether the process title may be ours: an embedder says no
    log_path: str | None = None

    @property
    def workspace_roots(self) -> tuple[str, ...]:
        return self.roots.given

    @property
    def own_sessions(self) -> bool:
        """Whether sessions are this package's program; npm's know other agents and need other executables."""
        return self.session_command == OWN_SESSIONS

    def for_children(self) -> dict[str, str]:
        """The environment that tells a session whose it is, whatever our own environment says."""
        found = {
            "HAPI_HOME": str(self.home.path),
            "HAPI_API_URL": self.access.url,
            "CLI_API_TOKEN": self.access.token,
        }
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
        **more: Any,
    ) -> RunnerOptions:
        """Options from environment, `settings.json` and flags. Makes the home and, the first time, the machine id.

        Raises HomeUnusable, InvalidSettings or ConfigurationError, each with one sentence for the user.
        """
        home = Home.find(environ).prepare()
        settings = read_settings(home)
        access = hub_access(environ, settings)
        flagged = tuple(workspace_roots)
        roots = read_roots(flagged, settings)
        command = read_command(session_command, environ)
        flags = {"max_sessions": max_sessions, "min_free_memory": min_free_memory, "queue": queue}
        flags |= {"revive": revive, "session_memory": session_memory}
        given = {
            "revive": read_revival(environ, settings, revive),
            "session_limits": read_session_limits(environ, settings, session_memory),
            "limits": AdmissionLimits.read(flags, environ, settings),
            "announce_within": _milliseconds(
                environ, "HAPI_RUNNER_WEBHOOK_TIMEOUT_MS", ANNOUNCE_WITHIN
            ),
            "start_within": _milliseconds(
                environ, "HAPI_RUNNER_START_CAP_MS", _start_cap(settings)
            ),
            "heartbeat": _milliseconds(environ, "HAPI_RUNNER_HEARTBEAT_INTERVAL", BEAT),
            "hostname": environ.get("HAPI_HOSTNAME", ""),
            "supervised": environ.get("HAPI_RUNNER_SUPERVISED") == "1",
            "handoff_disabled": environ.get("HAPI_DISABLE_VERSION_HANDOFF") == "1",
        }
        words = (
            tuple(argv)
            if argv is not None
            else words_for(roots if flagged else WorkspaceRoots(), session_command, flags)
        )
        identity = machine_id(home)
        return cls(
            home,
            access,
            identity,
            roots,
            command,
            dict(environ),
            settings,
            words,
            **{**given, **more},
        )


def words_for(
    roots: WorkspaceRoots,
    session_command: str | Iterable[str] | None,
    more: Mapping[str, str | int | None] | None = None,
) -> tuple[str, ...]:
    """The command line that starts the same runner again, from `runner` on."""
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
    """The program that sessions run: the flag, HAPI_CLI_EXECUTABLE (an absolute path), else our own. Raises ConfigurationError."""
    named = environ.get("HAPI_CLI_EXECUTABLE")
    for name, text in (("--session-command", given), ("HAPI_CLI_EXECUTABLE", named)):
        if text and any(
            "\udc80" <= character <= "\udcff" for character in "".join(text)
        ):  # bytes that are no text
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
        return OWN_SESSIONS
    if not os.path.isabs(named) or not Path(named).is_file() or not os.access(named, os.X_OK):
        raise ConfigurationError(
            f"HAPI_CLI_EXECUTABLE {named!r} must be the absolute path of an executable file"
        )
    return (named,)


def read_roots(flagged: Iterable[str], settings: Mapping[str, Any]) -> WorkspaceRoots:
    """The flags' roots, else those of `workspaceRoots` in the settings: a list of absolute paths. Raises ConfigurationError."""
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


def read_revival(
    environ: Mapping[str, str], settings: Mapping[str, Any], flag: str | None = None
) -> str:
    """What becomes of interrupted sessions: `offer` or `auto`. Raises ConfigurationError."""
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
    """What one session may take; `memory` is the flag. Raises ConfigurationError."""
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


def _start_cap(settings: Mapping[str, Any]) -> float:
    found = settings.get("startCapSeconds")
    return (
        float(found)
        if isinstance(found, int | float) and not isinstance(found, bool) and 0 < found < 1e9
        else START_WITHIN
    )


def _milliseconds(environ: Mapping[str, str], name: str, default: float) -> float:
    """Seconds from a variable in milliseconds; as npm does, anything but a number above zero counts as not there."""
    try:
        value = float(environ.get(name, ""))
    except ValueError:
        return default
    return value / 1000 if 0 < value < 1e12 else default
