"""One session: a row at the hub, an agent, and what connects them, from registration to archive."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Mapping
from pathlib import Path
from random import Random
from typing import Any

from attrs import define, field, frozen
from twisted.internet.defer import Deferred, DeferredList
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
from hapi.protocol.offer.model_lists import effort_list, model_list
from hapi.protocol.permissions import AmbiguousAnswer, RequestIds, read_permission_answer
from hapi.protocol.records import tool_result, user_record
from hapi.protocol.session import (
    BY_USER,
    CRASHED,
    HANDED_OFF,
    Ending,
    Mode,
    launch_failed,
    mode_state,
)
from hapi.protocol.session_metadata import (
    SessionFacts,
    agent_memory,
    take_over_metadata,
    without_rest,
)
from hapi.session.agent.attachments import PromptBlocks
from hapi.session.agent.authentication import Login
from hapi.session.agent.configuration import SessionSettings
from hapi.session.agent.driver import LoginRequired
from hapi.session.agent.exit_reason import without_stack_trace
from hapi.session.agent.host import AgentHost
from hapi.session.agent.idle import IdleAgent
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
from hapi.session.local_control import LocalControl
from hapi.session.rpc.files import Files
from hapi.session.rpc.methods import register_file_methods, register_session_methods
from hapi.session.session_agent import SessionAgent
from hapi.session.session_end import SessionEnd
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
    git_actions: bool = False  # whether people may change the repository from the page


@define(eq=False, repr=False)
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
    _agent: SessionAgent = field(init=False)
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
    _end: SessionEnd = field(init=False)
    # Awaited before the archive.
    on_end: list[Callable[[], Coroutine[Any, Any, None]]] = field(factory=list)
    local: LocalControl | None = None  # where the agent's own program can have the terminal
    idle: IdleAgent = field(init=False)
    _own_idle_time: str | None = field(init=False)
    # Requests that an earlier process left, until the agent is asked to go on.
    _interrupted: tuple[InterruptedRequest, ...] = ()
    _ambiguous_request: str | None = None  # the last one whose answer could mean several options
    log = Logger()

    def __attrs_post_init__(self) -> None:
        agent, arguments = self.start.agent, self.start.arguments
        self.hub = SessionUplink.of_row(
            self._reactor, self.link, self.row, Inbox(), self._rows_after, self._random
        )
        self._end = SessionEnd(self._reactor, self.hub, self.link, self.start.attempt)
        self._agent = SessionAgent(
            self._reactor,
            agent,
            arguments,
            self.host,
            self.hub,
            self.begin_end,
            self._random,
            self.start.attempt,
            self.start.facts.now,
        )
        offered = (self.row.get("metadata") or {}).get("offer")
        model = offered.get("model") if isinstance(offered, Mapping) else None
        self._agent.model_before = model if isinstance(model, str) else None
        effort = arguments.effort or arguments.model_reasoning_effort
        self.settings = SessionSettings(
            agent,
            self._agent.ready,
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
            self._agent.ready,
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
        self.settings.is_deferred = lambda: self.is_local
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
        self.turns.log_in_again = self._agent.log_in_again
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
        self._agent.settings, self._agent.turns = self.settings, self.turns
        self._agent.login, self._agent.offer = self.login, self.offer
        self.pictures = Pictures(
            self.hub, SessionPictures(self.start.home, self.hub.session_id), deferToThread
        )
        self.turns.observers.append(self.pictures.observe)
        self._own_idle_time = own_idle_time(arguments.idle_agent, self.row.get("metadata"))
        self.idle = IdleAgent(
            self._reactor,
            parse_idle_time(self._own_idle_time) if self._own_idle_time else self.start.idle_limit,
            self._may_rest,
            self._agent.has_background_commands,
            self._agent.is_memory_wanted,
            self._agent.rest,
        )
        self.turns.observers.append(self.idle.seen)
        rpc: RpcTable = self.link.rpc
        register_file_methods(
            rpc,
            self._reactor,
            self._files.directory,
            self._files,
            self.start.environ,
            self.start.git_actions,
        )
        register_session_methods(rpc, self)

    @property
    def agent(self) -> Agent:
        return self.start.agent

    @property
    def agent_session(self) -> str | None:
        """The agent's own session id, by which it is resumed."""
        return self._agent.session_id

    @property
    def resting_since(self) -> float | None:
        """Epoch seconds; None while the agent runs."""
        return self._agent.resting_since

    @property
    def is_accepting_prompts(self) -> bool:
        """Whether prompts are taken."""
        return not self.turns.closed

    @property
    def is_local(self) -> bool:
        """Whether the agent's own program has the terminal."""
        return self.local is not None and self.local.is_local

    # --- coming up
    async def run(self) -> None:
        """Connect, start the agent, accept prompts.

        Returns when the agent is ready, a person does not want to log in to it now, or the session
        has begun to end.
        """
        self.connect("remote")
        reason = await self.open_agent()
        if reason is not None:
            await self.end(launch_failed(reason))

    def connect(self, mode: Mode) -> None:
        """Come up at the hub, in that mode."""
        self._write_initial_state(mode)
        if self._interrupted:
            self._tell_interruption()
        self.hub.mode = mode
        self.link.startService()
        self.hub.start()

    async def open_agent(self) -> str | None:
        """Start the agent and accept prompts; the reason if it could not be started."""
        try:
            await self._agent.ready()
        except LoginRequired as problem:
            if self._end.has_begun or self._agent.is_away:
                return None
            self.hub.publish_status(
                f"{self.agent.label} has no session yet: {problem}. The next prompt tries again"
            )
        except Exception as problem:
            if self._end.has_begun or self._agent.is_away:
                return None
            reason = without_stack_trace(str(problem))
            self.hub.publish_status(f"{self.agent.label} could not be started: {reason}")
            self.log.error(
                "{label} could not be started: {reason}", label=self.agent.label, reason=reason
            )
            return reason
        if self._agent.is_away:  # its own program was asked for meanwhile
            return None
        self.announce_ready()
        self.idle.start()
        self._ask_to_go_on()
        self.turns.open()
        return None

    def announce_ready(self) -> None:
        """The session can be used, from its terminal or the page."""
        self.hub.settings = self.settings.keepalive_fields
        if not self.hub.is_ready:
            self.hub.announce_ready()
        self.hub.send_keepalive()

    async def release_agent(self) -> str | None:
        """End the agent, for its own program to have the terminal. Prompts wait. Returns the
        agent's session to go on with."""
        self.turns.closed = True
        self.idle.stop()
        releasing = Deferred.fromCoroutine(self._agent.release())
        self.questions.cancel_all()  # also that for a login, which keeps the agent from its start
        await releasing
        return self._agent.resumable_session

    def take_agent_back(self, agent_session: str | None) -> None:
        """The own program has left; `open_agent` is next."""
        self._agent.take_back(agent_session)

    def keep_agents_model(self) -> None:
        """A person chose a model in the agent's own program: the agent begins with that one."""
        self._agent.keeps_default_model = False

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

    def _write_initial_state(self, mode: Mode) -> None:
        now = {"lifecycleStateSince": self.hub.now_ms(), "startingMode": mode}
        fresh = self.start.facts.metadata() | now
        if self._own_idle_time is not None:
            fresh[IDLE_TIME_KEY] = self._own_idle_time
        existing = self.start.arguments.existing_session_id is not None
        if self.start.arguments.continues:
            fresh["agentMemory"] = agent_memory("opening", self.start.facts.now)
        self._interrupted = interrupted_requests(self.hub.state.value) if existing else ()
        at = self.hub.now_ms()
        self.hub.change_state(
            lambda state: {**state_after_interruption(state, at), **mode_state(mode)}
        )

        def initial_metadata(stored: Any) -> Any:
            if existing:
                return take_over_metadata(fresh, stored)
            if (stored or {}).get(
                "lifecycleState"
            ) == "archived":  # a person archived it before this process could be asked to end
                self._reactor.callLater(0, self.begin_end, BY_USER)
                return stored
            return {**without_rest(stored), **fresh}

        self.hub.change_metadata(initial_metadata)

    # --- from the terminal and the hub
    def _prompt_queued(self) -> None:
        if self.local is not None:
            self.local.prompt_queued()
        self.turns.start_next()
        self.login.try_again()

    def _prompted(self, text: str) -> None:
        self.idle.seen()
        self._agent.prompted()
        self.titles.prompted(text)

    def _may_rest(self) -> bool:
        is_occupied = self.start.has_terminal or bool(self.questions.waiting)
        return self._agent.may_rest() and not is_occupied

    def _settings_changed(self) -> None:
        if self.is_local:
            self.hub.publish_status(
                "The program in the terminal keeps its settings. The new ones apply when the page "
                "takes over"
            )
        self.hub.send_keepalive()
        self.hub.on_change()

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
        if not self._agent.is_resting and not self.is_local:
            await self._agent.ready()

    async def answer_request(self, params: Any) -> dict[str, str] | None:
        """The `permission` RPC: the answer to a permission request or to questions. Returns an
        object with `error` if the answer cannot be used; the request then goes on waiting."""
        try:
            answer = read_permission_answer(params)
            if self.local is not None and self.local.answer(answer):
                return None
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

    def hand_off(self, _: Any = None) -> dict[str, Any]:
        """The `handoff-local` RPC: answered first, then the session ends; another process goes on
        with it in a terminal (`hapi resume`)."""
        self._reactor.callLater(0, self.begin_end, HANDED_OFF)
        return {"ok": True}

    def abort(self, _: Any = None) -> None:
        """The `abort` RPC: stop the turn, wherever it runs."""
        if self.local is not None and self.local.is_local:
            self.local.abort()
        else:
            self.turns.abort()

    def switch(self, params: Any = None) -> None:
        """The `switch` RPC. A session without local mode is always open to the page, and to its
        terminal if it has one."""
        if self.local is not None:
            self.local.switch(params.get("to") if isinstance(params, Mapping) else None)

    # --- the end
    def begin_end(self, ending: Ending) -> None:
        run_in_background(self.end(ending), self.log, "The session did not shut down cleanly")

    async def end(self, ending: Ending) -> None:
        """End the agent, archive the row with the reason, and fire `ended`. The first reason
        counts."""
        if self._end.has_begun:
            return
        ending = self._end.begin(ending)
        self._agent.session_ends()
        self._noise_notice.stop()
        if self.local is not None:
            await self.local.end()
        self.turns.close()
        self.permissions.cancel_all()
        self.questions.cancel_all()
        self.hub.announce_end(ending.reason)
        # The archive comes last: whoever sees it may restart the session at once.
        steps: list[Deferred[None]] = [
            Deferred.fromCoroutine(end()) for end in (self.host.end, *self.on_end)
        ]
        for ended, outcome in await DeferredList(steps, consumeErrors=True):
            if not ended:
                self.log.failure("Ending the agent failed", outcome)
        await self._end.archive(ending)
        self._uploads.remove()
        self.ended.fire(ending)

    def crash(self) -> None:
        """End the session after an error of this program."""
        self.begin_end(CRASHED)
