"""`hapi hub status`: the hub of this home, what it serves, its database and its last backup."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from hapi.cli.base.common_options import home_option, json_flag
from hapi.cli.base.errors import (
    NOT_RUNNING,
    REFUSED,
    UNREACHABLE,
    CommandError,
    exit_codes_epilog,
)
from hapi.cli.base.hub_database import used_database
from hapi.cli.base.hub_options import database_option
from hapi.cli.base.hub_request import NotServing, active_hub_of, get_json
from hapi.cli.base.output import echo, plural, print_json
from hapi.cli.base.times import ago, local_time
from hapi.home import Home, read_capped
from hapi.hub.store.database_files import size_on_disk
from hapi.hub.store.database_url import DatabaseUrl, is_url
from hapi.redaction import escape_control
from hapi.settings import HubAccess, read_settings
from hapi.units import format_size

FRESH = 10.0  # seconds; after a longer silence the hubs of a database may be others
TIMEOUT = 15.0  # seconds for each request; a read waits up to 10 for a database that was lost


@click.command(
    "status",
    epilog=exit_codes_epilog(NOT_RUNNING, UNREACHABLE, REFUSED),
    short_help="Show the hub's status, sessions and database.",
)
@database_option
@home_option
@json_flag
@click.pass_obj
def command(before: str | None, /, database: str | None, as_json: bool) -> None:
    """Show the status of the hub that runs in this home.

    Shows address, process, version and uptime, sessions by state, machines, connections, the size
    of the database, the free space of its disk, and the last backup. Without a running hub it shows
    database and backup, and exits with 5. A hub that cannot store what it is sent, as `/ready`
    tells, is shown with the reason, and the exit code is 1. With --json times are in milliseconds
    since the epoch and sizes in bytes.
    """
    home = Home.find().check()
    facts, problem = collect(home, database or before)
    if as_json:
        print_json(facts)
    else:
        labelled = list(status_facts(facts, time.time()))
        width = max(len(label) for label, _ in labelled) + 1
        for label, text in labelled:
            first, *others = text.splitlines() or [""]
            echo(f"{label + ':':<{width}} {escape_control(first)}")
            for line in others:
                echo(f"{'':<{width}} {escape_control(line)}")
    if problem is not None:
        raise problem


def collect(home: Home, database: str | None) -> tuple[dict[str, Any], CommandError | None]:
    """The facts, and why those of the running hub are missing or why it is not ready; None if it
    can store what it is sent.
    """
    from hapi.hub.lock import running_hub

    path, _ = used_database(database)
    owner = running_hub(home, path if database else None)
    facts: dict[str, Any] = {
        "running": owner is not None,
        "home": str(home.path),
        "database": {"path": str(path), **_file_facts(path)},
        "lastBackup": last_backup(home),
    }
    if owner is None:
        return facts, CommandError(f"no hub is running in {home.path}", NOT_RUNNING)
    url = owner.facts.get("url")
    facts |= {"pid": owner.pid, "url": url, "peopleUrl": owner.facts.get("peopleUrl") or url}
    if not isinstance(url, str):
        return facts, CommandError(
            f"the hub (pid {owner.pid}) does not listen yet; try again in a moment", UNREACHABLE
        )
    token = os.environ.get("CLI_API_TOKEN") or read_settings(home).get("cliApiToken") or ""
    try:
        reported = get_json(
            HubAccess(url, str(token).strip()),
            "/api/hub-status",
            TIMEOUT,
            logs_in=owner.facts.get("role") != "standby",
        )
    except NotServing as error:
        facts |= {"ready": False, "problem": error.reason}
        return facts, CommandError(f"the hub (pid {owner.pid}) is not ready: {error.reason}")
    except CommandError as error:
        return facts, error
    facts |= {**reported, "database": {**reported["database"], **facts["database"]}}
    if reported.get("ready", True) or _waits_well(reported):
        return facts, None
    reason = escape_control(reported.get("problem"))
    return facts, CommandError(f"the hub (pid {owner.pid}) is not ready: {reason}")


def _waits_well(reported: Mapping[str, Any]) -> bool:
    """Whether the hub is a standby whose database has an active hub."""
    return active_hub_of(reported) is not None


def _file_facts(path: Path | DatabaseUrl) -> dict[str, Any]:
    """The sizes of the database's files and the free space of their disk, None if unknown."""
    if not isinstance(path, Path):
        return {"bytes": None, "diskFreeBytes": None}
    try:
        free = shutil.disk_usage(path.parent).free
    except OSError:
        free = None
    return {"bytes": size_on_disk(path), "diskFreeBytes": free}


def last_backup(home: Home) -> dict[str, Any] | None:
    """`file`, `bytes` and `at` of the last `hapi hub backup`; `exists` tells whether it is still
    there. None if there was none.
    """
    try:
        found = json.loads(read_capped(home.hub_backup) or b"null")
        return {**found, "exists": os.path.exists(found["file"])}
    except (OSError, ValueError, TypeError, KeyError):
        return None


def status_facts(facts: Mapping[str, Any], now: float) -> Iterator[tuple[str, str]]:
    """Label and text of each fact, which may have several lines; `now` in seconds since the
    epoch.
    """
    if not facts["running"]:
        yield "Hub", "not running"
    else:
        unready = "" if facts.get("ready", True) else f", not ready: {facts.get('problem')}"
        if _waits_well(facts):
            unready = ", standby"
        yield "Hub", f"running (pid {facts['pid']}){unready}"
        yield "Address", str(facts["url"] or "none yet, the hub is starting")
        if facts["peopleUrl"] != facts["url"]:
            yield "Public address", str(facts["peopleUrl"])
    if "version" in facts:
        started = facts["startedAt"]
        yield "Version", str(facts["version"])
        yield "Started", f"{local_time(started)} ({ago(started, now)})"
    if "version" in facts and facts.get("role") != "standby":
        yield "Sessions", _sessions(facts["sessions"])
        machines = facts["machines"]
        yield "Machines", f"{machines['total']} ({machines['online']} online)"
        sockets, streams = facts["sockets"], facts["eventStreams"]
        of_programs = f"{plural(sockets, 'socket')} of runners and sessions"
        yield "Connections", f"{of_programs}, {plural(streams, 'event stream')} of pages"
    if facts.get("hubs"):
        yield "Hubs", "\n".join(_hubs(facts["hubs"], facts.get("hubsAge", 0), now))
        for problem in (each for hub in facts["hubs"] for each in hub.get("problems", ())):
            yield "Problem", problem
    yield "Home", str(facts["home"])
    yield "Database", _database(facts["database"])
    if (free := facts["database"]["diskFreeBytes"]) is not None:
        yield "Disk", f"{format_size(free)} free"
    if not is_url(facts["database"]["path"]):
        yield "Last backup", _backup(facts["lastBackup"], now)


def _hubs(hubs: Sequence[Mapping[str, Any]], age: float, now: float) -> Iterator[str]:
    """A line for each hub of the database, as it was known `age` seconds ago. Each hub gives a sign
    of life every two seconds, by the clock of the database.
    """
    if age > FRESH:
        read_at = (now - age) * 1000
        yield f"as they were known at {local_time(read_at)} ({ago(read_at, now)}):"
    rows = [_hub(hub) for hub in hubs]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        yield "  ".join(map(str.ljust, row, widths)).rstrip()


def _hub(hub: Mapping[str, Any]) -> tuple[str, ...]:
    role, since = hub["role"], f"since {local_time(hub['since'])}"
    if not hub["isUp"]:
        role, since = "lost", f"last seen {local_time(hub['seenAt'])}"
    elif hub.get("isDraining"):
        role = "draining"
    name, url = (" ".join(str(hub[key]).split()) for key in ("name", "url"))
    return name, url, role, since, f"version {hub['version']}"


def _sessions(states: Mapping[str, int]) -> str:
    counts = ", ".join(f"{count} {state}" for state, count in states.items())
    total = sum(states.values())
    return f"{total} ({counts})" if counts else "0"


def _database(database: Mapping[str, Any]) -> str:
    size, used = database["bytes"], database.get("usedBytes")
    if is_url(database["path"]):
        return str(database["path"]) + ("" if not used else f" (holds {format_size(used)})")
    if size is None:
        return f"{database['path']} (does not exist)"
    holds = "" if used is None else f"holds {format_size(used)}, "
    return f"{database['path']} ({holds}{format_size(size)} on disk)"


def _backup(backup: Mapping[str, Any] | None, now: float) -> str:
    if backup is None:
        return "none by `hapi hub backup` from this home"
    text = f"{local_time(backup['at'])} ({ago(backup['at'], now)}) to {backup['file']}"
    return text if backup["exists"] else f"{text}, which no longer exists"
