"""`hapi up`: hub, runner and web page in one process, ready to use."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import click
from attrs import define

from hapi import __version__
from hapi.cli.base.agent_summary import agents_sentence, detect_agents
from hapi.cli.base.common_options import home_option, json_flag, log_format_option
from hapi.cli.base.dropped_flags import has_value
from hapi.cli.base.errors import HELD, SUPERSEDED, CommandError, exit_codes_epilog
from hapi.cli.base.flags import VALUE_FLAGS, RunnerFlags
from hapi.cli.base.hub_options import hub_flags, hub_options
from hapi.cli.base.output import echo, print_json, warn
from hapi.cli.base.page_address import page_address, qr_code
from hapi.cli.base.runner_options import runner_flags, runner_options
from hapi.home import Home
from hapi.redaction import escape_control
from hapi.settings import read_settings, save_hub_address
from hapi.startup import (
    block_unused_imports,
    import_twisted_core,
    lighter_libraries,
    resume_garbage_collection,
)

if TYPE_CHECKING:
    from hapi.cli.base.tunnel import Tunnel
    from hapi.log import Logging
    from hapi.process_host import ForegroundHost


@click.command(
    "up",
    epilog=exit_codes_epilog(HELD, SUPERSEDED, serves=True),
    short_help="Start everything: hub, runner and web page.",
)
@hub_options
@runner_options
@log_format_option
@home_option
@click.option(
    "--tunnel",
    metavar="PROGRAM",
    help="Make the hub reachable from elsewhere through a tunnel program of yours: cloudflared, "
    "tailscale, or 'ssh HOST'. [env: HAPI_TUNNEL; default: none]",
)
@click.option(
    "--qr/--no-qr", default=True, show_default=True, help="Show the address as a QR code."
)
@json_flag
def command(
    tunnel: str | None,
    qr: bool,
    as_json: bool,
    roots: tuple[str, ...],
    session_command: str | None,
    session_memory: str | None,
    max_sessions: str | None,
    min_free_memory: str | None,
    queue: str | None,
    revive: str | None,
    idle_agent: str | None,
    git_actions: str | None,
    terminal: str | None,
    **hub_values: Any,
) -> None:
    """Start hub, runner and web page on this machine, in one process.

    Prints the address of the page and the agents found on this machine. Ctrl+C shuts hub and
    runner down; sessions keep running. Without a terminal, SIGHUP makes the process reopen its
    log file. Under systemd it reports readiness and feeds the watchdog (NOTIFY_SOCKET,
    WATCHDOG_USEC).
    """
    more = {
        "session_memory": session_memory,
        "max_sessions": max_sessions,
        "min_free_memory": min_free_memory,
        "queue": queue,
        "revive": revive,
        "idle_agent": idle_agent,
        "git_actions": git_actions,
        "terminal": terminal,
    }
    flags = runner_flags(roots, session_command, more)
    home = Home.find().prepare()
    hub_values["git_actions"] = git_actions
    sys.exit(Up(home, hub_flags(hub_values), flags, tunnel, qr, as_json).serve())


@define(eq=False, repr=False)
class Up:
    """One run of `hapi up`."""

    home: Home
    hub_flags: dict[str, Any]
    runner_flags: RunnerFlags
    tunnel: str | None
    qr: bool
    as_json: bool

    def serve(self) -> int:
        """Serve until asked to leave; the exit code. Invalid options are raised before that."""
        import_twisted_core()
        with lighter_libraries():
            from hapi.hub.options import HubOptions, hide_password

        settings = read_settings(self.home)
        options = HubOptions.from_environment(os.environ, **self.hub_flags)
        options.check_sharing()
        hide_password(options.database, self.hub_flags.get("database"))
        options = options.taking_database_secrets(os.environ)  # sessions inherit the variables
        if options.tls is None:
            block_unused_imports(f"http://{options.host}")
        tunnel = self._wanted_tunnel(settings)
        with lighter_libraries():
            from twisted.internet import reactor

            from hapi.cli.base.process_host import process_host
            from hapi.log import start_logging

        logging = start_logging(
            "up", self.home, terminal=sys.stderr, quiet_start=True, settings=settings
        )
        logging.secrets.add(*options.database_secrets)
        host = process_host(reactor)
        try:
            return host.run(lambda: self._start(reactor, host, logging, options, tunnel))
        finally:
            logging.stop()

    def _wanted_tunnel(self, settings: Mapping[str, Any]) -> Tunnel | None:
        """The tunnel of the flag, the environment or the settings. Raises ConfigurationError."""
        wanted = self.tunnel or os.environ.get("HAPI_TUNNEL") or settings.get("tunnel")
        if not wanted:
            return None
        from hapi.cli.base.tunnel import Tunnel

        tunnel = Tunnel.parse(wanted)
        tunnel.program()
        return tunnel

    async def _start(
        self,
        reactor: Any,
        host: ForegroundHost,
        logging: Logging,
        options: Any,
        tunnel: Tunnel | None,
    ) -> None:
        with lighter_libraries():
            from twisted.internet.task import deferLater

            from hapi.cli.base.foreground import attend_hub, reload
            from hapi.cli.checks.settings_check import log_problems
            from hapi.cli.runner.background import POLL_INTERVAL
            from hapi.cli.runner.running import is_reachable
            from hapi.hub import hub_service
            from hapi.runner import RunnerOptions, runner_service
            from hapi.runner.handoff.factories import embedded_coordinator
            from hapi.runner.process import supervise_process

        if await self._is_already_up(reactor):
            host.leave()
            return
        hub: Any = hub_service(reactor, options)
        attend_hub(host, hub)
        hub.setServiceParent(host.services)
        host.services.startService()
        await hub.when_listening
        logging.secrets.add(hub.token)
        os.environ["HAPI_API_URL"] = hub.url  # for sessions
        save_hub_address(self.home, hub.url)  # for commands in other terminals
        wanted = RunnerOptions.from_environment(
            os.environ, **self.runner_flags.given(), argv=("up",), log_path=str(logging.path)
        )
        handoff = embedded_coordinator(reactor, "`hapi up` (which also serves the hub)")
        runner: Any = runner_service(reactor, wanted, on_retired=host.leave, handoff=handoff)
        runner.setServiceParent(host.services)
        supervision = supervise_process(reactor, runner, host.services)
        if not sys.stdin.isatty():  # SIGHUP then comes from no terminal
            host.on_hangup = lambda: reload(logging, hub, supervision)
        await runner.when_up()
        resume_garbage_collection()
        logging.enable_terminal()
        if tunnel is not None:
            await self._open_tunnel(reactor, host, hub, tunnel)
        self._print_address(hub, logging)
        log_problems(os.environ, wanted.settings)
        while not is_reachable(runner.status()):
            await deferLater(reactor, POLL_INTERVAL)
        if not self.as_json:
            echo(
                f"This machine is registered as {escape_control(wanted.machine_id)}. "
                "Press Ctrl+C to stop hub and runner; sessions keep running."
            )

    async def _open_tunnel(
        self, reactor: Any, host: ForegroundHost, hub: Any, tunnel: Tunnel
    ) -> None:
        """Keep a tunnel to the hub up; return once it has an address or has failed to get one."""
        from hapi.cli.base.tunnel import TunnelService
        from hapi.one_shot import OneShotObserver
        from hapi.process.local import local_processes

        known: OneShotObserver[None] = OneShotObserver()

        def use(address: str) -> None:
            is_other = address != hub.options.public_url
            hub.use_public_url(address)
            if known.has_fired and is_other and not self.as_json:
                echo(f"The page has another address now: {page_address(hub.people_url, hub.token)}")
            known.fire(None)

        def report(reason: str) -> None:
            warn(escape_control(reason))
            known.fire(None)

        if not self.as_json:
            echo(f"Waiting for the address of the tunnel ({tunnel.kind}) ...")
        service: Any = TunnelService(
            *(reactor, local_processes(reactor), self.home, tunnel, hub.url),
            hub.options.public_url,
            use,
            report,
        )
        service.setServiceParent(host.services)
        await known.when_fired()

    async def _is_already_up(self, reactor: Any) -> bool:
        """Whether `hapi up` runs in this home already; if so, print the address of its page.

        Raises CommandError when it runs with other options, or when another runner runs.
        """
        from hapi.hub.lock import running_hub
        from hapi.runner.control.client import ControlClient, RunnerNotRunning

        try:
            status = await ControlClient(reactor, self.home).status()
        except RunnerNotRunning:
            return False
        pid, url = status.get("pid"), str((status.get("hub") or {}).get("url"))
        if list(status.get("argv") or ())[:1] != ["up"]:
            raise CommandError(
                f"a runner (pid {pid}, hub {url}) is already running in {self.home.path}; "
                "stop it with `hapi runner stop`",
                HELD,
            )
        if difference := self._difference(status, url):
            raise CommandError(
                f"`hapi up` is already running in {self.home.path} (pid {pid}) {difference}; "
                "stop it with `hapi runner stop`",
                HELD,
            )
        token = os.environ.get("CLI_API_TOKEN") or read_settings(self.home).get("cliApiToken") or ""
        owner = running_hub(self.home, None)
        people_url = str((owner and owner.facts.get("peopleUrl")) or url)
        page = page_address(people_url, token.strip())
        home = str(self.home.path)
        if self.as_json:
            facts = {"alreadyRunning": True, "pid": pid, "url": people_url, "page": page}
            print_json({**facts, "home": home})
        else:
            echo(f"Already running in {escape_control(home)} (pid {pid}).")
            if owner is not None and owner.facts.get("role") == "standby":
                echo("Its hub does not serve yet; `hapi hub status` shows why.")
            else:
                echo(f"Page: {escape_control(page)}")
                if self.qr:
                    echo(qr_code(page))
            echo("Stop it with `hapi runner stop`.")
        return True

    def _difference(self, status: dict[str, Any], url: str) -> str:
        """How the running `hapi up` differs from the options given now, as a clause; "" if not."""
        from hapi.runner.config.options import read_roots

        port, running_port = self.hub_flags.get("port"), urlsplit(url).port
        if port and port != running_port:
            return f"on port {running_port}, not {port}"
        roots = read_roots(self.runner_flags.workspace_roots, {}).given
        running_roots = status.get("workspaceRoots") or ()
        if roots and set(roots) != set(running_roots):
            if not running_roots:
                return "without workspace roots"
            return f"with the workspace roots {', '.join(map(str, running_roots))}"
        differing = [
            flag
            for flag, name in VALUE_FLAGS.items()
            if name in self.runner_flags.more
            and not has_value(_options_of(status), name, self.runner_flags.more[name])
        ]
        return f"with another value of {', '.join(differing)}" if differing else ""

    def _print_address(self, hub: Any, logging: Logging) -> None:
        """Print the address of the page, the agents found, and where home and log are."""
        from hapi.cli.base.foreground import tell_when_serving, waiting_sentence

        available, _ = detect_agents(read_settings(self.home), os.environ)
        url = hub.people_url
        page = page_address(url, hub.token)
        home, log = str(self.home.path), str(logging.path)
        if self.as_json:
            facts = {"url": url, "page": page, "pid": os.getpid(), "home": home, "log": log}
            waits = {"standby": True, "problem": hub.waits_because} if hub.is_standby else {}
            print_json({**facts, "agents": available, **waits})
            return
        if hub.is_standby:
            echo(f"HAPI {__version__} is up, and its hub does not serve yet.")
            echo(waiting_sentence(hub))
            tell_when_serving(hub, lambda: self._print_page(hub))
        else:
            self._print_page(hub, f"HAPI {__version__} is up. ")
        echo(agents_sentence(available))
        echo(f"Home: {escape_control(home)}")
        echo(f"Log:  {escape_control(log)}")

    def _print_page(self, hub: Any, before: str = "") -> None:
        """Print the address of the page, which contains the access token; `before` on that line."""
        from hapi.protocol.authority import is_loopback

        url = hub.people_url
        page = page_address(url, hub.token)
        echo(f"{before}Open this page in a browser:\n")
        echo(f"  {page}\n")
        if self.qr:
            echo(qr_code(page))
            if is_loopback(urlsplit(url).hostname or ""):
                echo(
                    "  (The page can be opened on this machine only. Use `hapi up --host 0.0.0.0` "
                    "to accept\n  connections from other devices.)"
                )
            echo()
        echo("The address contains the access token; do not share it.")


def _options_of(status: Mapping[str, Any]) -> Any:
    """The options of the runner with `status`, as far as `has_value` reads them."""
    from hapi.runner.config.admission_limits import AdmissionLimits

    admission = status.get("admission") or {}
    return SimpleNamespace(
        limits=AdmissionLimits(
            admission.get("maxSessions"), admission.get("minFreeMemory"), admission.get("queue", 0)
        ),
        session_limits=SimpleNamespace(memory=status.get("sessionMemory")),
        idle_limit=status.get("idleAgentSeconds"),
        git_actions=bool(status.get("gitActions")),
        terminal=status.get("terminal") is not False,
        revive=status.get("revive"),
    )
