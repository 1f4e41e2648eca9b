"""One session: a row at the hub, an agent, and what connects them, from registration to archive."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from random import Random
from typing import Any

from attrs import define, field, frozen
from twisted.internet.defer import CancelledError, Deferred, TimeoutError, maybeDeferred
from twisted.internet.error import ConnectionDone
from twisted.internet.threads import deferToThread
from twisted.logger import Logger

from hapi.attempts import AttemptFolder
from hapi.confined_directory import ConfinedDirectory
from hapi.deferreds import run_in_background
from hapi.home import Home
from hapi.net.common.rpc import RpcTable
from hapi.one_shot import OneShotObserver
from hapi.pictures import SessionPictures
from hapi.protocol.agents import Agent
from hapi.protocol.attempt import StopOrder
from hapi.protocol.permissions import read_permission_answer
from hapi.protocol.records import summary_record, user_record
from hapi.protocol.session import (
    BY_INTERRUPT,
    BY_SIGNAL,
    BY_USER,
    COMPLETED,
    CRASHED,
    Ending,
    initial_state,
    launch_failed,
)
from hapi.protocol.session_metadata import SessionFacts, archived_metadata, take_over_metadata
from hapi.session.agent.attachments import PromptBlocks
from hapi.session.agent.configuration import SessionSettings, model_list
from hapi.session.agent.driver import Driver
from hapi.session.agent.host import AgentHost
from hapi.session.agent.permission_rules import PermissionRules
from hapi.session.agent.permissions import Permissions
from hapi.session.agent.pictures import Pictures
from hapi.session.agent.questions import Questions
from hapi.session.agent.turns import Turns
from hapi.session.hub.inbox import Inbox, UserMessage
from hapi.session.hub.uplink import SessionUplink, now_ms
from hapi.session.rpc.files import Files
from hapi.session.rpc.methods import register_file_methods, register_session_methods
from hapi.session.startup.command_line import Arguments
from hapi.uploads import SessionUploads

FLUSH_TIMEOUT = (
    5.0  # seconds the hub has to store the agent's session id before the first prompt goes on
)
END_TIMEOUT, SIGNAL_END_TIMEOUT = (
    5.0,
    1.7,
)  # seconds for the whole end; after a signal, whose sender kills after two
OFFLINE_END_TIMEOUT = 0.1  # seconds for the archive at a hub that is away
MAX_TITLE_LENGTH = 80  # characters


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
    turns: Turns = field(init=False)
    pictures: Pictures = field(init=False)
    _files: Files = field(init=False)
    _uploads: SessionUploads = field(init=False)
    _driver: OneShotObserver[Driver] | None = None
    _agent_session: str | None = None
    _ending: Ending | None = None
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
            self.hub.send_keepalive,
        )
        self.permissions = Permissions(
            self.hub.state,
            PermissionRules(self.hub.metadata),
            lambda: self.settings.mode,
            self.settings.set_mode,
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
        self.permissions.cancel_turn = self.turns.cancel
        self.questions = Questions(self.hub.state, self.hub.publish_agent_record, self.turns.cancel)
        self.turns.questions = self.questions
        self.permissions.on_reason = self.submit_prompt
        self.hub.on_queued = self.turns.start_next
        self.turns.on_prompt, self.turns.on_title = self._title_from_prompt, self._title_from_agent
        self.host.noise.on_first = self._tell_noise
        self._agent_session = arguments.resume
        self.pictures = Pictures(
            self.hub, SessionPictures(self.start.home, self.hub.session_id), deferToThread
        )
        self.turns.observers.append(self.pictures.observe)
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

        Returns when the agent is ready or the session has begun to end.
        """
        self._write_initial_state()
        self.link.startService()
        self.hub.start()
        try:
            await self._agent_ready()
        except Exception as problem:
            if self._ending is None:
                self.hub.publish_status(f"{self.agent.label} could not be started: {problem}")
                self.log.error(
                    "{label} could not be started: {reason}",
                    label=self.agent.label,
                    reason=str(problem),
                )
                await self.end(launch_failed(str(problem)))
            return
        self.hub.settings = self.settings.keepalive_fields
        self.hub.announce_ready()
        self.hub.send_keepalive()
        self.turns.open()

    def _write_initial_state(self) -> None:
        fresh = {**self.start.facts.metadata(), "startingMode": "remote"}
        existing = self.start.arguments.existing_session_id is not None
        self._store(self.hub.state.change(lambda state: initial_state()))

        def initial_metadata(stored: Any) -> Any:
            if existing:
                return take_over_metadata(fresh, stored)
            if (stored or {}).get(
                "lifecycleState"
            ) == "archived":  # a person archived it before this process could be asked to end
                self._reactor.callLater(0, self.begin_end, BY_USER)
                return stored
            return {**(stored or {}), **fresh}

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
        first = self.host.starts == 0
        fork = self.start.arguments.fork and first
        driver = await self.host.open(
            self.hub.session_id, self._agent_session, fork, self.turns, self._agent_exited
        )
        self.turns.running_driver = driver
        for problem in await self.settings.begin(driver):
            self.hub.publish_status(f"Not set: {problem}")
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
        await self._store_resume_key(driver.session_id)
        return driver

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

    def _tell_noise(self, line: str) -> None:
        self.hub.publish_status(
            f"{self.agent.label} writes more than messages on its standard output, which is "
            f"ignored. It begins with: {line}"
        )

    # --- titles
    def _title_from_prompt(self, text: str) -> None:
        words = " ".join(text.split())
        stored = self.hub.metadata.value or {}
        if words and not stored.get("name") and not stored.get("summary"):
            self._summarize(
                words if len(words) <= MAX_TITLE_LENGTH else f"{words[: MAX_TITLE_LENGTH - 1]}…",
                keep=True,
            )

    def change_title(self, title: str) -> None:
        """Set the title on behalf of the agent."""
        self._title_from_agent(title)

    def _title_from_agent(self, title: str) -> None:
        stored = self.hub.metadata.value or {}
        if (stored.get("summary") or {}).get("text") != title:
            self.hub.publish(summary_record(title))
            self._summarize(title, keep=False)

    def _summarize(self, text: str, keep: bool) -> None:
        summary = {"text": text, "updatedAt": now_ms()}
        self._store(
            self.hub.metadata.change(
                lambda stored: (
                    stored
                    if keep and (stored or {}).get("summary")
                    else {**(stored or {}), "summary": summary}
                )
            )
        )

    def _store(self, stored: Deferred[Any]) -> None:
        stored.addErrback(
            lambda failure: self.log.warn(
                "Not stored at the hub: {reason}", reason=failure.getErrorMessage()
            )
        )

    # --- from the terminal and the hub
    def submit_prompt(self, text: str) -> None:
        """Take a prompt that was typed in the terminal."""
        self.hub.publish(user_record(text))
        self.hub.inbox.put(UserMessage(text))
        self.turns.start_next()

    async def models(self, _: Any = None) -> dict[str, Any]:
        """The answer to `list…Models`."""
        return model_list((await self._agent_ready()).offer)

    async def answer_request(self, params: Any) -> dict[str, str] | None:
        """The `permission` RPC: the answer to a permission request or to questions. Returns an
        object with `error` if the answer cannot be used; the request then goes on waiting."""
        try:
            answer = read_permission_answer(params)
            if not self.questions.decide(answer):
                await self.permissions.decide(answer)
            elif not answer.approved and answer.reason is not None:
                self.submit_prompt(answer.reason)
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
        at = now_ms()
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
