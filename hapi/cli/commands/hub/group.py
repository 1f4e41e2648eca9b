"""`hapi hub`: the hub in the foreground, and the commands for its database."""

from __future__ import annotations

import os
import sys
from typing import Any

import click

from hapi.cli.base.command_group import CommandGroup
from hapi.cli.base.common_options import home_option, json_flag, log_format_option
from hapi.cli.base.errors import HELD, exit_codes_epilog
from hapi.cli.base.hub_options import hub_flags, hub_options
from hapi.cli.base.output import echo, print_json
from hapi.home import Home
from hapi.redaction import escape_control
from hapi.settings import read_settings, save_hub_address
from hapi.startup import (
    block_unused_imports,
    import_twisted_core,
    lighter_libraries,
    resume_garbage_collection,
)


@click.group(
    "hub",
    cls=CommandGroup,
    modules={
        name: f"hapi.cli.commands.hub.{name.replace('-', '_')}"
        for name in ("status", "audit", "backup", "compact", "install-service")
    },
    invoke_without_command=True,
    subcommand_metavar="[COMMAND]",
    epilog=exit_codes_epilog(HELD, serves=True),
    short_help="Run the hub: API, database and web page.",
)
@hub_options
@log_format_option
@home_option
@click.option(
    "--relay/--no-relay",
    default=False,
    hidden=True,
    help="Accepted for compatibility with the npm CLI; there is no relay.",
)
@click.option(
    "--qr/--no-qr",
    default=False,
    show_default=True,
    help="Show the address of the page as a QR code, on a terminal.",
)
@json_flag
@click.pass_context
def command(context: click.Context, /, relay: bool, qr: bool, as_json: bool, **values: Any) -> None:
    """Run the hub: API, database and web page. The commands below administer it.

    Runners of the same home find the hub on any port, unless settings.json names another hub
    (apiUrl). Ctrl+C or SIGTERM shuts the hub down cleanly. Without a terminal, SIGHUP makes it
    reopen its log file and read the TLS certificate again; changed settings take effect after a
    restart.
    """
    flags = hub_flags(values)
    if context.invoked_subcommand is None:
        sys.exit(serve_hub(flags, as_json, qr))
    context.obj = flags.pop("database", None)
    if flags or as_json:
        raise click.UsageError("Only --home and --database may precede a command of `hapi hub`")


def serve_hub(flags: dict[str, Any], as_json: bool, qr: bool = False) -> int:
    """Serve until asked to leave; the exit code."""
    import_twisted_core()
    with lighter_libraries():
        from hapi.hub.options import HubOptions

    home = Home.find().prepare()
    options = HubOptions.from_environment(os.environ, **flags)
    if options.tls is None:
        block_unused_imports(f"http://{options.host}")
    with lighter_libraries():
        from twisted.internet import reactor

        from hapi.cli.base.process_host import process_host
        from hapi.cli.checks.settings_check import log_problems
        from hapi.cli.runner.foreground import reload
        from hapi.hub import hub_service
        from hapi.log import start_logging
        from hapi.process.descriptor_limit import raise_descriptor_limit
        from hapi.runner.supervision.sd_notify import HubNotifier, NotifySocket

    logging = start_logging(
        "hub", home, terminal=sys.stderr, quiet_start=True, settings=read_settings(home)
    )
    raise_descriptor_limit()
    host = process_host(reactor)
    service: Any = hub_service(reactor, options)
    notify_socket = NotifySocket.named_by(os.environ)
    systemd = None if notify_socket is None else HubNotifier(notify_socket)
    if not sys.stdin.isatty():  # SIGHUP then comes from no terminal
        host.on_hangup = lambda: reload(logging, service, None)

    async def start() -> None:
        host.services.addService(service)
        if systemd is not None:
            host.services.addService(systemd)
        host.services.startService()
        await service.when_listening
        other_hub = save_hub_address(home, service.url)
        logging.secrets.add(service.token)
        resume_garbage_collection()
        logging.enable_terminal()
        log_problems(os.environ, read_settings(home))
        if systemd is not None:
            systemd.ready(service.url)
        if as_json:
            facts = {"url": service.url, "peopleUrl": service.people_url, "pid": os.getpid()}
            print_json({**facts, "home": str(home.path), "log": str(logging.path)})
        else:
            _print_addresses(home, service, other_hub, qr)

    try:
        return host.run(start)
    finally:
        logging.stop()


def _print_addresses(home: Home, service: Any, other_hub: str | None, qr: bool) -> None:
    """Where the hub listens, and how runners and people get there."""
    from hapi.cli.base.page_address import page_address, qr_code

    echo(f"Hub listens on {service.url}")
    if other_hub is not None and other_hub.rstrip("/") != service.options.public_url:
        echo(
            f"Runners of this home use {escape_control(other_hub)} (apiUrl in settings.json). "
            "To use this hub instead:"
        )
        echo(f"  HAPI_API_URL={service.url} hapi runner start")
    if sys.stdout.isatty():
        page = page_address(service.people_url, service.token)
        echo(f"Page: {page}")
        if qr:
            echo(qr_code(page))
    else:  # the output may be kept in a log, so the token stays out
        echo(f"Page: {service.people_url}/ (access token: cliApiToken in {home.settings})")
