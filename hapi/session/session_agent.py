"""The agent of one session over all its starts: started when needed, resumed, put to rest."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from random import Random
from typing import TYPE_CHECKING, Any

from attrs import define, field
from twisted.internet.defer import Deferred, fail
from twisted.internet.task import deferLater
from twisted.logger import Logger

from hapi.one_shot import OneShotObserver
from hapi.protocol.agents import Agent
from hapi.protocol.session import COMPLETED, Ending
from hapi.protocol.session_metadata import REST_KEY, agent_memory, without_rest
from hapi.session.agent.authentication import Login
from hapi.session.agent.configuration import DEFAULT_MODEL, SessionSettings
from hapi.session.agent.driver import AgentSessionError, Driver, LoginRequired
from hapi.session.agent.host import AgentHost
from hapi.session.agent.jsonrpc_peer import AgentExited
from hapi.session.agent.offer import OfferPublisher
from hapi.session.agent.turns import Turns
from hapi.session.hub.uplink import SessionUplink
from hapi.session.startup.command_line import Arguments

if TYPE_CHECKING:
    from hapi.attempts import AttemptFolder

# Seconds the hub has to store the agent's session id before the first prompt goes on.
FLUSH_TIMEOUT = 5.0
MAX_STARTS = 2  # of an agent that ends while it starts
START_AGAIN_DELAY = 0.5  # seconds, or up to twice as long, so that two sessions do not meet again


@define(eq=False, repr=False)
class SessionAgent:
    """`begin_end` ends the whole session; `folder` is where the runner asks for the agent's memory.

    The parts that need the running agent (`turns`, `settings`) get `ready`.
    """

    _reactor: Any
    agent: Agent
    _arguments: Arguments
    _host: AgentHost
    _hub: SessionUplink
    _begin_end: Callable[[Ending], object]
    _random: Random
    _folder: AttemptFolder | None
    _started_at: int  # epoch milliseconds of the session's start
    settings: SessionSettings = field(init=False)
    turns: Turns = field(init=False)
    login: Login = field(init=False)
    offer: OfferPublisher = field(init=False)
    session_id: str | None = None  # the agent's own, by which it is resumed
    resting_since: float | None = None  # epoch seconds; None while the agent runs
    _driver: OneShotObserver[Driver] | None = None
    _is_ending: bool = False
    _is_resumable: bool = True  # False once the agent could not resume its session
    _has_memory: bool = False  # whether the agent's session has had a prompt
    _rested_with_memory: bool = False
    _prompted_at: float = math.inf  # epoch seconds of the first prompt since the agent's start
    _resting: Deferred[None] | None = None  # fires when a resting agent has ended
    model_before: str | None = None  # as an earlier process left it; None: not known
    keeps_default_model: bool = True  # at the next start
    is_away: bool = False  # the agent's own program has its session
    log = Logger()

    def __attrs_post_init__(self) -> None:
        self.session_id = self._arguments.resume
        self._has_memory = self._arguments.resume is not None

    def ready(self) -> Deferred[Driver]:
        """The running agent, started if necessary. Fails with the reason why it could not start."""
        once = self._driver
        if once is None and self.is_away:
            return fail(AgentSessionError(f"{self.agent.label}'s own program has the terminal"))
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
        first = self._host.starts == 0
        fork = self._arguments.fork and first
        rested = self.resting_since is not None
        if rested and not self._rested_with_memory:
            self.session_id = None  # agents store no session without a prompt
        before = self.settings.current_model or self.model_before
        driver = await self._open_authenticated(fork)
        self._prompted_at = time.time() if self.turns.busy else math.inf
        if rested:
            self._awake(driver)
        self.turns.running_driver = driver
        self._tell_capabilities(driver)
        for problem in await self.settings.begin(driver):
            self._hub.publish_status(f"Not set: {problem}")
        if driver.resumed and self.keeps_default_model and before == DEFAULT_MODEL:
            await self.settings.keep_default_model(driver)
        self.keeps_default_model = True
        self.offer.opened()
        for name, value in self._arguments.beyond_acp.items() if first else ():
            self._hub.publish_status(
                f"Not set: {name} {value}".rstrip()
                + f": {self.agent.label} has no such setting over ACP"
            )
        wanted = self.session_id
        if wanted is not None and not fork and not driver.resumed:
            self._hub.publish_status(
                f"{self.agent.label} cannot resume its session {wanted}; this is a new session"
            )
        if wanted is not None or (first and self._arguments.continues):
            self._tell_memory(driver.resumed or (fork and wanted is not None))
        await self._store_resume_key(driver.session_id)
        return driver

    def _tell_capabilities(self, driver: Driver) -> None:
        """Tell the hub whether the agent can copy its session."""
        found = driver.introduction
        history = (
            {"conversationHistory": {"forkCurrent": True}}
            if found is not None and found.forks_sessions
            else {}
        )

        def with_history(stored: Any) -> dict[str, Any]:
            told = dict((stored or {}).get("capabilities") or {})
            told.pop("conversationHistory", None)
            return {**(stored or {}), "capabilities": {**told, **history}}

        if with_history(self._hub.metadata.value) != self._hub.metadata.value:
            self._hub.change_metadata(with_history)

    def _tell_memory(self, is_kept: bool) -> None:
        """Tell the hub whether the agent went on with its memory of the conversation."""
        memory = agent_memory("kept" if is_kept else "new", self._started_at)
        self._hub.change_metadata(lambda stored: {**(stored or {}), "agentMemory": memory})

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
                return await self._host.open(
                    self._hub.session_id, self.session_id, fork, self.turns, self._exited
                )
            except LoginRequired as problem:
                if self._is_ending or self.is_away:
                    raise
                required = problem
            except AgentExited as problem:
                is_wanted = not (self._is_ending or self.is_away or self.turns.is_aborted)
                if starts == MAX_STARTS or not is_wanted:
                    raise
                self._hub.publish_status(f"{problem}. It is started again")
                delay = START_AGAIN_DELAY * (1 + self._random.random())
                await deferLater(self._reactor, delay)
                if self._is_ending or self.is_away:
                    raise
                continue
            finally:
                self.turns.silence.end()
            starts = 0
            self._host.chosen_login = await self.login.ask(required)

    async def log_in_again(self, problem: LoginRequired) -> Driver:
        """The running agent has lost its login: ask for one, then start it again."""
        self._host.chosen_login = await self.login.ask(problem)
        self._driver = None
        return await self.ready()

    async def _store_resume_key(self, agent_session: str | None) -> None:
        """Store the resume key at the hub before the first prompt.

        A kill in the first turn then leaves a row that can be resumed.
        """
        self.session_id, name = agent_session, self.agent.session_id_field
        metadata = self._hub.metadata
        if (metadata.value or {}).get(name) == agent_session and metadata.settled:
            return
        self._hub.change_metadata(lambda stored: {**(stored or {}), name: agent_session})
        if not await metadata.flushed(FLUSH_TIMEOUT):
            self.log.warn(
                "The hub did not store {name} within {seconds:g} s; continuing without it",
                name=name,
                seconds=FLUSH_TIMEOUT,
            )

    def _exited(self, words: str, exit_code: int | None) -> None:
        """The agent's process ended. After a regular exit the session ends as well.

        Otherwise the agent restarts with the next prompt.
        """
        if self._is_ending or self._driver is None or not self._driver.has_fired:
            return
        self._driver = None
        self.turns.agent_exited()
        if exit_code == 0 and not self.turns.busy:
            self._begin_end(COMPLETED)
        elif not self.turns.busy:
            self._hub.publish_status(
                f"{self.agent.label} {words}. It restarts with the next prompt"
            )

    def prompted(self) -> None:
        """A prompt goes to the agent: from now on it has something to remember."""
        self._has_memory = True
        self._prompted_at = min(self._prompted_at, time.time())

    @property
    def is_resting(self) -> bool:
        return self.resting_since is not None and self._driver is None

    def may_rest(self) -> bool:
        """Whether the agent runs, can be resumed, and nothing goes on or waits."""
        driver = self.turns.running_driver
        return (
            not self._is_ending
            and self.agent.may_rest
            and self._driver is not None
            and self._driver.has_fired
            and driver is not None
            and driver.introduction is not None
            and driver.introduction.loads_sessions
            and self._is_resumable
            and not self.turns.closed
            and self.turns.is_quiet
        )

    async def has_background_commands(self) -> bool:
        return await self._host.has_background_commands(self._prompted_at)

    def is_memory_wanted(self) -> bool:
        folder = self._folder
        return folder is not None and folder.take_rest_request()

    async def release(self) -> None:
        """End the agent's processes: its own program goes on with its session."""
        self.is_away = True
        self._driver = self.turns.running_driver = None
        await self._host.end()

    def take_back(self, session_id: str | None) -> None:
        """The own program has left. `session_id`: of the agent's session, None if there is none
        that could be resumed."""
        self.is_away = False
        self.session_id, self._has_memory = session_id, session_id is not None

    @property
    def resumable_session(self) -> str | None:
        """The agent's session, if it has had a prompt: without one, agents store none."""
        return self.session_id if self._has_memory else None

    async def rest(self) -> None:
        """End the agent's processes. The session stays, and the next prompt resumes the agent."""
        self._driver = self.turns.running_driver = None
        resting: Deferred[None] = Deferred()
        self._resting = resting
        self.resting_since, self._rested_with_memory = time.time(), self._has_memory
        self.log.info("{label} rests until the next prompt", label=self.agent.label)
        since = self._hub.now_ms()
        self._hub.change_metadata(lambda stored: {**(stored or {}), REST_KEY: {"since": since}})
        self._hub.on_change()
        try:
            await self._host.end()
        finally:
            self._resting = None
            resting.callback(None)

    def _awake(self, driver: Driver) -> None:
        self.resting_since = None
        self._hub.change_metadata(without_rest)
        self._hub.on_change()
        if self._rested_with_memory and not driver.resumed:
            self._is_resumable = False

    def session_ends(self) -> None:
        """The agent is not started again, and how it ends is of no interest."""
        self._is_ending = True
