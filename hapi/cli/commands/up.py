"""`hapi up`: hub, runner and page in one process, ready to use."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

import click
from attrs import define

from hapi import __version__
from hapi.cli.base.agents import agents_sentence, found_agents
from hapi.cli.base.errors import HELD, SUPERSEDED, Stop, epilog
from hapi.cli.base.output import json_flag, print_json, say
from hapi.cli.base.page_address import is_loopback, page_address, qr_code, reachable_url
from hapi.cli.commands.hub import PORT
from hapi.home import Home
from hapi.redaction import escape_control
from hapi.settings import read_settings, save_hub_address

if TYPE_CHECKING:
    from hapi.cli.base.process_host import Serving
    from hapi.log import Logging


@click.command("up", epilog=epilog(HELD, SUPERSEDED, serves=True))
@click.option(
    "--host", help="Where the hub listens (HAPI_LISTEN_HOST, 127.0.0.1); 0.0.0.0 lets a phone in."
)
@click.option("--port", type=PORT, help="On which port, 0 for any (HAPI_LISTEN_PORT, 3006).")
@click.option("--home", help="The directory of everything (HAPI_HOME, ~/.hapi).")
@click.option(
    "--workspace-root", "roots", multiple=True, help="Limit sessions to this directory; repeatable."
)
@click.option("--qr/--no-qr", default=True, help="Draw the page's address as a QR code.")
@json_flag
def up(
    host: str | None,
    port: int | None,
    home: str | None,
    roots: tuple[str, ...],
    qr: bool,
    as_json: bool,
) -> None:
    """Start everything on this machine: hub, runner and the web page.

    Prints the page's address and which agents were found. Ctrl+C ends hub and runner; sessions go on. Without a terminal SIGHUP
    has it reopen its log; systemd is told when it is ready, and that it lives (NOTIFY_SOCKET, WATCHDOG_USEC).
    """
    if home is not None:
        os.environ["HAPI_HOME"] = os.path.abspath(os.path.expanduser(home))
    flags = {name: value for name, value in (("host", host), ("port", port)) if value is not None}
    sys.exit(Up(Home.find().prepare(), flags, roots, qr, as_json).serve())


@define(eq=False)
class Up:
    """One run of `hapi up`."""

    home: Home
    hub_flags: dict[str, Any]
    roots: tuple[str, ...]
    qr: bool
    as_json: bool

    def serve(self) -> int:
        """Serve until asked to leave; the exit code. What is known to be wrong is raised before anything runs."""
        from twisted.internet import reactor
        from twisted.internet.defer import Deferred

        from hapi.cli.base.process_host import Serving
        from hapi.hub import HubOptions
        from hapi.log import start_logging

        read_settings(self.home)
        options = HubOptions.from_environment(os.environ, **self.hub_flags)
        logging = start_logging("up", self.home, terminal=sys.stderr, quiet_start=True)
        serving = Serving(reactor)
        try:
            return serving.run(
                lambda: Deferred.fromCoroutine(self._start(reactor, serving, logging, options))
            )
        finally:
            logging.stop()

    async def _start(self, reactor: Any, serving: Serving, logging: Logging, options: Any) -> None:
        from twisted.internet.task import deferLater

        from hapi.cli.base.daemon import GLANCE
        from hapi.cli.checks.settings_check import warn_of_troubles
        from hapi.cli.commands.start import is_reachable
        from hapi.cli.commands.start_sync import reload
        from hapi.hub import hub_service
        from hapi.runner import RunnerOptions, runner_service
        from hapi.runner.handoff.coordinator import part_of
        from hapi.runner.process import host

        if await self._already_up(reactor):
            serving.leave()
            return
        hub: Any = hub_service(reactor, options)
        hub.setServiceParent(serving.services)
        serving.services.startService()
        await hub.when_listening
        logging.secrets.add(hub.token)
        os.environ["HAPI_API_URL"] = hub.url  # sessions inherit it
        save_hub_address(self.home, hub.url)  # commands in other terminals find it too
        flags: dict[str, Any] = {"workspace_roots": self.roots} if self.roots else {}
        wanted = RunnerOptions.from_environment(
            os.environ, **flags, argv=("up",), log_path=str(logging.path)
        )
        succession = part_of(reactor, "`hapi up`, which serves the hub as well")
        runner: Any = runner_service(
            reactor, wanted, on_retired=serving.leave, succession=succession
        )
        runner.setServiceParent(serving.services)
        telling = host(reactor, runner, serving.services)
        if not sys.stdin.isatty():  # no terminal that could hang up
            serving.on_hangup = lambda: reload(logging, None, telling)
        await runner.when_up()
        logging.enable_terminal()
        self._tell(hub, logging)
        warn_of_troubles(os.environ, wanted.settings)
        while not is_reachable(runner.status()):
            await deferLater(reactor, GLANCE)
        if not self.as_json:
            say(
                f"This machine is registered as {escape_control(wanted.machine_id)}. Ctrl+C ends hub and runner; sessions go on."
            )

    async def _already_up(self, reactor: Any) -> bool:
        """Whether `hapi up` serves this home already; says where its page is. Raises Stop when a lone runner does."""
        from hapi.runner.control.client import ControlClient, RunnerNotRunning

        try:
            status = await ControlClient(reactor, self.home).status()
        except RunnerNotRunning:
            return False
        pid, url = status.get("pid"), str((status.get("hub") or {}).get("url"))
        if list(status.get("argv") or ())[:1] != ["up"]:
            raise Stop(
                f"a runner (pid {pid}, hub {url}) serves {self.home.path} already: `hapi runner stop` ends it",
                HELD,
            )
        if differing := self._differing(status, url):
            raise Stop(
                f"`hapi up` runs in {self.home.path} (pid {pid}) {differing}: `hapi runner stop` ends it",
                HELD,
            )
        token = (
            os.environ.get("CLI_API_TOKEN") or read_settings(self.home).get("cliApiToken") or ""
        ).strip()
        page = page_address(url, token)
        if self.as_json:
            print_json(
                {
                    "alreadyRunning": True,
                    "pid": pid,
                    "url": url,
                    "page": page,
                    "home": str(self.home.path),
                }
            )
        else:
            say(
                f"Already running in {escape_control(self.home.path)} (pid {pid}). Page: {escape_control(page)}"
            )
            say("`hapi runner stop` ends it.")
        return True

    def _differing(self, status: dict[str, Any], url: str) -> str:
        """What was asked for now and the one that runs has not, as a clause; "" when there is nothing."""
        from urllib.parse import urlsplit

        from hapi.runner.config.options import read_roots

        port, running = self.hub_flags.get("port"), urlsplit(url).port
        if port and port != running:
            return f"on port {running}, not {port}"
        roots, found = read_roots(self.roots, {}).given, status.get("workspaceRoots") or ()
        if roots and set(roots) != set(found):
            return f"with {'the workspace roots ' + ', '.join(map(str, found)) if found else 'no workspace roots'}"
        return ""

    def _tell(self, hub: Any, logging: Logging) -> None:
        found, missing = found_agents(read_settings(self.home), os.environ)
        url = reachable_url(hub.url, hub.options.host, hub.options.public_url)
        page = page_address(url, hub.token)
        if self.as_json:
            print_json(
                {
                    "url": url,
                    "page": page,
                    "pid": os.getpid(),
                    "home": str(self.home.path),
                    "log": str(logging.path),
                    "agents": found,
                }
            )
            return
        say(
            f"HAPI {__version__} is up. Open this page; the address holds the access token, keep it to yourself:\n"
        )
        say(f"  {page}\n")
        if self.qr:
            say(qr_code(page))
            if is_loopback(url):
                say(
                    "  (reachable from this machine only; `hapi up --host 0.0.0.0` lets a phone in)"
                )
            say()
        say(agents_sentence(found, missing))
        say(f"Home {escape_control(self.home.path)}, log {escape_control(logging.path)}.")
