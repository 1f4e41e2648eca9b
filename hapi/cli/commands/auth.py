"""`hapi auth`: the access token and the hub's address in settings.json."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from typing import Any

import click

from hapi.cli.base.common_options import home_option, json_flag
from hapi.cli.base.errors import (
    DONE,
    HELD,
    REFUSED,
    UNREACHABLE,
    USAGE,
    CommandError,
    exit_codes_epilog,
)
from hapi.cli.base.output import echo, mask_token, print_json, warn
from hapi.cli.base.run import run_once
from hapi.cli.checks.hub_check import HubVerdict, check_hub
from hapi.cli.commands.auth_token import command as token_command
from hapi.cli.runner.login import RunnerLogin, restart_runner, runner_login
from hapi.home import Home
from hapi.settings import HubAccess, hub_access, origin, read_settings, update_settings


@click.group("auth", short_help="Log in to a hub, log out, show the login.")
@home_option
def command() -> None:
    """Manage the hub's address and the access token in settings.json."""


command.add_command(token_command)


@command.command(
    "login",
    epilog=exit_codes_epilog(HELD, UNREACHABLE, REFUSED),
    short_help="Save an access token.",
)
@click.option(
    "--url",
    metavar="URL",
    help="Address of the hub, e.g. https://hub.example.com; saved with the token. "
    "[env: HAPI_API_URL; default: http://localhost:3006]",
)
@click.option(
    "--no-check", is_flag=True, help="Save the token without asking the hub whether it accepts it."
)
@click.option(
    "--restart-runner/--keep-runner",
    "restart",
    default=None,
    help="Restart a runner that still uses another token or hub, or leave it as it is. "
    "[default: ask on a terminal, otherwise leave it]",
)
@home_option
@click.pass_context
def login(context: click.Context, /, url: str | None, no_check: bool, restart: bool | None) -> None:
    """Save an access token in settings.json, after the hub has accepted it.

    The token is prompted for on a terminal and read from standard input otherwise. It cannot be
    given as an argument, because other users of the machine can read command lines.

    A running runner keeps the token and hub that it has until it is restarted.
    """
    home = Home.find().prepare()
    settings = read_settings(home)
    url = origin(url, "--url") if url else None
    token = _read_token()
    login_values = {"cliApiToken": token} | ({"apiUrl": url} if url else {})
    access = hub_access(_without_login(os.environ, url), {**settings, **login_values})

    async def save(reactor: Any) -> RunnerLogin | None:
        if not no_check:
            _raise_problem(access, await check_hub(reactor, access))
        update_settings(home, lambda now: {**now, **login_values})
        return await runner_login(reactor, home, access)

    if no_check and not home.runner_state.exists():  # nobody to ask
        update_settings(home, lambda now: {**now, **login_values})
        runner = None
    else:
        runner = run_once(save)
    echo(f"Token {mask_token(token)} for {access.url} saved in {home.settings}")
    if os.environ.get("CLI_API_TOKEN", "").strip() not in ("", token):
        echo("Note: CLI_API_TOKEN is set to another token, which takes precedence.")
    if runner is not None and not runner.is_current:
        context.exit(_switch(runner, restart))


def _raise_problem(access: HubAccess, verdict: HubVerdict) -> None:
    """Raise CommandError unless the hub has accepted the token."""
    if verdict.finding == "refused":
        raise CommandError(f"the hub at {access.url} refused this token: {verdict.reason}", REFUSED)
    if verdict.finding != "ok":
        problem = verdict.problem(f"the hub at {access.url}")
        raise CommandError(f"{problem} (--no-check saves the token anyway)", UNREACHABLE)


def _switch(runner: RunnerLogin, restart: bool | None) -> int:
    """Say that the runner uses another login, and restart it if the person wants that; the exit
    code."""
    if not (restart and runner.can_restart):
        warn(runner.problem)
    if restart is None and runner.can_restart and sys.stdin.isatty():
        restart = click.confirm("Restart the runner now?", default=True, err=True)
    if not restart:
        return DONE
    if not runner.can_restart:
        raise CommandError(f"the runner was not restarted: {runner.hint}", HELD)
    return restart_runner()


@command.command(
    "status",
    epilog=exit_codes_epilog(UNREACHABLE, REFUSED),
    short_help="Show the hub and the token in use.",
)
@click.option("--no-check", is_flag=True, help="Do not ask the hub whether it accepts the token.")
@json_flag
@home_option
def status(no_check: bool, as_json: bool) -> None:
    """Show which hub and token are in use, where they are set, and whether the hub accepts them."""
    home = Home.find().check()
    settings = read_settings(home)
    access = hub_access(os.environ, settings)

    async def ask(reactor: Any) -> tuple[HubVerdict, RunnerLogin | None]:
        verdict = HubVerdict("ok") if no_check else await check_hub(reactor, access)
        return verdict, await runner_login(reactor, home, access)

    verdict, runner = HubVerdict("ok"), None
    if not no_check or home.runner_state.exists():
        verdict, runner = run_once(ask)
    report: dict[str, Any] = {
        "hub": access.url,
        "hubFrom": source(os.environ, settings, "HAPI_API_URL", ("apiUrl", "serverUrl")),
        "token": mask_token(access.token),
        "tokenFrom": source(os.environ, settings, "CLI_API_TOKEN", ("cliApiToken",)),
        "settings": str(home.settings),
        "finding": None if no_check else verdict.finding,
        "reason": verdict.reason or None,
        "runner": runner and {"pid": runner.pid, "usesThisLogin": runner.is_current},
    }
    if as_json:
        print_json(report)
    else:
        echo(f"Hub:    {access.url} (from {report['hubFrom']})")
        echo(f"Token:  {report['token']} (from {report['tokenFrom']})")
        if runner is not None:
            same = "uses this hub and token" if runner.is_current else "uses another hub or token"
            echo(f"Runner: {same} (pid {runner.pid})")
            if not runner.is_current:
                warn(runner.problem)
    if verdict.finding == "refused":
        raise CommandError(f"the hub at {access.url} refused the token: {verdict.reason}", REFUSED)
    if verdict.finding != "ok":
        raise CommandError(verdict.problem(f"the hub at {access.url}"), UNREACHABLE)
    if not (as_json or no_check):
        echo("The hub accepts the token.")


@command.command("logout", epilog=exit_codes_epilog(), short_help="Remove the access token.")
@home_option
def logout() -> None:
    """Remove the access token from settings.json."""
    home = Home.find().check()
    if "cliApiToken" not in read_settings(home):
        echo(f"There is no token in {home.settings}")
    else:
        update_settings(
            home, lambda now: {key: value for key, value in now.items() if key != "cliApiToken"}
        )
        echo(f"Token removed from {home.settings}")
        if home.runner_state.exists():
            echo("A runner that is running keeps the token until it is stopped.")
    if os.environ.get("CLI_API_TOKEN", "").strip():
        echo("Note: CLI_API_TOKEN is still set.")


def source(
    environ: Mapping[str, str], settings: Mapping[str, Any], variable: str, keys: tuple[str, ...]
) -> str:
    """Where a setting comes from: the variable, the key of settings.json, or `default`."""
    if environ.get(variable, "").strip():
        return variable
    return next((f"{key} in settings.json" for key in keys if settings.get(key)), "default")


def _read_token() -> str:
    from hapi.protocol.token import AccessToken

    if sys.stdin.isatty():
        token = str(click.prompt("Access token", hide_input=True))
    else:
        token = sys.stdin.readline()
    token = token.strip()  # a line of standard input ends with a line break
    try:
        AccessToken.parse(token)
    except ValueError as error:
        raise CommandError(str(error), USAGE) from error
    return token


def _without_login(environ: Mapping[str, str], url: str | None) -> dict[str, str]:
    """The environment without the variables that the new login replaces."""
    hidden = {"CLI_API_TOKEN"} | ({"HAPI_API_URL"} if url else set())
    return {name: value for name, value in environ.items() if name not in hidden}
