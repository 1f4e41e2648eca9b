"""`hapi hub install-service`: the file that makes a supervisor run this hub."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click
from attrs import evolve

from hapi.cli.base.common_options import home_option, is_home_given
from hapi.cli.base.errors import CommandError, exit_codes_epilog
from hapi.cli.base.hub_options import VARIABLES, hub_flags, hub_options, hub_words
from hapi.cli.base.service_account import Account
from hapi.cli.base.service_installation import (
    Target,
    install,
    installation,
    installation_options,
    service_environment,
)
from hapi.cli.base.unit_files import HUB, STOP_TIMEOUT
from hapi.hub.options import HubOptions, read_database
from hapi.hub.store.database_url import SETTING, DatabaseUrl, is_url

LOW_PORTS = Path("/proc/sys/net/ipv4/ip_unprivileged_port_start")  # ip(7)
DEFAULT_LOW_PORTS = 1024  # below it only root may listen


@click.command(
    "install-service",
    epilog=exit_codes_epilog(),
    short_help="Create a systemd, supervisord or launchd service.",
)
@hub_options
@home_option
@installation_options
@click.pass_context
def command(
    context: click.Context,
    /,
    kind: Any,
    write: bool,
    path: Path | None,
    force: bool,
    user: str | None,
    **values: Any,
) -> None:
    """Print or write the file that makes a supervisor run this hub.

    The file contains the home directory and the options given here, never a token. With --user the
    home is that of that user, who must be able to run this program. Stopping or restarting the
    service leaves the sessions running.
    """
    target = Target.chosen(kind, write, path, force, user)
    flags = absolute(hub_flags(values))
    account = Account.find(user)
    environ = service_environment(os.environ, user, is_home_given(context))
    home = account.home(environ)
    options = HubOptions.from_environment(environ, home=home, **flags)  # raises what is invalid
    options.check_sharing()
    refuse_passwords(flags, environ)
    if options.tls is not None:
        for file in (options.tls.certificate, options.tls.key):
            account.check_can_read(file)
    words = ("hub", *hub_words(flags))
    binds_low_port = 0 < options.port < first_free_port()
    what = installation(
        HUB, words, environ, target, variables(environ), binds_low_port=binds_low_port
    )
    install(target, evolve(what, stop_timeout=stop_timeout(options)))


def stop_timeout(options: HubOptions) -> int:
    """Seconds in which the hub has stopped: one of several first lets its clients go elsewhere."""
    return STOP_TIMEOUT + (0 if options.advertise is None else math.ceil(options.drain_seconds))


def refuse_passwords(flags: Mapping[str, Any], environ: Mapping[str, str]) -> None:
    """Raises CommandError if the file would contain the password of a database: other users may
    read it.
    """
    for text in (flags.get("database"), environ.get("HAPI_DATABASE"), environ.get("DB_PATH")):
        database = read_database(text, SETTING)
        if isinstance(database, DatabaseUrl) and database.has_password:
            raise CommandError(
                f"the file of a service would show the password of {database} to other users: give "
                "the URL without it, and keep the password in ~/.pgpass, or the whole URL as "
                "`database` in settings.json"
            )


def variables(environ: Mapping[str, str]) -> tuple[str, ...]:
    """The variables of a hub that are set."""
    return tuple(name for name in VARIABLES if environ.get(name))


def first_free_port() -> int:
    """The first port on which users other than root may listen."""
    try:
        return int(LOW_PORTS.read_text())
    except (OSError, ValueError):
        return DEFAULT_LOW_PORTS


def absolute(flags: Mapping[str, Any]) -> dict[str, Any]:
    """The flags with absolute paths: a service starts in another directory."""
    paths = ("database", "web_root", "tls_cert", "tls_key")
    return {
        name: os.path.abspath(os.path.expanduser(value))
        if name in paths and not is_url(value)
        else value
        for name, value in flags.items()
    }
