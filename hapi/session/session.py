"""One session: a row at the hub, an agent, and what connects them, from registration to archive."""

from __future__ import annotations

import math
import time
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from random import Random
from typing import Any

from attrs import define, field, frozen
from twisted.internet.defer import CancelledError, Deferred, TimeoutError, maybeDeferred
from twisted.internet.error import ConnectionDone
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread
from twisted.logger import Logger

from hapi.attempts import AttemptFolder
from hapi.confined_directory import ConfinedDirectory
from hapi.deferreds import run_in_background
from hapi.home import Home
from hapi.idle_limit import KEY as IDLE_TIME_KEY
from hapi.idle_limit import own_idle_time
from hapi.net.common.rpc import RpcTable
from hapi.one_shot import OneShotObserver
from hapi.pictures import SessionPictures
from hapi.protocol.agents import Agent
from hapi.protocol.attempt import StopOrder
from hapi.protocol.offer.model_lists import effort_list, model_list
from hapi.protocol.permissions import AmbiguousAnswer, RequestIds, read_permission_answer
from hapi.protocol.records import tool_result, user_record
from hapi.protocol.session import (
    BY_INTERRUPT,
    BY_SIGNAL,
    BY_USER,
    COMPLETED,
    CRASHED,
    Ending,
    launch_failed,
)
from hapi.protocol.session_metadata import (
    REST_KEY,
    SessionFacts,
    agent_memory,
    archived_metadata,
    take_over_metadata,
    without_rest,
)
from hapi.session.agent.attachments import PromptBlocks
from hapi.session.agent.authentication import Login
from hapi.session.agent.configuration import SessionSettings
from hapi.session.agent.driver import Driver, LoginRequired
from hapi.session.agent.exit_reason import without_stack_trace
from hapi.session.agent.host import AgentHost
from hapi.session.agent.idle import IdleAgent
from hapi.session.agent.jsonrpc_peer import AgentExited
from hapi.session.agent.noise import NoiseNotice
from hapi.session.agent.offer import OfferPublisher
from hapi.session.agent.permission_rules import PermissionRules
from hapi.session.agent.permissions import Permissions
from hapi.session.agent.pictures import Pictures
from hapi.session.agent.questions import Questions
from hapi.session.agent.titles import Titles
from hapi.session.agent.turns import Turns
from hapi.session.hub.inbox import Inbox, UserMessage
from hapi.session.hub.uplink import SessionUplink
from hapi.session.rpc.files import Files
from hapi.session.rpc.methods import register_file_methods, register_session_methods
from hapi.session.startup.command_line import Arguments
from hapi.session.startup.interrupted_requests import (
    UNANSWERED,
    InterruptedRequest,
    interrupted_requests,
    interruption_notice,
    prompt_to_go_on,
    state_after_interruption,
)
from hapi.units import parse_idle_time
from hapi.uploads import SessionUploads

FLUSH_TIMEOUT = (
    5.0  # seconds the hub has to store the agent's session id before the first prompt goes on
)
END_TIMEOUT, SIGNAL_END_TIMEOUT = (
    5.0,
    1.7,
)  # seconds for the whole end; after a signal, whose sender kills after two
MAX_STARTS = 2  # of an agent that ends while it starts
START_AGAIN_DELAY = 0.5  # seconds, or up to twice as long, so that two sessions do not meet again
OFFLINE_END_TIMEOUT = 0.1  # seconds for the archive at a hub that is away


@frozen
class SessionStart:
    """The start parameters of a session."""

    agent: Agent
    arguments: Arguments
    facts: SessionFacts
    mode: str | None
    home: Home
    environ: Mapping[str, str] = field(repr=False)
    attempt: AttemptFolder | None = None
    idle_limit: float | None = None  # seconds until an idle agent rests; None: it never does
    has_terminal: bool = False


@define(eq=False)
class Session:
    """`link` is the HubLink of the row `row`, not started yet; `host` starts the agent."""

    _reactor: Any
    start: SessionStart
    row: Mapping[str, Any]
    link: Any
    host: AgentHost
    _rows_after: Callable[[int], Awaitable[list[dict[str, Any]]]]
    _random: Random = field(factory=Random)
    ended: OneShotObserver[Ending] = field(factory=OneShotObserver)
    hub: SessionUplink = field(init=False)
    settings: SessionSettings = field(init=False)
    permissions: Permissions = field(init=False)
    questions: Questions = field(init=False)
    login: Login = field(init=False)
    turns: Turns = field(init=False)
    titles: Titles = field(init=False)
    _noise_notice: NoiseNotice = field(init=False)
    pictures: Pictures = field(init=False)
    offer: OfferPublisher = field(init=False)
    _files: Files = field(init=False)
    _uploads: SessionUploads = field(init=False)
    _driver: OneShotObserver[Driver] | None = None
    _agent_session: str | None = None
    _ending: Ending | None = None
    idle: IdleAgent = field(init=False)
    _own_idle_time: str | None = field(init=False)
    resting_since: float | None = None  # epoch seconds; None while the agent runs
    _is_resumable: bool = True  # False once the agent could not resume its session
    _has_memory: bool = False  # whether the agent's session has had a prompt
    _rested_with_memory: bool = False
    _prompted_at: float = math.inf  # epoch seconds of the first prompt since the agent's start
    _resting: Deferred[None] | None = None  # fires when a resting agent has ended
    # Requests that an earlier process left, until the agent is asked to go on.
    _interrupted: tuple[InterruptedRequest, ...] = ()
    _ambiguous_request: str | None = None  # the last one whose answer could mean several options
    log = Logger()

    def __attrs_post_init__(self) -> None:
        agent, arguments = self.start.agent, self.start.arguments
        self.hub = SessionUplink.of_row(
            self._reactor, self.link, self.row, Inbox(), self._rows_after, self._random
        )
        effort = arguments.effort or arguments.model_reasoning_effort
        self.settings = SessionSettings(
            agent,
            self._agent_ready,
            self.start.mode,
            arguments.model,
            effort,
            self._settings_changed,
            others=dict(arguments.agent_settings),
        )
        request_ids = RequestIds()
        self.permissions = Permissions(
            self.hub.state,
            PermissionRules(self.hub.metadata, now=self.hub.now_ms),
            lambda: self.settings.granting_mode,
            self.settings.set_mode,
            now=self.hub.now_ms,
            ids=request_ids,
        )
        place = Path(self.start.facts.path)
        self._uploads = SessionUploads(self.start.home, self.hub.session_id)
        self._files = Files(ConfinedDirectory(place, (self._uploads.path,)), self._uploads)
        self.turns = Turns(
            self._reactor,
            agent.label,
            self.hub,
            self.permissions,
            self.settings,
            self._agent_ready,
            self.host.end_soon,
            PromptBlocks(
                self._files.directory, agent.reads_attached_paths, self.hub.publish_status
            ),
        )
        self.hub.live.blocks = self.turns.transcript.live_blocks
        self.offer = OfferPublisher(
            agent,
            self.settings,
            self.hub.metadata,
            self.hub.publish_event,
            self.start.home,
            self.start.environ,
        )
        self.settings.offer_changed = self.offer.publish
        self.turns.observers.append(self.offer.observe)
        self.permissions.cancel_turn = self.turns.cancel
        self.questions = Questions(
            self.hub.state,
            self.hub.publish_agent_record,
            self.turns.cancel,
            now=self.hub.now_ms,
            ids=request_ids,
        )
        self.turns.questions = self.questions
        self.turns.log_in_again = self.log_in_again
        self.login = Login(
            agent.label,
            self.start.facts.host,
            self.questions,
            self.hub.publish_status,
            lambda: self.host.command,
            agent.login_command,
        )
        self.permissions.on_reason = self.submit_prompt
        self.turns.silence.last_words = self.host.last_words
        self.hub.on_queued = self._prompt_queued
        self.titles = Titles(self.hub, arguments.continues)
        self.turns.on_prompt, self.turns.on_title = self._prompted, self.titles.titled
        self._noise_notice = NoiseNotice(
            self._reactor, agent.label, self.host.noise, self.hub.publish_status
        )
        self._noise_notice.begin()
        self._agent_session = arguments.resume
        self.pictures = Pictures(
            self.hub, SessionPictures(self.start.home, self.hub.session_id), deferToThread
        )
        self.turns.observers.append(self.pictures.observe)
        self._has_memory = arguments.resume is not None
        self._own_idle_time = own_idle_time(arguments.idle_agent, self.row.get("metadata"))
        self.idle = IdleAgent(
            self._reactor,
            parse_idle_time(self._own_idle_time) if self._own_idle_time else self.start.idle_limit,
            self._may_rest,
            self._has_background_commands,
            self._is_memory_wanted,
            self._rest,
        )
        self.turns.observers.append(self.idle.seen)
        rpc: RpcTable = self.link.rpc
        register_file_methods(
            rpc, self._reactor, self._files.directory, self._files, self.start.environ
        )
        register_session_methods(rpc, self)

    @property
    def agent(self) -> Agent:
        return self.start.agent

    @property
    def agent_session(self) -> str | None:
        """The agent's own session id, by which it is resumed."""
        return self._agent_session

    @property
    def is_accepting_prompts(self) -> bool:
        """Whether prompts are taken."""
        return not self.turns.closed

    # --- coming up
    async def run(self) -> None:
        """Connect, start the agent, accept prompts.

        Returns when the agent is ready, a person does not want to log in to it now, or the session
        has begun to end.
        """
        self._write_initial_state()
        if self._interrupted:
            self._tell_interruption()
        self.link.startService()
        self.hub.start()
        try:
            await self._agent_ready()
        except LoginRequired as problem:
            if self._ending is not None:
                return
            self.hub.publish_status(
                f"{self.agent.label} has no session yet: {problem}. The next prompt tries again"
            )
        except Exception as problem:
            if self._ending is None:
                reason = without_stack_trace(str(problem))
                self.hub.publish_status(f"{self.agent.label} could not be started: {reason}")
                self.log.error(
                    "{label} could not be started: {reason}",
                    label=self.agent.label,
                    reason=reason,
                )
                await self.end(launch_failed(reason))
            return
        self.hub.settings = self.settings.keepalive_fields
        self.hub.announce_ready()
        self.hub.send_keepalive()
        self.idle.start()
        self._ask_to_go_on()
        self.turns.open()

    def _tell_interruption(self) -> None:
        """Say in the conversation that the requests of the earlier process are over."""
        for request in self._interrupted:
            self.hub.publish_agent_record(tool_result(request.call_id, UNANSWERED, failed=True))
        self.hub.publish_status(interruption_notice(self._interrupted))

    def _ask_to_go_on(self) -> None:
        """Have an agent that remembers the conversation ask again. A prompt that a person has sent
        meanwhile stands instead."""
        requests, self._interrupted = self._interrupted, ()
        driver = self.turns.running_driver
        if requests and driver is not None and driver.resumed and not len(self.hub.inbox):
            self.hub.publish_status(f"{self.agent.label} is asked to go on")
            self.hub.inbox.put(UserMessage(prompt_to_go_on(requests)))

    def _write_initial_state(self) -> None:
        now = {"lifecycleStateSince": self.hub.now_ms(), "startingMode": "remote"}
        fresh = self.start.facts.metadata() | now
        if self._own_idle_time is not None:
            fresh[IDLE_TIME_KEY] = self._own_idle_time
        existing = self.start.arguments.existing_session_id is not None
        if self.start.arguments.continues:
            fresh["agentMemory"] = agent_memory("opening", self.start.facts.now)
        self._interrupted = interrupted_requests(self.hub.state.value) if existing else ()
        at = self.hub.now_ms()
        self._store(self.hub.state.change(lambda state: state_after_interruption(state, at)))

        def initial_metadata(stored: Any) -> Any:
            if existing:
                return take_over_metadata(fresh, stored)
            if (stored or {}).get(
                "lifecycleState"
            ) == "archived":  # a person archived it before this process could be asked to end
                self._reactor.callLater(0, self.begin_end, BY_USER)
                return stored
            return {**without_rest(stored), **fresh}

        self._store(self.hub.metadata.change(initial_metadata))

    def _agent_ready(self) -> Deferred[Driver]:
        """The running agent, started if necessary. Fails with the reason why it could not start."""
        once = self._driver
        if once is None:
            self._driver = once = OneShotObserver()
            Deferred.fromCoroutine(self._open()).addBoth(self._opened, once)
        return once.when_fired()

    def _opened(self, result: Any, once: OneShotObserver[Driver]) -> None:
        if not isinstance(result, Driver) and self._driver is once:
            self._driver = None  # the next prompt tries again
        once.fire(result)

    async def _open(self) -> Driver:
        if self._resting is not None:  # two processes of an agent must not have the same session
            await self._resting
        first = self.host.starts == 0
        fork = self.start.arguments.fork and first
        rested = self.resting_since is not None
        if rested and not self._rested_with_memory:
            self._agent_session = None  # agents store no session without a prompt
        driver = await self._open_authenticated(fork)
        self._prompted_at = time.time() if self.turns.busy else math.inf
        if rested:
            self._awake(driver)
        self.turns.running_driver = driver
        for problem in await self.settings.begin(driver):
            self.hub.publish_status(f"Not set: {problem}")
        self.offer.opened()
        for name, value in self.start.arguments.beyond_acp.items() if first else ():
            self.hub.publish_status(
                f"Not set: {name} {value}".rstrip()
                + f": {self.agent.label} has no such setting over ACP"
            )
        wanted = self._agent_session
        if wanted is not None and not fork and not driver.resumed:
            self.hub.publish_status(
                f"{self.agent.label} cannot resume its session {wanted}; this is a new session"
            )
        if wanted is not None or (first and self.start.arguments.continues):
            self._tell_memory(driver.resumed or (fork and wanted is not None))
        await self._store_resume_key(driver.session_id)
        return driver

    def _settings_changed(self) -> None:
        self.hub.send_keepalive()
        self.hub.on_change()

    def _tell_memory(self, is_kept: bool) -> None:
        """Tell the hub whether the agent went on with its memory of the conversation."""
        memory = agent_memory("kept" if is_kept else "new", self.start.facts.now)
        self._store(
            self.hub.metadata.change(lambda stored: {**(stored or {}), "agentMemory": memory})
        )

    async def _open_authenticated(self, fork: bool) -> Driver:
        """Start the agent; where it needs a login, as often as the person tries.

        An agent that ends while it starts is started once more: two processes that begin in a
        fresh home at the same time can get in each other's way (OpenCode's make its database).
        """
        starts = 0
        while True:
            starts += 1
            self.turns.silence.begin(is_start=True)
            try:
                return await self.host.open(
                    self.hub.session_id, self._agent_session, fork, self.turns, self._agent_exited
                )
            except LoginRequired as problem:
                if self._ending is not None:
                    raise
                required = problem
            except AgentExited as problem:
                if starts == MAX_STARTS or self._ending is not None or self.turns.is_aborted:
                    raise
                self.hub.publish_status(f"{problem}. It is started again")
                delay = START_AGAIN_DELAY * (1 + self._random.random())
                await deferLater(self._reactor, delay)
                if self._ending is not None:
                    raise
                continue
            finally:
                self.turns.silence.end()
            starts = 0
            self.host.chosen_login = await self.login.ask(required)

    async def log_in_again(self, problem: LoginRequired) -> Driver:
        """The running agent has lost its login: ask for one, then start it again."""
        self.host.chosen_login = await self.login.ask(problem)
        self._driver = None
        return await self._agent_ready()

    def _prompt_queued(self) -> None:
        self.turns.start_next()
        self.login.try_again()

    async def _store_resume_key(self, agent_session: str | None) -> None:
        """Store the resume key at the hub before the first prompt.

        A kill in the first turn then leaves a row that can be resumed.
        """
        self._agent_session, name = agent_session, self.agent.session_id_field
        if (self.hub.metadata.value or {}).get(name) == agent_session and self.hub.metadata.settled:
            return
        self._store(
            self.hub.metadata.change(lambda stored: {**(stored or {}), name: agent_session})
        )
        if not await self.hub.metadata.flushed(FLUSH_TIMEOUT):
            self.log.warn(
                "The hub did not store {name} within {seconds:g} s; continuing without it",
                name=name,
                seconds=FLUSH_TIMEOUT,
            )

    def _agent_exited(self, words: str, exit_code: int | None) -> None:
        """The agent's process ended. After a regular exit the session ends as well.

        Otherwise the agent restarts with the next prompt.
        """
        if self._ending is not None or self._driver is None or not self._driver.has_fired:
            return
        self._driver = None
        self.turns.agent_exited()
        if exit_code == 0 and not self.turns.busy:
            self.begin_end(COMPLETED)
        elif not self.turns.busy:
            self.hub.publish_status(f"{self.agent.label} {words}. It restarts with the next prompt")

    # --- rest
    def _prompted(self, text: str) -> None:
        self.idle.seen()
        self._has_memory = True
        self._prompted_at = min(self._prompted_at, time.time())
        self.titles.prompted(text)

    def _may_rest(self) -> bool:
        """Whether the agent runs, can be resumed, and nothing goes on or waits."""
        driver = self.turns.running_driver
        return (
            self._ending is None
            and self.agent.may_rest
            and self._driver is not None
            and self._driver.has_fired
            and not self.start.has_terminal
            and driver is not None
            and driver.introduction is not None
            and driver.introduction.loads_sessions
            and self._is_resumable
            and self.is_accepting_prompts
            and self.turns.is_quiet
            and not self.questions.waiting
        )

    async def _has_background_commands(self) -> bool:
        return await self.host.has_background_commands(self._prompted_at)

    def _is_memory_wanted(self) -> bool:
        folder = self.start.attempt
        return folder is not None and folder.take_rest_request()

    async def _rest(self) -> None:
        """End the agent's processes. The session stays, and the next prompt resumes the agent."""
        self._driver = self.turns.running_driver = None
        resting: Deferred[None] = Deferred()
        self._resting = resting
        self.resting_since, self._rested_with_memory = time.time(), self._has_memory
        self.log.info("{label} rests until the next prompt", label=self.agent.label)
        since = self.hub.now_ms()
        self._store(
            self.hub.metadata.change(lambda stored: {**(stored or {}), REST_KEY: {"since": since}})
        )
        self.hub.on_change()
        try:
            await self.host.end()
        finally:
            self._resting = None
            resting.callback(None)

    def _awake(self, driver: Driver) -> None:
        self.resting_since = None
        self._store(self.hub.metadata.change(without_rest))
        self.hub.on_change()
        if self._rested_with_memory and not driver.resumed:
            self._is_resumable = False

    def _store(self, stored: Deferred[Any]) -> None:
        stored.addErrback(
            lambda failure: self.log.warn(
                "Not stored at the hub: {reason}", reason=failure.getErrorMessage()
            )
        )

    # --- from the terminal and the hub
    def submit_prompt(self, text: str) -> None:
        """Take a prompt that was typed in the terminal. Raises ValueError if it is too long for
        the hub; the agent does not get it either."""
        try:
            self.hub.publish_prompt(user_record(text))
        except ValueError as problem:
            raise ValueError(
                f"The prompt of {len(text):,} characters was not sent: {problem}"
            ) from problem
        self.hub.inbox.put(UserMessage(text))
        self._prompt_queued()

    async def models(self, _: Any = None) -> dict[str, Any]:
        """The answer to `list…Models`."""
        await self._offer_known()
        return model_list(self.agent, self.settings.metadata(()))

    async def efforts(self, _: Any = None) -> dict[str, Any]:
        """The answer to `list…ReasoningEffortOptions`."""
        await self._offer_known()
        return effort_list(self.settings.metadata(()))

    async def _offer_known(self) -> None:
        """Wait until the agent has said what it offers. One that rests has, and is not woken."""
        if self.resting_since is None or self._driver is not None:
            await self._agent_ready()

    async def answer_request(self, params: Any) -> dict[str, str] | None:
        """The `permission` RPC: the answer to a permission request or to questions. Returns an
        object with `error` if the answer cannot be used; the request then goes on waiting."""
        try:
            answer = read_permission_answer(params)
            if not self.questions.decide(answer):
                await self.permissions.decide(answer)
            elif not answer.approved and answer.reason is not None:
                self.submit_prompt(answer.reason)
        except AmbiguousAnswer as problem:
            # npm's page shows neither the options nor why its answer was refused.
            if answer.request_id != self._ambiguous_request:  # told once, however often it is sent
                self._ambiguous_request = answer.request_id
                self.hub.publish_status(f"Not answered: {problem}")
            return {"error": str(problem)}
        except ValueError as problem:
            return {"error": str(problem)}
        return None

    def kill(self, _: Any = None) -> dict[str, Any]:
        """The `killSession` RPC: answered first, then the session ends."""
        self._reactor.callLater(0, self.begin_end, BY_USER)
        return {"success": True, "message": "Killing hapi CLI process"}

    # --- the end
    def begin_end(self, ending: Ending) -> None:
        run_in_background(self.end(ending), self.log, "The session did not shut down cleanly")

    async def end(self, ending: Ending) -> None:
        """End the agent, archive the row with the reason, and fire `ended`. The first reason
        counts."""
        if self._ending is not None:
            return
        deadline = self._reactor.seconds() + (
            SIGNAL_END_TIMEOUT if ending in (BY_SIGNAL, BY_INTERRUPT) else END_TIMEOUT
        )
        self._ending = ending = self._with_stop_order(ending)
        self.log.info("The session ends: {reason}", reason=ending.archive_reason)
        self._noise_notice.stop()
        self.turns.close()
        self.permissions.cancel_all()
        self.questions.cancel_all()
        self.hub.announce_end(ending.reason)
        # The archive comes last: whoever sees it may restart the session at once.
        try:
            await self.host.end()
        except Exception:
            self.log.failure("Ending the agent failed")
        try:
            seconds = (
                max(deadline - self._reactor.seconds(), OFFLINE_END_TIMEOUT)
                if self.link.connected
                else OFFLINE_END_TIMEOUT
            )
            await Deferred.fromCoroutine(self._archive(ending)).addTimeout(seconds, self._reactor)
        except (TimeoutError, CancelledError):
            self.log.warn(
                "The hub has not confirmed the end of the session within {seconds:g} s. What it "
                "lacks is kept on the disk and delivered later",
                seconds=seconds,
            )
        except Exception as problem:
            self.log.warn(
                "The end of the session could not be stored at the hub: {reason}",
                reason=str(problem) or type(problem).__name__,
            )
        self.hub.metadata.stop()
        self.hub.state.stop()
        await maybeDeferred(self.link.stopService).addErrback(
            lambda failure: failure.trap(ConnectionDone)
        )
        self._uploads.remove()
        self.ended.fire(ending)

    def _with_stop_order(self, ending: Ending) -> Ending:
        """The stop order in the attempt folder gives the reason; without one, ours is stored."""
        folder = self.start.attempt
        if folder is None:
            return ending
        order = folder.stop
        if order is not None:
            return ending.with_stop_reason(order.reason)
        try:
            folder.stop = StopOrder(ending.archive_reason, "session", ending.reason, time.time())
        except OSError as error:
            self.log.warn(
                "The reason for the end of the session could not be saved: {reason}",
                reason=str(error),
            )
        return ending

    async def _archive(self, ending: Ending) -> None:
        at = self.hub.now_ms()
        self._store(
            self.hub.metadata.change(
                lambda stored: archived_metadata(stored or {}, ending.archive_reason, at)
            )
        )
        await self.hub.metadata.flushed(END_TIMEOUT)
        await self.hub.state.flushed(END_TIMEOUT)
        await self.link.when_confirmed()
        await self.link.leave()

    def crash(self) -> None:
        """End the session after an error of this program."""
        self.begin_end(CRASHED)
