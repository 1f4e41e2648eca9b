"""`hapi runner`: start, stop and ask the runner of this machine."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from hapi.cli.base.errors import (
    HELD,
    NOT_RUNNING,
    REFUSED,
    RESTART,
    SUPERSEDED,
    UNREACHABLE,
    USAGE,
    Stop,
    epilog,
)
from hapi.cli.base.flags import RunnerFlags
from hapi.cli.base.output import json_flag, print_json, say, warn
from hapi.cli.base.run import run_once
from hapi.cli.base.unit_files import KINDS, Kind
from hapi.home import Home
from hapi.redaction import escape_control


def flags(command: Callable[..., Any]) -> Callable[..., Any]:
    """The flags of a runner; they may stand before the verb or after it."""
    for option in (
        click.option(
            "--revive",
            metavar="auto|offer",
            help="auto: what a reboot interrupted comes back by itself (offer).",
        ),
        click.option(
            "--queue",
            metavar="N",
            help="How many starts may wait for a place (HAPI_RUNNER_QUEUE; 0).",
        ),
        click.option(
            "--min-free-memory", metavar="SIZE", help="Memory that must be free for a start, as 2G."
        ),
        click.option(
            "--max-sessions",
            metavar="N",
            help="How many sessions may run at once; more are refused, or wait.",
        ),
        click.option(
            "--session-memory",
            metavar="SIZE",
            help="Memory that one session may take, as 4G; needs systemd.",
        ),
        click.option(
            "--session-command",
            metavar="COMMAND",
            help="The program that sessions run (HAPI_CLI_EXECUTABLE; ours).",
        ),
        click.option(
            "--workspace-root",
            "roots",
            multiple=True,
            metavar="PATH",
            help="Limit sessions to PATH; repeatable.",
        ),
    ):
        command = option(command)
    return command


@click.group("runner")
@flags
@click.pass_context
def runner(
    context: click.Context,
    /,
    roots: tuple[str, ...],
    session_command: str | None,
    **more: str | None,
) -> None:
    """The runner of this machine: starts sessions when the hub asks, tracks them, ends them."""
    context.obj = RunnerFlags(roots, session_command, _named(more))


def _together(
    context: click.Context,
    roots: tuple[str, ...],
    session_command: str | None,
    more: dict[str, str | None],
) -> RunnerFlags:
    before: RunnerFlags = context.obj
    together = {**before.more, **_named(more)}
    return RunnerFlags(
        (*before.workspace_roots, *roots), session_command or before.session_command, together
    )


def _named(more: dict[str, str | None]) -> dict[str, str]:
    return {name: value for name, value in more.items() if value is not None}


@runner.command("start-sync", epilog=epilog(HELD, SUPERSEDED, RESTART, serves=True))
@flags
@click.pass_context
def start_sync(
    context: click.Context,
    /,
    roots: tuple[str, ...],
    session_command: str | None,
    **more: str | None,
) -> None:
    """Run the runner in the foreground. Ctrl+C or SIGTERM ends it in order; its sessions go on.

    Without a terminal SIGHUP has it read settings.json again and reopen its log. Systemd is told when it is ready, and that it
    lives (NOTIFY_SOCKET, WATCHDOG_USEC); `hapi runner install-service` makes the unit.
    """
    from hapi.cli.commands.start_sync import run_runner

    sys.exit(run_runner(_together(context, roots, session_command, more)))


@runner.command("start", epilog=epilog(HELD, UNREACHABLE, REFUSED))
@flags
@click.option(
    "--wait", "wanted", type=click.Choice(["full", "api-only"]), default="full", show_default=True,
    help="Ready means: registered at the hub, or just answering here.",
)  # fmt: skip
@click.option(
    "--timeout",
    type=click.FloatRange(0.1),
    default=20.0,
    show_default=True,
    help="Seconds to wait for it.",
)
@json_flag
@click.pass_context
def start(
    context: click.Context,
    /,
    roots: tuple[str, ...],
    session_command: str | None,
    wanted: str,
    timeout: float,
    as_json: bool,
    **more: str | None,
) -> None:
    """Start the runner in the background and wait until it is ready.

    A runner of this version with these flags is left as it is; another one is replaced, and its sessions go on.
    """
    from hapi.cli.commands.start import start_runner

    start_runner(_together(context, roots, session_command, more), wanted, timeout, as_json)


@runner.command("stop", epilog=epilog())
@json_flag
def stop(as_json: bool) -> None:
    """Stop the runner. Its sessions go on."""
    from hapi.cli.commands.start import stop_running

    home = Home.find().check()
    pid = run_once(lambda reactor: stop_running(reactor, home))
    if as_json:
        print_json({"stopped": pid is not None, "pid": pid})
    else:
        say("The runner was not running" if pid is None else f"Runner stopped (pid {pid})")


@runner.command("status", epilog=epilog(NOT_RUNNING))
@json_flag
def status(as_json: bool) -> None:
    """Whether the runner runs, and whether the hub knows it."""
    from hapi.cli.commands.status import show_status

    show_status(Home.find().check(), as_json)


@runner.command("list", epilog=epilog(NOT_RUNNING))
@click.option(
    "--table", "as_table", is_flag=True, help="The table also where there is no terminal."
)
@json_flag
def list_sessions(as_table: bool, as_json: bool) -> None:
    """The live sessions that this runner knows: a table on a terminal, JSON elsewhere."""
    from hapi.cli.commands.status import show_sessions

    show_sessions(Home.find().check(), as_table, as_json)


@runner.command("stop-session", epilog=epilog(NOT_RUNNING))
@click.argument("session_id", required=False)
@json_flag
def stop_session(session_id: str | None, as_json: bool) -> None:
    """End the session SESSION_ID (or PID-<n>) with everything it started."""
    from hapi.cli.commands.status import end_session

    if not session_id:
        raise Stop("Session ID required", USAGE)
    end_session(Home.find().check(), session_id, as_json)


@runner.command("logs", epilog=epilog())
@click.argument("session_id", required=False)
@click.option(
    "-f",
    "--follow",
    "following",
    is_flag=True,
    help="Go on with what is written, until it ends or Ctrl+C.",
)
@click.option("-n", "--lines", type=click.IntRange(0), help="Only the last N lines.")
@json_flag
def logs(session_id: str | None, following: bool, lines: int | None, as_json: bool) -> None:
    """What the session SESSION_ID (or PID-<n>, or an attempt) wrote. Without one: where the runner's newest log is.

    Needs no runner; the output of ended sessions is kept for a while. --json tells the path alone.
    """
    from hapi.cli.commands.journal import find_attempt, show_log, show_output, why_silent
    from hapi.cli.commands.start import newest_log

    home = Home.find().check()
    if session_id:
        folder = find_attempt(home, session_id)
        if as_json:
            print_json({"path": str(folder.output), "attempt": folder.id})
        else:
            show_output(folder, lines, following)
            if lines != 0 and (silence := why_silent(folder)):
                warn(silence)
        return
    path = newest_log(home)
    if as_json:
        print_json({"path": None if path is None else str(path)})
    elif path is not None and (following or lines is not None):
        show_log(path, lines, following)
    else:
        say("No runner logs found" if path is None else escape_control(path))


@runner.command("drain", epilog=epilog(NOT_RUNNING))
@click.option("--wait", is_flag=True, help="Return when no turn runs any more.")
@click.option(
    "--timeout",
    type=click.FloatRange(0.0),
    default=600.0,
    show_default=True,
    help="Seconds to wait for that.",
)
@json_flag
def drain(wait: bool, timeout: float, as_json: bool) -> None:
    """Have the runner start no more sessions, until `resume`: also after a restart or an upgrade. Those that run go on."""
    from hapi.cli.commands.drain import drain as drain_runner

    drain_runner(wait, timeout, as_json)


@runner.command("resume", epilog=epilog(NOT_RUNNING))
@json_flag
def resume(as_json: bool) -> None:
    """Have a drained runner start sessions again."""
    from hapi.cli.commands.drain import resume as resume_runner

    resume_runner(as_json)


@runner.command("restart", epilog=epilog(HELD, NOT_RUNNING))
@click.option("--wait/--no-wait", default=True, help="Let the turns that run end first.")
@click.option(
    "--timeout",
    type=click.FloatRange(0.0),
    default=600.0,
    show_default=True,
    help="Seconds to wait for them.",
)
@json_flag
def restart(wait: bool, timeout: float, as_json: bool) -> None:
    """Start the runner anew with the flags it has. Its sessions go on and are taken over."""
    from hapi.cli.commands.drain import restart as restart_runner

    restart_runner(wait, timeout, as_json)


@runner.command("revive", epilog=epilog(NOT_RUNNING))
@click.argument("session_id", required=False)
@click.option("--all", "everything", is_flag=True, help="All of them, one after another.")
@json_flag
def revive(session_id: str | None, everything: bool, as_json: bool) -> None:
    """Sessions that a reboot or a kill has interrupted: show them, or bring SESSION_ID back."""
    from hapi.cli.commands.revive import revive as revive_sessions

    revive_sessions(session_id, everything, as_json)


@runner.command("events", epilog=epilog())
@click.option(
    "-f", "--follow", "following", is_flag=True, help="Go on with what happens, until Ctrl+C."
)
@click.option(
    "-n",
    "--lines",
    type=click.IntRange(0),
    default=100,
    show_default=True,
    help="How many of the past.",
)
@json_flag
def events(following: bool, lines: int, as_json: bool) -> None:
    """What happened to sessions and runner, why, and who wanted it. --json prints one object a line. Needs no runner."""
    from hapi.cli.commands.journal import show_events

    show_events(Home.find().check(), lines, following, as_json)


@runner.command("install-service", epilog=epilog())
@flags
@click.option(
    "--kind",
    type=click.Choice(KINDS),
    help="Which supervisor; by default that of a user on this system.",
)
@click.option(
    "--write",
    is_flag=True,
    help="Write the file where the supervisor looks for it, instead of printing it.",
)
@click.option(
    "--to",
    "path",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Write to FILE instead.",
)
@click.option("--force", is_flag=True, help="Replace a file that differs.")
@click.option(
    "--user", metavar="NAME", help="The user who runs it (systemd, supervisord); by default you."
)
@click.pass_context
def install_service(
    context: click.Context, /, roots: tuple[str, ...], session_command: str | None, kind: Any, write: bool, path: Path | None,
    force: bool, user: str | None, **more: str | None,
) -> None:  # fmt: skip
    """Print the file that makes systemd, supervisord or launchd keep this runner; with --write put it in place.

    Home, PATH and the flags given here go into it, tokens never. Ending or restarting the service leaves the sessions alone.
    """
    from hapi.cli.commands.install_service import default_kind, destination, install, installation

    wanted: Kind = kind or default_kind()
    what = installation(
        _together(context, roots, session_command, more), Home.find().check(), os.environ, user
    )
    install(
        wanted,
        what,
        path or destination(wanted, os.environ),
        write=write or path is not None,
        force=force,
    )
