"""What `hapi runner status`, `list` and `stop-session` ask of the runner, and how the answers are shown."""

from __future__ import annotations

import sys
import time
from collections.abc import Awaitable, Callable
from typing import Any

from hapi.cli.base.errors import NOT_RUNNING, Stop
from hapi.cli.base.output import print_json, say, table
from hapi.cli.base.run import run_once
from hapi.home import Home
from hapi.protocol.control import hub_connection_problem
from hapi.redaction import escape_control

KEYS = {  # of a session → the head of its column
    "happySessionId": "SESSION", "agent": "AGENT", "directory": "DIRECTORY", "state": "STATE", "pid": "PID",
    "startedBy": "STARTED BY",
}  # fmt: skip
ENDED = ("stopped", "already_gone")
STUCK = {
    "silent": "its turn shows no life",
    "approval": "it waits for a permission",
    "queued": "prompts wait, and it is idle",
}


def show_status(home: Home, as_json: bool) -> None:
    """Whether the runner runs, and whether the hub knows it. Raises Stop when none runs."""
    found = _ask(
        home,
        lambda client: client.status(),
        {"running": False, "home": str(home.path)} if as_json else None,
    )
    if as_json:
        print_json({"running": True, "home": str(home.path), **found})
        return
    hub = found.get("hub") or {}
    roots = (
        ", ".join(map(escape_control, found.get("workspaceRoots") or ()))
        or "none (every directory)"
    )
    say(
        f"Runner:          running, pid {found.get('pid')}, version {escape_control(found.get('version'))}"
    )
    for line in build_lines(found, time.time()):
        say(line)
    say(f"Hub URL:         {escape_control(hub.get('url'))}")
    say(f"Registered:      {registered_words(found)}")
    say(f"Machine ID:      {escape_control(found.get('machineId'))}")
    say(f"Workspace roots: {roots}")
    for session, reason in (found.get("stuck") or {}).items():
        say(
            f"Stuck:           {escape_control(session)}: {STUCK.get(reason, escape_control(reason))}"
        )
    say(f"Sessions:        {found.get('children')}{admission_words(found.get('admission') or {})}")
    if found.get("trouble"):
        say(f"Trouble:         {escape_control(found['trouble'])}")
    for sentence in found.get("warnings") or ():
        say(f"Warning:         {escape_control(sentence)}")


def registered_words(status: dict[str, Any]) -> str:
    """Whether the hub knows the machine and reaches it, and why not."""
    if status.get("registered") is None:
        return f"unknown: {escape_control((status.get('hub') or {}).get('reason') or 'it does not tell')}"
    trouble = hub_connection_problem(status)
    if trouble is None:
        return "yes, and connected"
    return escape_control(
        trouble.replace("not registered", "no", 1).replace("registered,", "yes,", 1)
    )


def build_lines(status: dict[str, Any], now: float) -> list[str]:
    """What `status` tells of builds, for a person: whether the running one is installed, what keeps another from running."""
    handoff = status.get("handoff") or {}
    current = status.get("current")
    lines = []
    if current is True:
        lines.append("Build:           the installed one")
    elif current is False:
        why = (
            "it is being started"
            if handoff.get("underWay")
            else handoff.get("waitsFor") or "it will be started soon"
        )
        lines.append(f"Build:           outdated, another one is installed ({escape_control(why)})")
    failure = handoff.get("lastFailure")
    if failure:
        minutes = max(now - failure["at"] / 1000, 0.0) / 60
        lines.append(
            f"Last hand-off:   failed {minutes:.0f} minutes ago: {escape_control(failure['reason'])}"
        )
    return lines


def admission_words(admission: dict[str, Any]) -> str:
    """What `status` tells of the room for more sessions, after their number."""
    most, waiting = admission.get("maxSessions"), admission.get("waiting")
    words = f" of at most {most}" if most is not None else ""
    words += f", {waiting} {'start waits' if waiting == 1 else 'starts wait'}" if waiting else ""
    return words + (
        "" if admission.get("accepting", True) else ", no more are accepted (hapi runner resume)"
    )


def show_sessions(home: Home, as_table: bool, as_json: bool) -> None:
    """The live sessions that the runner knows. Raises Stop when none runs."""
    children = _ask(home, lambda client: client.list(), [] if as_json else None)
    if as_json:
        print_json(children)
    elif not children:
        say("No active sessions this runner is aware of.")
    elif as_table or sys.stdout.isatty():
        table(list(KEYS.values()), [[child.get(key) or "-" for key in KEYS] for child in children])
    else:
        say("Active sessions:")
        print_json(children)


def end_session(home: Home, session_id: str, as_json: bool) -> None:
    """End the session with everything it started. Raises Stop when it lives on, or is not known."""

    async def end(client: Any) -> tuple[str, bool]:
        result = await client.stop_session(session_id)
        return result, result in ENDED or any(
            session_id in (child.get("happySessionId"), f"PID-{child.get('pid')}")
            for child in await client.list()
        )

    result, is_known = _ask(home, end, None)
    if as_json:
        print_json({"sessionId": session_id, "status": result})
    elif result == "stopped":
        say("Session stopped")
    elif result == "already_gone":
        say("Session was already stopped")
    if not is_known:
        raise Stop(
            f"this runner knows no session {escape_control(session_id)}: `hapi runner list` names those that live"
        )
    if result not in ENDED:
        raise Stop(
            f"the session {escape_control(session_id)} is still alive: it did not end when it was asked and killed"
        )


def _ask(home: Home, question: Callable[[Any], Awaitable[Any]], otherwise: Any) -> Any:
    """The runner's answer. Without a runner `otherwise` is printed (unless None) and the command ends as documented."""
    from hapi.runner.control.client import ControlClient, RunnerNotRunning

    async def ask(reactor: Any) -> Any:
        return await question(ControlClient(reactor, home))

    try:
        return run_once(ask)
    except RunnerNotRunning as error:
        if otherwise is not None:
            print_json(otherwise)
        raise Stop(
            f"the runner is not running in {home.path}: start it with `hapi runner start`",
            NOT_RUNNING,
        ) from error
