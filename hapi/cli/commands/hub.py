"""`hapi hub`: the hub in the foreground."""

from __future__ import annotations

import os
import sys
from typing import Any

import click

from hapi.cli.base.errors import epilog
from hapi.cli.base.output import json_flag, print_json, say
from hapi.home import Home
from hapi.redaction import escape_control
from hapi.settings import read_settings, save_hub_address

PORT = click.IntRange(0, 65535)


@click.command("hub", epilog=epilog(serves=True))
@click.option("--host", help="Where to listen (HAPI_LISTEN_HOST, 127.0.0.1).")
@click.option("--port", type=PORT, help="On which port, 0 for any (HAPI_LISTEN_PORT, 3006).")
@click.option("--public-url", help="The hub's address seen from outside (HAPI_PUBLIC_URL).")
@click.option(
    "--web-root", metavar="PATH", help="A directory with another page (HAPI_WEB_ROOT; ours)."
)
@click.option(
    "--cors-origin",
    "cors_origins",
    multiple=True,
    metavar="ORIGIN",
    help="An origin whose pages may call it.",
)
@click.option(
    "--allowed-host",
    "allowed_hosts",
    multiple=True,
    metavar="NAME",
    help="A host name that it answers to.",
)
@click.option("--database", metavar="FILE", help="The database (DB_PATH, hub.db in the home).")
@click.option(
    "--relay/--no-relay",
    default=False,
    hidden=True,
    help="Accepted for the npm CLI's sake; there is no relay.",
)
@json_flag
def hub(relay: bool, as_json: bool, **flags: Any) -> None:
    """Run the hub: REST, Socket.IO, events, database and web page. Ctrl+C or SIGTERM ends it in order.

    Runners of this home find it on whatever port, unless settings.json names another hub (apiUrl).
    Without a terminal SIGHUP has it reopen its log; what is set takes a restart.
    """
    sys.exit(
        serve_hub({name: None if value == () else value for name, value in flags.items()}, as_json)
    )


def serve_hub(flags: dict[str, Any], as_json: bool) -> int:
    """Serve until asked to leave; the exit code."""
    from twisted.internet import reactor

    from hapi.cli.base.page_address import page_address
    from hapi.cli.base.process_host import Serving
    from hapi.cli.checks.settings_check import warn_of_troubles
    from hapi.hub import HubOptions, hub_service
    from hapi.log import start_logging

    home = Home.find().prepare()
    options = HubOptions.from_environment(
        os.environ, **{name: value for name, value in flags.items() if value is not None}
    )
    logging = start_logging("hub", home, terminal=sys.stderr, quiet_start=True)
    serving = Serving(reactor)
    service: Any = hub_service(reactor, options)

    if not sys.stdin.isatty():  # no terminal that could hang up
        serving.on_hangup = logging.reopen

    async def start() -> None:
        serving.services.addService(service)
        serving.services.startService()
        await service.when_listening
        other = save_hub_address(home, service.url)
        logging.secrets.add(service.token)
        logging.enable_terminal()
        warn_of_troubles(os.environ, read_settings(home))
        if as_json:
            print_json(
                {
                    "url": service.url,
                    "pid": os.getpid(),
                    "home": str(home.path),
                    "log": str(logging.path),
                }
            )
            return
        say(f"Hub listens on {service.url}")
        if other is not None and other.rstrip("/") != options.public_url:
            say(
                f"Runners of this home ask {escape_control(other)}, as settings.json says. For this hub:"
            )
            say(f"  HAPI_API_URL={service.url} hapi runner start")
        if sys.stdout.isatty():
            say(f"Page: {page_address(service.url, service.token)}")
        else:  # whatever collects this output keeps it: the token stays out
            say(f"Page: {service.url}/ (access token: cliApiToken in {home.settings})")

    from twisted.internet.defer import Deferred

    try:
        return serving.run(lambda: Deferred.fromCoroutine(start()))
    finally:
        logging.stop()
