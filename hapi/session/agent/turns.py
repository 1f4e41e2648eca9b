"""Turns: prompts go to the agent one at a time, and its updates become records.

An aborted turn or a dead agent does not end the session.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from hapi.deferreds import run_in_background
from hapi.protocol.acp.permission_requests import PermissionRequest
from hapi.protocol.acp.updates import Commands, Context, ModeChanged, Titled, Update
from hapi.protocol.permissions import CANCELLED
from hapi.protocol.records import READY, Transcript, mode_event, new_id, token_count
from hapi.session.agent.configuration import SessionSettings
from hapi.session.agent.driver import (
    AgentError,
    AgentExited,
    AgentSessionError,
    AgentTimeout,
    Driver,
)
from hapi.session.agent.permissions import Permissions
from hapi.session.hub.inbox import Batch
from hapi.session.hub.uplink import SessionUplink

CANCEL_TIMEOUT = 15.0  # seconds after an abort until the agent itself is ended
STOP_REASONS = {
    "max_tokens": "The answer was cut off: the model reached its token limit",
    "max_turn_requests": "The turn was ended: the agent reached its limit of model requests",
    "refusal": "The agent refused to continue with this prompt",
}


@define(eq=False)
class Turns:
    """`driver` returns the agent, restarted if it has died; `end_agent` ends one that ignores a
    cancel.

    Each of `observers` is called with every update, in order, after the records that follow from
    it were published. `transcript` tells the blocks of text and thought that are open then.
    """

    _clock: IReactorTime
    _label: str
    _hub: SessionUplink
    _permissions: Permissions
    _settings: SessionSettings
    _driver: Callable[[], Awaitable[Driver]]
    _end_agent: Callable[[], object]
    observers: list[Callable[[Update], object]] = field(factory=list)
    on_idle: Callable[[], object] = field(default=lambda: None)
    on_title: Callable[[str], object] = field(default=lambda title: None)
    on_prompt: Callable[[str], object] = field(default=lambda text: None)
    commands: tuple[tuple[str, str | None], ...] = ()
    busy: bool = False
    closed: bool = True  # until the agent is ready
    transcript: Transcript = field(factory=lambda: Transcript(new_id))
    _context: tuple[int, int] | None = None
    _aborted: bool = False
    _current: Driver | None = None
    _cancel_timeout: IDelayedCall | None = None
    log = Logger()

    def open(self) -> None:
        """The agent is ready: begin with the prompts that have arrived."""
        self.closed = False
        self.start_next()

    def start_next(self) -> None:
        """Start the next turn if there is a prompt and no turn runs."""
        if self.busy or self.closed:
            return
        batch = self._hub.inbox.take()
        if batch is None:
            return
        self.busy = True
        turn = run_in_background(self._turn(batch), self.log, "A turn failed")
        turn.addBoth(self._turn_ended)

    def _turn_ended(self, _: object) -> None:
        self.busy = False
        self.start_next()

    async def _turn(self, batch: Batch) -> None:
        self._aborted = False
        self._hub.acknowledge_prompts(batch.local_ids)
        self._hub.set_thinking(True)
        self.on_prompt(batch.text)
        interrupted = True
        try:
            self._current = driver = await self._driver()
            if not self._aborted:
                end = await driver.prompt(batch.text)
                interrupted = end.stop == "cancelled"
                self._publish(self.transcript.finish(interrupted))
                if end.usage is not None:
                    self._hub.publish_agent_record(
                        token_count(end.usage, self._model(driver), self._context)
                    )
                if end.stop in STOP_REASONS:
                    self._hub.publish_status(STOP_REASONS[end.stop])
        except (AgentError, AgentExited, AgentTimeout, AgentSessionError) as problem:
            self._publish(self.transcript.finish(interrupted=True))
            if not (self._aborted and isinstance(problem, AgentError)):
                self._hub.publish_status(f"{self._label} prompt failed: {problem}")
        finally:
            self._stop_cancel_timeout()
            self._current = None
            if self._permissions.waiting:
                self._permissions.cancel_all()
            if not self.closed:
                self._hub.set_thinking(False)
                if not len(self._hub.inbox):
                    self._hub.publish_event(READY)
                    self.on_idle()

    def _model(self, driver: Driver) -> str | None:
        select = driver.select("model")
        return select.current if select is not None else self._settings.model

    def abort(self) -> None:
        """Cancel the turn. Waiting prompts stay and are next."""
        self._permissions.cancel_all()
        self._publish(self.transcript.flush())
        self.cancel()
        self._hub.publish_status("Session aborted")

    def cancel(self) -> None:
        if not self.busy:
            return
        self._aborted = True
        if self._current is not None:
            self._current.cancel()
        if self._cancel_timeout is None:
            self._cancel_timeout = self._clock.callLater(
                CANCEL_TIMEOUT, self._end_agent_after_timeout
            )

    def close(self) -> None:
        """The session ends: no more turns. What was published so far is kept."""
        self.closed = True
        self._publish(self.transcript.finish(interrupted=True))
        self._stop_cancel_timeout()

    def _end_agent_after_timeout(self) -> None:
        self._cancel_timeout = None
        self._hub.publish_status(
            f"{self._label} did not stop. It is ended and restarts with the next prompt"
        )
        self._end_agent()

    def _stop_cancel_timeout(self) -> None:
        if self._cancel_timeout is not None:
            self._cancel_timeout.cancel()
            self._cancel_timeout = None

    # --- what the agent does
    def updated(self, update: Update) -> None:
        self._apply(update)
        for observe in self.observers:
            try:
                observe(update)
            except Exception:
                self.log.failure("An observer of the agent's updates failed")

    def _apply(self, update: Update) -> None:
        match update:
            case Commands(commands):
                self.commands = commands
            case Context(used, size):
                self._context = used, size
            case ModeChanged(mode):
                if self._settings.mode_changed_by_agent(mode):
                    self._hub.publish_event(mode_event(mode))
            case Titled(title):
                self.on_title(title)
            case _:
                records = self.transcript.update(update, self._clock.seconds())
                self._publish(records if self.busy else records + self.transcript.finish())

    def request_permission(self, request: PermissionRequest) -> Deferred[dict[str, Any]]:
        """Publish the tool's card, then ask; fires with the answer for the agent, in ACP."""
        records, tool, arguments = self.transcript.permission_requested(request.call)
        self._publish(records)
        answer = self._permissions.request(request, tool, arguments)
        return answer.addErrback(self._cancel_permission)

    def _cancel_permission(self, failure: Failure) -> dict[str, Any]:
        self.log.failure("A permission request failed", failure)
        return CANCELLED

    def _publish(self, records: list[dict[str, Any]]) -> None:
        for record in records:
            self._hub.publish_agent_record(record)
