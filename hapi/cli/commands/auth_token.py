"""`hapi auth token`: access tokens of single devices and machines, made and revoked at the hub."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar
from urllib.parse import quote

import click

from hapi.cli.base.common_options import home_option, json_flag
from hapi.cli.base.completion import complete_scopes, complete_token
from hapi.cli.base.errors import ERROR, REFUSED, UNREACHABLE, CommandError, exit_codes_epilog
from hapi.cli.base.output import echo, print_json, table
from hapi.cli.base.run import run_once
from hapi.home import Home
from hapi.protocol.token import Scope
from hapi.redaction import escape_control
from hapi.settings import hub_access, read_settings
from hapi.units import parse_duration

T = TypeVar("T")
PATH = "/api/tokens"
SCOPE_NAMES = ", ".join(scope.value for scope in Scope)


@click.group("token", short_help="Make, list and revoke access tokens.")
@home_option
def command() -> None:
    """Manage access tokens of single devices and machines at the hub.

    Each token has a name, and scopes that say what it may do. Revoking it ends its pages and
    connections at once, and leaves all other tokens as they are.
    """


def _read_scopes(_context: click.Context, _parameter: click.Parameter, text: str) -> list[str]:
    scopes = [word.strip() for word in text.split(",") if word.strip()]
    unknown = [word for word in scopes if word not in list(Scope)]
    if unknown or not scopes:
        what = f"{unknown[0]!r} is not a scope" if unknown else "it names no scope"
        raise click.BadParameter(f"{what}; the scopes are {SCOPE_NAMES}")
    return scopes


def _read_lifetime(
    _context: click.Context, _parameter: click.Parameter, text: str | None
) -> int | None:
    """Milliseconds."""
    if text is None:
        return None
    try:
        return int(parse_duration(text) * 1000)
    except ValueError as error:
        raise click.BadParameter(str(error)) from error


@command.command(
    "create",
    epilog=exit_codes_epilog(UNREACHABLE, REFUSED),
    short_help="Make an access token and print it.",
)
@click.option("--name", required=True, metavar="NAME", help="Name of the device, e.g. phone.")
@click.option(
    "--can",
    "scopes",
    required=True,
    metavar="SCOPES",
    callback=_read_scopes,
    shell_complete=complete_scopes,
    help="What the token allows, separated by commas: read (see sessions), chat (write to them), "
    "approve (answer permission requests), spawn (start, resume and archive sessions), machine "
    "(run a machine's sessions), terminal (open shells in sessions), admin (tokens, settings, "
    "audit, deleting sessions). All but machine include read.",
)
@click.option(
    "--expires",
    "lifetime",
    metavar="TIME",
    callback=_read_lifetime,
    help="When the token ends, e.g. 12h, 90d or 4w. [default: never]",
)
@click.option(
    "--machine",
    "machine_id",
    metavar="ID",
    help="The machine whose runner will use the token; its id is in `hapi runner status`. Without "
    "it, a token with the scope machine belongs to the first new machine that uses it.",
)
@click.option(
    "--namespace",
    metavar="NAME",
    help="The namespace that the token opens. [default: the one of the token in use]",
)
@home_option
@json_flag
def create(
    name: str,
    scopes: list[str],
    lifetime: int | None,
    machine_id: str | None,
    namespace: str | None,
    as_json: bool,
) -> None:
    """Make an access token and print it. It is not shown again: the hub keeps only its hash.

    Use it like the access token of the hub: on the login page, or with `hapi auth login`.
    """
    optional = {"expiresIn": lifetime, "machineId": machine_id, "namespace": namespace}
    body: dict[str, Any] = {"name": name, "scopes": scopes}
    body |= {key: value for key, value in optional.items() if value is not None}
    made = _with_hub(lambda client: client.web_request("POST", PATH, body))
    if as_json:
        print_json(made)
        return
    scopes_shown = ", ".join(map(str, made.get("scopes", ())))
    click.echo(
        f"Token {escape_control(made.get('name'))} ({escape_control(scopes_shown)}), "
        f"{_end(made)}. It is not shown again:",
        err=True,
    )
    echo(escape_control(made.get("token")))


@command.command(
    "list", epilog=exit_codes_epilog(UNREACHABLE, REFUSED), short_help="List the access tokens."
)
@home_option
@json_flag
def show(as_json: bool) -> None:
    """List the access tokens that were made at the hub, without the tokens themselves."""
    tokens = _listed(_with_hub(lambda client: client.web_request("GET", PATH)))
    if as_json:
        print_json(tokens)
    elif not tokens:
        echo("There are no access tokens besides that of the hub.")
    else:
        heads = ("NAME", "SCOPES", "NAMESPACE", "MACHINE", "CREATED", "LAST USED", "ENDS")
        table(heads, [_row(token) for token in tokens])


@command.command(
    "revoke",
    epilog=exit_codes_epilog(UNREACHABLE, REFUSED),
    short_help="End an access token.",
)
@click.argument("name", shell_complete=complete_token)
@home_option
def revoke(name: str) -> None:
    """End the access token NAME (a name or an id) and everything that was opened with it."""

    async def revoke_named(client: Any) -> None:
        tokens = _listed(await client.web_request("GET", PATH))
        found = [token for token in tokens if name in (token.get("id"), token.get("name"))]
        if not found:
            raise CommandError(f"there is no access token {name!r}")
        if len(found) > 1:
            ids = ", ".join(str(token.get("id")) for token in found)
            raise CommandError(f"{name!r} is the name of several tokens; use one of the ids: {ids}")
        await client.web_request("DELETE", f"{PATH}/{quote(str(found[0].get('id')), safe='')}")

    _with_hub(revoke_named)
    echo(f"Token {escape_control(name)} revoked")


def _listed(answer: dict[str, Any]) -> list[dict[str, Any]]:
    found = answer.get("tokens")
    return [token for token in found if isinstance(token, dict)] if isinstance(found, list) else []


def _with_hub(ask: Callable[[Any], Coroutine[Any, Any, T]]) -> T:
    """The result of `ask` with a client of the hub. Raises CommandError."""
    from hapi.net.client.hub_client import HubClient, HubRefused

    access = hub_access(os.environ, read_settings(Home.find().check()))
    try:
        return run_once(lambda reactor: ask(HubClient(reactor, access)))
    except HubRefused as refusal:
        if refusal.status == 404:
            message = f"the hub at {access.url} has no such token, or no tokens besides its own"
            raise CommandError(message) from refusal
        code = REFUSED if refusal.status in (401, 403) else ERROR
        raise CommandError(f"the hub at {access.url}: {refusal.reason}", code) from refusal


def _row(token: dict[str, Any]) -> tuple[str, ...]:
    return (
        str(token.get("name")),
        ",".join(map(str, token.get("scopes") or ())),
        str(token.get("namespace")),
        str(token.get("machineId") or "-"),
        _day(token.get("createdAt")),
        _day(token.get("lastUsedAt")),
        _day(token.get("expiresAt")),
    )


def _end(token: dict[str, Any]) -> str:
    expires_at = token.get("expiresAt")
    return "valid until it is revoked" if expires_at is None else f"valid until {_day(expires_at)}"


def _day(milliseconds: object) -> str:
    """A time in minutes, in the local time zone."""
    if not isinstance(milliseconds, int):
        return "-"
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(milliseconds / 1000))
