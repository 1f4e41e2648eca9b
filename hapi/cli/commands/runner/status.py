"""`hapi runner status`: the runner, its registration at the hub and its sessions."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import Any

import click

from hapi.cli.base.common_options import json_flag
from hapi.cli.base.errors import NOT_RUNNING, exit_codes_epilog
from hapi.cli.base.output import echo, plural, print_json
from hapi.cli.base.times import ago as _ago
from hapi.cli.base.times import duration
from hapi.cli.base.times import local_time as _clock
from hapi.cli.runner.running import call_runner
from hapi.home import Home
from hapi.protocol.control import hub_connection_problem
from hapi.redaction import escape_control

STUCK_REASONS = {
    "silent": "its turn shows no activity",
    "approval": "it is waiting for a permission",
    "queued": "it is idle although prompts are queued",
}


@click.command(
    "status",
    epilog=exit_codes_epilog(NOT_RUNNING),
    short_help="Show the runner's status and its registration.",
)
@json_flag
def command(as_json: bool) -> None:
    """Show the runner's status and its registration at the hub.

    Shows process, version and build, control port, heartbeat, log file, hub, machine, workspace
    roots and sessions, and what is wrong. With --json the same facts are printed as JSON; times
    are in milliseconds since the epoch.
    """
    show_status(Home.find().check(), as_json)


def show_status(home: Home, as_json: bool) -> None:
    """Print the status of the runner. Raises RunnerNotRunning."""
    home_path = str(home.path)
    without = {"running": False, "home": home_path} if as_json else None
    status = call_runner(home, lambda client: client.status(), without)
    if as_json:
        print_json({"running": True, "home": home_path, **status})
        return
    for line in status_lines({"home": home_path, **status}, time.time()):
        echo(line)


def status_lines(status: Mapping[str, Any], now: float) -> list[str]:
    """The status as an aligned block for a person; `now` in seconds since the epoch."""
    facts = list(status_facts(status, now))
    width = max(len(label) for label, _ in facts) + 1
    return [f"{label + ':':<{width}} {escape_control(text)}" for label, text in facts]


def status_facts(status: Mapping[str, Any], now: float) -> Iterator[tuple[str, str]]:
    """Label and text of each fact that the runner reports; npm's runner reports only a few."""
    yield "Runner", f"running (pid {status.get('pid')})"
    yield "Version", str(status.get("version"))
    if build := build_text(status):
        yield "Build", build
    if failure := failed_upgrade_text(status, now):
        yield "Last upgrade", failure
    if started_at := status.get("startedAt"):
        yield "Started", f"{_clock(started_at)} ({_ago(started_at, now)})"
    if port := status.get("httpPort"):
        yield "Control port", str(port)
    if heartbeat := heartbeat_text(status, now):
        yield "Heartbeat", heartbeat
    yield "Home", str(status.get("home"))
    if log_file := status.get("logFile"):
        yield "Log file", str(log_file)
    yield "Hub", str((status.get("hub") or {}).get("url"))
    yield "Registration", registration_text(status)
    yield "Machine", str(status.get("machineId"))
    if (roots := status.get("workspaceRoots")) is not None:
        yield "Workspace roots", ", ".join(map(str, roots)) or "none (any directory is allowed)"
    yield "Sessions", sessions_text(status)
    admission = status.get("admission") or {}
    if "accepting" in admission:
        yield "New sessions", admission_text(admission)
    for session, reason in (status.get("stuck") or {}).items():
        yield "Stuck session", f"{session} ({STUCK_REASONS.get(reason, reason)})"
    if problem := status.get("trouble"):
        yield "Problem", str(problem)
    for warning in status.get("warnings") or ():
        yield "Warning", str(warning)


def build_text(status: Mapping[str, Any]) -> str:
    """When the running build was last modified, and whether it is the installed one."""
    parts = []
    if modified_at := status.get("buildModifiedAt"):
        parts.append(f"modified {_clock(modified_at)}")
    if status.get("current") is True:
        parts.append("up to date")
    elif status.get("current") is False:
        handoff = status.get("handoff") or {}
        parts.append("outdated: another build is installed")
        if handoff.get("underWay"):
            parts.append("a replacement is being started")
        elif handoff.get("waitsFor"):
            parts.append(str(handoff["waitsFor"]))
        else:
            parts.append(_next_step(handoff))
    return ", ".join(parts)


def _next_step(handoff: Mapping[str, Any]) -> str:
    """What will be done about the other build that is installed."""
    if handoff.get("lastFailure"):
        return "which did not start when it was last tried"
    if handoff.get("mode") == "restart":
        return f"{handoff.get('restartedBy')} will start it after a trial start"
    return "a replacement will be started soon"


def failed_upgrade_text(status: Mapping[str, Any], now: float) -> str:
    """When and why the installed build last failed to start, and where its output is."""
    failure = (status.get("handoff") or {}).get("lastFailure")
    if not failure:
        return ""
    output = f" (output: {failure['output']})" if failure.get("output") else ""
    return f"failed {_ago(failure['at'], now)}: {failure['reason']}{output}"


def heartbeat_text(status: Mapping[str, Any], now: float) -> str:
    """When the last heartbeat was and when the next one is due; "" if that is unknown."""
    last_at, next_at = status.get("lastHeartbeatAt"), status.get("nextHeartbeatAt")
    if "lastHeartbeatAt" not in status:
        return ""
    last = f"last {_clock(last_at)} ({_ago(last_at, now)})" if last_at else "none yet"
    if next_at is None:
        return last
    return f"{last}, next in {duration(next_at / 1000 - now)}"


def registration_text(status: Mapping[str, Any]) -> str:
    """Whether the hub knows the machine and the runner is connected; why not."""
    hub = status.get("hub") or {}
    if status.get("registered") is None:
        return f"unknown ({hub.get('reason') or 'the runner does not report it'})"
    return hub_connection_problem(status) or "registered, connected"


def sessions_text(status: Mapping[str, Any]) -> str:
    """The number of live sessions, by state."""
    states = status.get("sessionsByState") or {}
    if not states:
        return str(status.get("children"))
    counts = ", ".join(f"{count} {state}" for state, count in sorted(states.items()))
    return f"{status.get('children')} ({counts})"


def admission_text(admission: Mapping[str, Any]) -> str:
    """Whether the runner accepts more sessions, its limit, and the starts that wait."""
    limit, waiting = admission.get("maxSessions"), admission.get("waiting")
    parts = ["accepted"]
    if not admission.get("accepting", True):
        parts = ["not accepted, the runner is drained (`hapi runner resume` undoes this)"]
    if limit is not None:
        parts.append(f"at most {plural(limit, 'session')}")
    if waiting:
        parts.append(f"{plural(waiting, 'start')} waiting")
    return ", ".join(parts)
