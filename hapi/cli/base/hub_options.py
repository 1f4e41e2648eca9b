"""The options that configure a hub, shared by `hapi hub` and `hapi up`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import click

from hapi.cli.base.completion import complete_directory, complete_file
from hapi.cli.base.runner_options import git_actions_option

database_option = click.option(
    "--database",
    metavar="FILE|URL",
    shell_complete=complete_file,
    help="Database file, or postgresql://USER@HOST/DATABASE. Keep a password in ~/.pgpass, "
    "PGPASSWORD or settings.json. [env: HAPI_DATABASE; DB_PATH; default: hub.db in the home "
    "directory]",
)

_OPTIONS = (
    click.option(
        "--host",
        metavar="ADDRESS",
        help="Address to listen on. Use 0.0.0.0 to accept connections from other devices. "
        "[env: HAPI_LISTEN_HOST; default: 127.0.0.1]",
    ),
    click.option(
        "--port",
        type=click.IntRange(0, 65535),
        metavar="PORT",
        help="Port to listen on; 0 picks a free one. [env: HAPI_LISTEN_PORT; default: 3006]",
    ),
    click.option(
        "--public-url",
        metavar="URL",
        help="Address of the hub as seen from other devices, e.g. that of a TLS proxy. "
        "[env: HAPI_PUBLIC_URL; default: the address it listens on]",
    ),
    click.option(
        "--cors-origin",
        "cors_origins",
        multiple=True,
        metavar="ORIGIN",
        help="Allow web pages of ORIGIN to call the hub (* allows all); repeatable. "
        "[env: CORS_ORIGINS; default: none]",
    ),
    click.option(
        "--allowed-host",
        "allowed_hosts",
        multiple=True,
        metavar="NAME",
        help="Answer requests for the host name NAME, besides loopback names and that of "
        "--public-url; repeatable. [env: HAPI_ALLOWED_HOSTS; default: none]",
    ),
    click.option(
        "--trusted-proxy",
        "trusted_proxies",
        multiple=True,
        metavar="ADDRESS[/PREFIX]",
        help="Take the addresses of clients from the Forwarded or X-Forwarded-For header of the "
        "reverse proxy ADDRESS; repeatable. [env: HAPI_TRUSTED_PROXIES; default: none]",
    ),
    click.option(
        "--tls-cert",
        metavar="FILE",
        shell_complete=complete_file,
        help="Serve HTTPS with the certificate chain in FILE (PEM, the hub's own certificate "
        "first). SIGHUP reads it again. [env: HAPI_TLS_CERT; default: HTTP]",
    ),
    click.option(
        "--tls-key",
        metavar="FILE",
        shell_complete=complete_file,
        help="Private key of the certificate (PEM, not encrypted). "
        "[env: HAPI_TLS_KEY; default: in the file of --tls-cert]",
    ),
    click.option(
        "--base-path",
        metavar="PATH",
        help="Path below which a reverse proxy serves the hub, e.g. /hapi: it becomes part of "
        "links, and the hub also answers requests that begin with it. "
        "[env: HAPI_BASE_PATH; default: /]",
    ),
    click.option(
        "--web-root",
        metavar="DIR",
        shell_complete=complete_directory,
        help="Serve the web page in DIR. [env: HAPI_WEB_ROOT; default: the built-in page]",
    ),
    database_option,
    click.option(
        "--name",
        metavar="NAME",
        help="Name of this hub among those of a database in PostgreSQL. "
        "[env: HAPI_HUB_NAME; default: the host name]",
    ),
    click.option(
        "--advertise",
        metavar="URL",
        help="Serve the database together with other hubs, which reach this one at URL, e.g. "
        "http://10.0.0.5:3006. [env: HAPI_ADVERTISE; default: one hub serves, the others wait]",
    ),
    click.option(
        "--drain-seconds",
        metavar="SECONDS",
        help="Time in which a hub with --advertise that is stopped closes its connections. "
        "[env: HAPI_DRAIN_SECONDS; default: 10]",
    ),
    click.option(
        "--keep-sessions",
        metavar="AGE",
        help="Remove sessions that are inactive and were not used for AGE, e.g. 90d, 12w or 36h; "
        "pinned ones are kept. [env: HAPI_KEEP_SESSIONS; default: keep all]",
    ),
    click.option(
        "--max-database-size",
        metavar="SIZE",
        help="Remove inactive sessions, archived ones first, while the database holds more than "
        "SIZE, e.g. 2G; pinned ones are kept. [env: HAPI_MAX_DATABASE_SIZE; default: no limit]",
    ),
    click.option(
        "--vapid-subject",
        metavar="URL",
        help="Whom push services may turn to about this hub's notifications: a mailto: or https: "
        "URL. [env: VAPID_SUBJECT; default: the public URL]",
    ),
    click.option(
        "--push-private-addresses",
        type=click.Choice(["yes", "no"]),
        help="Whether notifications may go to push services at private addresses, such as one of "
        "your own. [env: HAPI_PUSH_PRIVATE_ADDRESSES; default: no]",
    ),
    click.option(
        "--notify-proxy",
        metavar="URL",
        help="HTTP proxy through which the hub reaches push services and Telegram. "
        "[env: HAPI_NOTIFY_PROXY; default: none]",
    ),
    click.option(
        "--telegram-api",
        metavar="URL",
        help="Address of the Telegram Bot API. The bot's token is TELEGRAM_BOT_TOKEN or "
        "telegramBotToken in settings.json. [env: HAPI_TELEGRAM_API; default: "
        "https://api.telegram.org]",
    ),
    click.option(
        "--telegram-notification",
        type=click.Choice(["yes", "no"]),
        help="Whether the Telegram bot sends notifications. "
        "[env: TELEGRAM_NOTIFICATION; default: yes]",
    ),
)

VARIABLES = (  # of these options; none is secret, unless a URL of a database has a password
    "HAPI_LISTEN_HOST",
    "HAPI_LISTEN_PORT",
    "HAPI_PUBLIC_URL",
    "CORS_ORIGINS",
    "HAPI_ALLOWED_HOSTS",
    "HAPI_TRUSTED_PROXIES",
    "HAPI_TLS_CERT",
    "HAPI_TLS_KEY",
    "HAPI_BASE_PATH",
    "HAPI_WEB_ROOT",
    "HAPI_DATABASE",
    "DB_PATH",
    "HAPI_HUB_NAME",
    "HAPI_ADVERTISE",
    "HAPI_DRAIN_SECONDS",
    "HAPI_KEEP_SESSIONS",
    "HAPI_MAX_DATABASE_SIZE",
    "VAPID_SUBJECT",
    "HAPI_PUSH_PRIVATE_ADDRESSES",
    "HAPI_NOTIFY_PROXY",
    "HAPI_TELEGRAM_API",
    "TELEGRAM_NOTIFICATION",
    "HAPI_GIT_ACTIONS",
)
_REPEATABLE = {
    "cors_origins": "--cors-origin",
    "allowed_hosts": "--allowed-host",
    "trusted_proxies": "--trusted-proxy",
}


def hub_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options of a hub, without those that the command already has: `hapi up` has one
    --git-actions for hub and runner."""
    known = {param.name for param in getattr(command, "__click_params__", ())}
    if "git_actions" not in known:
        command = git_actions_option(command)
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def hub_flags(values: dict[str, Any]) -> dict[str, Any]:
    """The options that were given, as keyword arguments of `HubOptions.from_environment`."""
    return {name: value for name, value in values.items() if value not in (None, ())}


def hub_words(flags: Mapping[str, Any]) -> list[str]:
    """The flags of `hub_flags` as the words of a command line that follow `hub`."""
    words: list[str] = []
    for name, value in flags.items():
        flag = _REPEATABLE.get(name) or f"--{name.replace('_', '-')}"
        for each in value if name in _REPEATABLE else (value,):
            words += [flag, str(each)]
    return words
