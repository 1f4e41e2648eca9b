"""`hapi runner status`: the runner and its registration at the hub."""

from __future__ import annotations

import time
from typing import Any

import click

from hapi.cli.base.errors import NOT_RUNNING, exit_codes_epilog
from hapi.cli.base.output import echo, json_flag, print_json
from hapi.cli.base.running_runner import call_runner
from hapi.home import Home
from hapi.protocol.control import hub_connection_problem
from hapi.redaction import escape_control

STUCK = {
    "silent": "its turn shows no life",
    "approval": "it waits for a permission",
    "queued": "prompts wait, and it is idle",
}


@click.command(
    "status",
    epilog=exit_codes_epilog(NOT_RUNNING),
    short_help="Show the runner's status and its registration.",
)
@json_flag
def command(as_json: bool) -> None:
    """Show the runner's status and its registration at the hub."""
    show_status(Home.find().check(), as_json)


def show_status(home: Home, as_json: bool) -> None:
    """Whether the runner runs, and whether the hub knows it. Raises CommandError when none runs."""
    found = call_runner(
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
    echo(
        f"Runner:          running, pid {found.get('pid')}, version {escape_control(found.get('version'))}"
    )
    for line in build_lines(found, time.time()):
        echo(line)
    echo(f"Hub URL:         {escape_control(hub.get('url'))}")
    echo(f"Registered:      {registered_words(found)}")
    echo(f"Machine ID:      {escape_control(found.get('machineId'))}")
    echo(f"Workspace roots: {roots}")
    for session, reason in (found.get("stuck") or {}).items():
        echo(
            f"Stuck:           {escape_control(session)}: {STUCK.get(reason, escape_control(reason))}"
        )
    echo(f"Sessions:        {found.get('children')}{admission_words(found.get('admission') or {})}")
    if found.get("trouble"):
        echo(f"Trouble:         {escape_control(found['trouble'])}")
    for sentence in found.get("warnings") or ():
        echo(f"Warning:         {escape_control(sentence)}")


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
