"""The session process: reactor, signals, log and terminal around one session."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from attrs import define, evolve, field
from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThread
from twisted.logger import Logger

from hapi.attempts import AttemptFolder
from hapi.configured_agents import own_program_path
from hapi.deferreds import run_in_background
from hapi.home import Home
from hapi.log import Logging, start_logging
from hapi.net.client.link import HubLink
from hapi.net.common.errors import HubRefused, HubUnreachable
from hapi.net.common.rpc import RpcTable
from hapi.protocol.agents import Agent
from hapi.protocol.session import BY_INTERRUPT, BY_SIGNAL, Ending, Mode
from hapi.protocol.session_metadata import SessionFacts
from hapi.redaction import escape_control
from hapi.session.agent.host import AgentHost
from hapi.session.hub.access import AccessSources, HubFollower
from hapi.session.mcp.peers import PeerSessions
from hapi.session.mcp.server import McpServer
from hapi.session.mcp.tools import AgentTools
from hapi.session.report import ReportWriter
from hapi.session.session import Session, SessionStart
from hapi.session.startup.announcement import Announcer, wait_for_row
from hapi.session.startup.command_line import Arguments
from hapi.session.startup.early_registration import (
    EarlyRegistration,
    RegistrationOutcome,
    RegistrationPlan,
    announce,
    control_port,
    register,
)
from hapi.session.startup.session_lock import SessionHeld, SessionLock
from hapi.settings import HubAccess
from hapi.spool import DELIVERED_BY_OTHERS, SpoolFile, SpoolHeader, claim_spools
from hapi.startup import resume_garbage_collection, use_monotonic_time
from hapi.units import plural

if TYPE_CHECKING:
    from hapi.session.local.mode import LocalMode
    from hapi.session.terminal.console import Terminal

UNREACHABLE, REFUSED, FAILED = 6, 7, 1  # exit codes, those of the command line
EARLIER_ROWS, EARLIER_PROMPTS = 100, 3  # of a conversation that is gone on with in a terminal


@define(eq=False, repr=False)
class SessionProcess:
    """One session process; `main` runs it."""

    agent: Agent
    arguments: Arguments
    facts: SessionFacts
    mode: str | None
    home: Home
    environ: Mapping[str, str] = field(repr=False)
    access: HubAccess
    settings: Mapping[str, Any] = field(repr=False)
    plan: RegistrationPlan = field(repr=False)
    first: EarlyRegistration
    early_signals: list[int]
    idle_limit: float | None  # seconds until an idle agent rests; None: it never does
    git_actions: bool  # whether people may change the repository from the page
    lock: SessionLock
    starting_mode: Mode = "remote"
    exit_code: int = FAILED
    _attempt: AttemptFolder | None = None
    _sources: AccessSources = field(init=False)
    _session: Session | None = None
    _terminal: Terminal | None = None
    _local: LocalMode | None = None
    _logging: Logging | None = None
    _reactor: Any = None
    log = Logger()

    def __attrs_post_init__(self) -> None:
        # Only a runner sets HAPI_ATTEMPT for this process; inherited from an agent's shell it
        # belongs to the session around it.
        by_runner = self.arguments.by_runner
        if by_runner:
            self._attempt = AttemptFolder.of_this_process(self.home, self.environ)
        self._sources = AccessSources(
            self.home,
            self.environ,
            self._attempt,
            by_runner,
            lambda: control_port(self.home) is not None,
        )

    def main(self) -> int:
        """Run the reactor until the session has ended."""
        from twisted.internet import reactor

        self._reactor = reactor
        use_monotonic_time(reactor)
        by_runner = self.arguments.by_runner
        self._logging = start_logging(
            "session",
            self.home,
            terminal=sys.stderr if by_runner else None,
            environ=self.environ,
            settings=self.settings,
            secrets=[self.access.token],
        )
        if not by_runner:
            from hapi.session.terminal.factory import make_terminal

            self._terminal = make_terminal(reactor, self.environ, self.home, self.facts.path)
        self._reactor.callWhenRunning(self._begin)
        resume_garbage_collection()
        self._reactor.run()
        self._logging.stop()
        return self.exit_code

    def _begin(self) -> None:
        # A function with a short name: each time Twisted starts a process it asks for all handlers,
        # and `signal.getsignal` writes their `repr`. That of a method has all that the session is.
        def signalled(number: int, frame: object) -> None:
            self._signalled(number, frame)

        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signalled)
        signal.signal(signal.SIGHUP, signal.SIG_IGN if self._terminal is None else signalled)
        if self.early_signals:
            self._reactor.callLater(0, self._handle_signal, self.early_signals[0])
        if self._terminal is not None and self.starting_mode == "remote":
            self._terminal.read()
        said: Deferred[RegistrationOutcome] = Deferred()
        self.first.when_done(lambda outcome: self._reactor.callFromThread(said.callback, outcome))
        Deferred.fromCoroutine(self._live(said)).addErrback(self._failed)

    async def _live(self, said: Deferred[RegistrationOutcome]) -> None:
        outcome = await wait_for_row(
            self._reactor,
            await said,
            lambda: deferToThread(register, self._current_plan()),
            give_up=self._terminal is not None,
        )
        assert outcome.row is not None
        self.lock.take(str(outcome.row["id"]))
        if not outcome.announced:
            self._announce_later(outcome.row)
        self._session = session = self._make_session(outcome.row)
        if self._terminal is not None:
            self._terminal.attach(session)
            self._tell_other_hub(self._terminal)
        session.ended.when_fired().addCallback(self._ended)
        self._remove_left_files()
        if self._local is not None and self.starting_mode == "local":
            await self._local.begin()
            return
        if self._local is not None:
            await self._local.recover()
        await session.run()
        if self._terminal is not None and session.is_accepting_prompts:
            if self.arguments.existing_session_id is not None and self._terminal.interactive:
                await self._show_earlier(session, self._terminal)
            self._terminal.ready(self.access.url)
            if self._local is not None:
                self._local.opened()

    async def _show_earlier(self, session: Session, terminal: Terminal) -> None:
        """Show the end of the conversation that is gone on with. The page has all of it."""
        from hapi.net.client.hub_client import HubClient
        from hapi.session.hub.message_text import last_spoken

        path = f"/api/sessions/{session.hub.session_id}/messages?limit={EARLIER_ROWS}"
        try:
            found = await HubClient(self._reactor, session.link.access).web_request("GET", path)
        except (HubRefused, HubUnreachable) as problem:  # a token may run sessions, but not read
            self.log.info("The conversation is not shown: {reason}", reason=str(problem))
            return
        rows = found.get("messages")
        terminal.show_earlier(last_spoken(rows if isinstance(rows, list) else (), EARLIER_PROMPTS))

    def _tell_other_hub(self, terminal: Terminal) -> None:
        """Tell a person at the terminal that the runner serves another hub."""
        from hapi.session.startup.other_runner import other_hub_notice

        notice = other_hub_notice(self.home, self.access) if terminal.interactive else None
        if notice is not None:
            terminal.print_line(notice)

    def _make_session(self, row: Mapping[str, Any]) -> Session:
        auth = {"clientType": "session-scoped", "sessionId": str(row["id"])}
        access = self._sources.current() or self.access
        self._hide(access)
        link = HubLink(
            self._reactor,
            access,
            auth,
            RpcTable(str(row["id"])),
            hub_clock=self.plan.hub_clock,
        )
        terminal = self._terminal is not None
        host = AgentHost(
            self._reactor,
            self.agent,
            self.facts.path,
            self._agents_environment(),
            terminal,
            self._log_errors if terminal else _pass_errors,
        )
        attempt = self._attempt
        start = SessionStart(
            self.agent,
            self.arguments,
            self.facts,
            self.mode,
            self.home,
            self.environ,
            attempt,
            self.idle_limit,
            terminal,
            self.git_actions,
        )

        async def rows_after(sequence: int) -> list[dict[str, Any]]:
            from hapi.net.client.hub_client import HubClient  # after a lost connection only

            return await HubClient(self._reactor, link.access).messages(str(row["id"]), sequence)

        session = Session(self._reactor, start, row, link, host, rows_after)
        if self.starting_mode == "remote":
            host.arguments = self.arguments.words
        if self.agent.gets_tools and self.settings.get("mcp") is not False:
            self._offer_tools(session)
        if self.facts.terminal:
            self._offer_terminals(session)
        self._offer_local_mode(session, rows_after)
        self._spool(session)
        follower = HubFollower(
            self._reactor, link, session.hub.session_id, self._sources.current, self._hide
        )
        follower.start()
        session.ended.when_fired().addCallback(lambda _: follower.stop())
        if attempt is not None and not terminal:
            ReportWriter(self._reactor, attempt, session).begin()
        return session

    def _offer_local_mode(self, session: Session, rows_after: Any) -> None:
        """Let the agent's own program have the terminal, if it has one and this is a terminal."""
        program = own_program_path(self.agent, self.environ)
        terminal = self._terminal
        is_left = (self.home.path / "local" / f"{session.hub.session_id}.json").exists()
        has_place = terminal is not None and terminal.interactive and program is not None
        if self.agent.own_program is None or not (has_place or is_left):
            return
        from hapi.session.local.mode import LocalMode

        self._local = local = LocalMode(
            self._reactor,
            session,
            terminal,
            program or "",
            self._agents_environment(),
            self.arguments.words if self.starting_mode == "local" else (),
            rows_after=rows_after,
        )
        if terminal is not None and has_place:
            session.local, terminal.on_local_wanted = local, local.wanted

    def _remove_left_files(self) -> None:
        """Remove what killed sessions have left for the programs in their terminals."""
        directory = self.home.path / "tmp"
        if next(directory.glob("local-*"), None) is not None:
            from hapi.session.local.program_files import remove_left

            remove_left(directory)

    def _offer_terminals(self, session: Session) -> None:
        """Let people open shells in the session's directory, until the session ends."""
        from hapi.session.pty.terminals import Terminals

        terminals = Terminals(
            self._reactor,
            session.link,
            session.hub.session_id,
            self.facts.path,
            self._agents_environment(),
        )
        terminals.start()
        session.on_end.append(terminals.stop)

    def _offer_tools(self, session: Session) -> None:
        """Serve HAPI's own tools to the agent (`hapi mcp`) until the session ends."""

        def client() -> Any:
            from hapi.net.client.hub_client import HubClient  # when other sessions are asked for

            return HubClient(self._reactor, session.link.access)

        tools = AgentTools(
            self._reactor,
            Path(self.facts.path),
            session.pictures,
            session.titles.change,
            deferToThread,
            PeerSessions(self._reactor, session.hub.session_id, client),
            session.turns.flush,
            self.home.path.resolve(),
        )
        server = McpServer(self._reactor, self.home, tools)
        server.listen()
        session.host.mcp_servers = server.offer
        session.ended.when_fired().addCallback(lambda _: server.close())

    def _current_plan(self) -> RegistrationPlan:
        """The registration at the hub that is named now."""
        access = self._sources.current() or self.access
        self._hide(access)
        return evolve(self.plan, access=access, control_port=control_port(self.home))

    def _hide(self, access: HubAccess) -> None:
        """Keep the token of `access` out of the log."""
        if self._logging is not None:
            self._logging.secrets.add(access.token)

    def _spool(self, session: Session) -> None:
        """Keep what the hub does not confirm on the disk, and deliver what an earlier process of
        this session has left there."""
        hub, link, home = session.hub, session.link, self.home

        def header() -> SpoolHeader:
            return SpoolHeader(hub.session_id, os.getpid(), link.access.url, hub.reconcile_from)

        link.spool_to(SpoolFile(home, hub.session_id, header), deferToThread)
        for claimed in claim_spools(home, hub.session_id):
            texts = [event.text for event in claimed.events if event.event in DELIVERED_BY_OTHERS]
            self.log.info(
                "Delivering {events} that an earlier process of this session could not deliver",
                events=plural(len(texts), "event"),
                count=len(texts),
            )
            hub.compare_from(claimed.header.after_seq)
            link.adopt(texts, claimed.remove)

    def _agents_environment(self) -> dict[str, str]:
        """The agent's environment: HAPI_HOME is set, so that every `hapi` below finds this home."""
        return {**self.environ, "HAPI_HOME": str(self.home.path)}

    def _announce_later(self, row: Mapping[str, Any]) -> None:
        wanted = self.settings.get("startRunner") is True
        if self._terminal is not None and control_port(self.home) is None:
            if not wanted:
                return
            self._start_runner()
        announcer = Announcer(
            self._reactor,
            lambda: control_port(self.home),
            lambda port, body: deferToThread(announce, port, body),
        )
        announcement = self.plan.announcement(dict(row))
        run_in_background(announcer.run(announcement), self.log, "The announcement failed")

    def _start_runner(self) -> None:
        import subprocess

        argv = [sys.executable, "-P", "-m", "hapi", "runner", "start"]
        quiet = subprocess.DEVNULL
        subprocess.Popen(
            argv,
            env=self._agents_environment(),
            stdin=quiet,
            stdout=quiet,
            stderr=quiet,
            start_new_session=True,
        )

    def _log_errors(self, data: bytes) -> None:
        for line in data.decode(errors="replace").splitlines():
            self.log.info("{label}: {line}", label=self.agent.label, line=line)

    # --- signals and ends
    def _signalled(self, number: int, frame: object) -> None:
        self._reactor.callFromThread(self._handle_signal, number)

    def _handle_signal(self, number: int) -> None:
        if self._session is None:
            self.exit_code = 0
            self._stop()
        elif number == signal.SIGINT and self._terminal is not None and not self._session.is_local:
            self._terminal.interrupt()
        else:
            self._session.begin_end(BY_SIGNAL if number == signal.SIGTERM else BY_INTERRUPT)

    def _failed(self, failure: Any) -> None:
        problem = failure.value
        if isinstance(problem, SessionHeld):
            print(f"hapi: {escape_control(problem)}", file=sys.stderr)
            self._stop()
            return
        if isinstance(problem, HubRefused | HubUnreachable):
            refused = isinstance(problem, HubRefused) and problem.status in (401, 403)
            hint = (
                ": run `hapi auth login`"
                if refused and isinstance(problem, HubRefused) and problem.status == 401
                else ""
            )
            print(f"hapi: {escape_control(problem)}{hint}", file=sys.stderr)
            code = (
                REFUSED if refused else FAILED if isinstance(problem, HubRefused) else UNREACHABLE
            )
            self.exit_code = FAILED if self._terminal is None else code
            self._stop()
            return
        self.log.failure("The session crashed", failure)
        print(
            f"hapi: the session crashed: {type(problem).__name__}: {escape_control(problem)}",
            file=sys.stderr,
        )
        if self._session is not None:
            self._session.crash()
        else:
            self._stop()

    def _ended(self, ending: Ending) -> None:
        self.exit_code = ending.exit_code
        self._stop()

    def _stop(self) -> None:
        if self._reactor.running:
            self._reactor.stop()


def _pass_errors(data: bytes) -> None:
    """Pass the agent's standard error on to ours, which is the session's log."""
    try:
        os.write(2, data)
    except OSError:
        return
