"""`hapi auth`: the access token and the hub's address in settings.json."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from typing import Any

import click

from hapi.cli.base.errors import REFUSED, UNREACHABLE, USAGE, Stop, epilog
from hapi.cli.base.output import json_flag, masked, print_json, say
from hapi.cli.base.run import run_once
from hapi.cli.checks.hub_check import HubVerdict, judge_hub
from hapi.home import Home
from hapi.settings import hub_access, origin, read_settings, update_settings


@click.group("auth")
def auth() -> None:
    """The access token: log in, look, log out."""


@auth.command("login", epilog=epilog(UNREACHABLE, REFUSED))
@click.option(
    "--url", help="The hub's origin, like https://hub.example.com; kept in settings.json."
)
@click.option("--no-check", is_flag=True, help="Keep the token without asking the hub.")
def login(url: str | None, no_check: bool) -> None:
    """Keep an access token in settings.json.

    The token is asked for on a terminal and read from standard input otherwise: on a command line every user of the
    machine could read it. The hub is asked first whether it takes the token.
    """
    home = Home.find().prepare()
    settings = read_settings(home)
    url = origin(url) if url else None
    token = _asked_token()
    candidate = {**settings, "cliApiToken": token} | ({"apiUrl": url} if url else {})
    access = hub_access(_without_token(os.environ, url), candidate)
    if not no_check:
        verdict = run_once(lambda reactor: judge_hub(reactor, access))
        if verdict.finding == "refused":
            raise Stop(f"the hub at {access.url} refused this token: {verdict.reason}", REFUSED)
        if verdict.finding == "unreachable":
            raise Stop(
                f"no hub answers at {access.url} ({verdict.reason}); --no-check keeps the token anyway",
                UNREACHABLE,
            )
    update_settings(
        home, lambda now: {**now, "cliApiToken": token} | ({"apiUrl": url} if url else {})
    )
    say(f"Token {masked(token)} for {access.url} kept in {home.settings}")
    if os.environ.get("CLI_API_TOKEN", "").strip() not in ("", token):
        say("Note: the variable CLI_API_TOKEN is set to another token and wins over the file.")


@auth.command("status", epilog=epilog(UNREACHABLE, REFUSED))
@click.option("--no-check", is_flag=True, help="Do not ask the hub.")
@json_flag
def status(no_check: bool, as_json: bool) -> None:
    """Which hub and which token are in use, where they come from, and whether the hub takes the token."""
    home = Home.find().check()
    settings = read_settings(home)
    access = hub_access(os.environ, settings)
    verdict = (
        HubVerdict("ok", "not asked")
        if no_check
        else run_once(lambda reactor: judge_hub(reactor, access))
    )
    report: dict[str, Any] = {
        "hub": access.url,
        "hubFrom": source(os.environ, settings, "HAPI_API_URL", ("apiUrl", "serverUrl")),
        "token": masked(access.token),
        "tokenFrom": source(os.environ, settings, "CLI_API_TOKEN", ("cliApiToken",)),
        "settings": str(home.settings),
        "finding": None if no_check else verdict.finding,
        "reason": verdict.reason or None,
    }
    if as_json:
        print_json(report)
    else:
        say(f"Hub:    {access.url} (from {report['hubFrom']})")
        say(f"Token:  {report['token']} (from {report['tokenFrom']})")
    if verdict.finding == "refused":
        raise Stop(f"the hub refused the token: {verdict.reason}", REFUSED)
    if verdict.finding == "unreachable":
        raise Stop(f"no hub answers at {access.url}: {verdict.reason}", UNREACHABLE)
    if not (as_json or no_check):
        say("The hub takes the token.")


@auth.command("logout", epilog=epilog())
def logout() -> None:
    """Remove the access token from settings.json."""
    home = Home.find().check()
    if "cliApiToken" not in read_settings(home):
        say(f"No token in {home.settings}")
    else:
        update_settings(
            home, lambda now: {key: value for key, value in now.items() if key != "cliApiToken"}
        )
        say(f"Token removed from {home.settings}")
    if os.environ.get("CLI_API_TOKEN", "").strip():
        say("Note: the variable CLI_API_TOKEN is still set.")


def source(
    environ: Mapping[str, str], settings: Mapping[str, Any], variable: str, keys: tuple[str, ...]
) -> str:
    """Where a setting comes from, for people: the variable, the key of settings.json, or `default`."""
    if environ.get(variable, "").strip():
        return variable
    return next((f"{key} in settings.json" for key in keys if settings.get(key)), "default")


def _asked_token() -> str:
    from hapi.protocol.token import AccessToken

    token = (
        str(click.prompt("Access token", hide_input=True))
        if sys.stdin.isatty()
        else sys.stdin.readline()
    )
    try:
        AccessToken.parse(token)
    except ValueError as error:
        raise Stop(str(error), USAGE) from error
    return token.strip()


def _without_token(environ: Mapping[str, str], url: str | None) -> dict[str, str]:
    """The variables without those that the command's own answers replace."""
    hidden = {"CLI_API_TOKEN"} | ({"HAPI_API_URL"} if url else set())
    return {name: value for name, value in environ.items() if name not in hidden}
