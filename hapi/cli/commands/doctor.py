"""`hapi doctor`: check everything a runner needs, and clean up what was left behind."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from typing import Any

import click
from attrs import asdict

from hapi import __version__
from hapi.cli.base.common_options import home_option, json_flag
from hapi.cli.base.errors import CommandError, exit_codes_epilog
from hapi.cli.base.output import echo, plural, print_json
from hapi.cli.base.run import run_once
from hapi.cli.checks.check import Check, failed_check, run_checks
from hapi.home import Home
from hapi.redaction import escape_control
from hapi.settings import read_settings

MARKS = {"good": "ok  ", "note": "note", "broken": "FAIL"}
CLEANUP_TIMEOUT = 300.0  # seconds


@click.group(
    "doctor",
    epilog=exit_codes_epilog(),
    invoke_without_command=True,
    short_help="Check this machine for problems.",
)
@home_option
@click.option(
    "--agents",
    "starts_agents",
    is_flag=True,
    help="Also start each agent, and report its version and whether it needs a login.",
)
@json_flag
@click.pass_context
def command(context: click.Context, starts_agents: bool, as_json: bool) -> None:
    """Check everything that a runner needs on this machine.

    Checks the home directory, settings, variables, hub, access token, clock, runner, agents,
    database, disk, open files and PATH, and starts and stops a process the way a session is
    started. Exits with status 1 if something does not work.

    With --agents, each agent that is found is started in an empty directory, opens a session, and
    is ended. It takes up to a minute, and nobody is logged in.
    """
    if context.invoked_subcommand is not None:
        return
    checks = examine(os.environ, starts_agents)
    broken = [check for check in checks if check.finding == "broken"]
    if as_json:
        findings = [asdict(check) for check in checks]
        print_json({"ok": not broken, "version": __version__, "checks": findings})
    else:
        for check in checks:
            echo(f"{MARKS[check.finding]}  {check.name:<12} {escape_control(check.text)}")
    if broken:
        names = ", ".join(check.name for check in broken)
        raise CommandError(f"{len(broken)} of {len(checks)} checks failed: {names}")


@command.command(
    "clean", epilog=exit_codes_epilog(), short_help="Clean up what dead sessions and runners left."
)
@click.option("--yes", is_flag=True, help="Clean up. [default: only list what would be removed]")
@home_option
@json_flag
def clean(yes: bool, as_json: bool) -> None:
    """List or remove what dead sessions and runners left behind in this home.

    These are processes of sessions that have ended, files that were uploaded to them, and files of
    a runner that no longer exists. Processes are recognized by pid, start time and the mark of
    their session, never by name. Live sessions and other homes are not touched.
    """
    from hapi.cli.checks.cleanup import clean_up, exclusive_home, scan

    home = Home.find().check()
    with exclusive_home(home) as is_ours:
        found = scan(home, is_ours)
        everything = [*map(str, found.strays), *map(str, found.leftovers)]
        troubles: list[str] = []
        if yes and everything:
            troubles = run_once(lambda reactor: clean_up(reactor, found), CLEANUP_TIMEOUT)
    if as_json:
        print_json(
            {"found": everything, "done": yes, "runnerRuns": found.runs, "troubles": troubles}
        )
    else:
        for text in everything:
            echo(escape_control(text))
        echo(_summary(len(everything), len(troubles), yes))
    if troubles:
        raise CommandError("; ".join(troubles))


def _summary(count: int, failed: int, is_done: bool) -> str:
    if not count:
        return "Nothing was left behind."
    if is_done:
        return f"{plural(count - failed, 'item')} removed."
    return f"{plural(count, 'item')} found. Run `hapi doctor clean --yes` to remove what was found."


def examine(environ: Mapping[str, str], starts_agents: bool = False) -> list[Check]:
    """All checks; one that depends on another comes after it."""
    from hapi.cli.checks import local_checks as local
    from hapi.cli.checks.database_check import check_database
    from hapi.cli.checks.live_checks import live_checks
    from hapi.cli.checks.tls_check import check_tls

    try:
        home = Home.find(environ)
    except Exception as error:
        return [failed_check("home", error)]
    system = f"Python {platform.python_version()}, {platform.system()}"
    checks = [Check("version", "good", f"hapi {__version__}, {system}")]
    home_checks = run_checks("home", lambda: [local.check_home(home)])
    checks += home_checks
    settings: dict[str, Any] | None = None
    if home_checks[0].finding == "broken":
        text = "not checked, because there is no usable home directory"
        checks.append(Check("settings", "note", text))
    else:
        try:
            settings = read_settings(home)
            checks.append(local.check_settings(home, settings))
        except Exception as error:
            checks.append(failed_check("settings", error))
    checks += [local.check_environment(environ)]
    checks += run_checks("state", lambda: [local.check_state_file(home)])
    checks += run_checks("runner", lambda: live_checks(home, environ, settings, starts_agents))
    checks += run_checks(
        "agents", lambda: [local.check_agents(settings or {}, environ, starts_agents)]
    )
    if settings is not None:
        checks += run_checks("database", lambda: check_database(home, environ))
        checks += run_checks("tls", lambda: check_tls(environ, settings or {}))
    checks += run_checks("disk", lambda: [local.check_disk(home)])
    return [*checks, local.check_descriptors(), local.check_path(environ)]
