"""The hub in the foreground. Loads no click, so that the hub listens sooner."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from typing import Any

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


def serve_hub(flags: Mapping[str, Any], as_json: bool = False, qr: bool = False) -> int:
    """Serve until asked to leave; the exit code."""
    import_twisted_core()
    with lighter_libraries():
        from hapi.hub.options import HubOptions, hide_password

    home = Home.find().prepare()
    options = HubOptions.from_environment(os.environ, **flags)
    options.check_sharing()
    hide_password(options.database, flags.get("database"))
    if options.tls is None:
        block_unused_imports(f"http://{options.host}")
    with lighter_libraries():
        from twisted.internet import reactor

        from hapi.cli.base.foreground import attend_hub, reload
        from hapi.cli.base.process_host import process_host
        from hapi.cli.checks.startup_check import check_settings_later
        from hapi.hub import hub_service
        from hapi.log import start_logging
        from hapi.process.descriptor_limit import raise_descriptor_limit
        from hapi.runner.supervision.sd_notify import HubNotifier, NotifySocket

    logging = start_logging(
        "hub", home, terminal=sys.stderr, quiet_start=True, settings=read_settings(home)
    )
    logging.secrets.add(*options.database_secrets)
    raise_descriptor_limit()
    host = process_host(reactor)
    service: Any = hub_service(reactor, options)
    attend_hub(host, service)
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
        check_settings_later(reactor, read_settings(home))
        if systemd is not None:
            systemd.ready(service.url)
        if as_json:
            _print_facts(home, service, str(logging.path))
        else:
            _print_addresses(home, service, other_hub, qr)

    try:
        return host.run(start)
    finally:
        logging.stop()


def _print_facts(home: Home, service: Any, log: str) -> None:
    facts = {"url": service.url, "peopleUrl": service.people_url, "pid": os.getpid()}
    facts |= {"standby": True, "problem": service.waits_because} if service.is_standby else {}
    print_json({**facts, "home": str(home.path), "log": log})


def _print_addresses(home: Home, service: Any, other_hub: str | None, qr: bool) -> None:
    """Where the hub listens, and how runners and people get there."""
    from hapi.cli.base.foreground import tell_when_serving, waiting_sentence

    echo(f"Hub listens on {service.url}")
    if service.is_standby:
        echo(waiting_sentence(service))
        # Neither runners nor people can use it before that.
        tell_when_serving(service, lambda: _print_ways(home, service, other_hub, qr))
    else:
        _print_ways(home, service, other_hub, qr)


def _print_ways(home: Home, service: Any, other_hub: str | None, qr: bool) -> None:
    """How runners and people get to a hub that serves."""
    from hapi.cli.base.page_address import page_address, qr_code

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
