"""From prompts to turns: one at a time, what the agent does becomes records, an abort or a dead agent ends no session."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from hapi.protocol.acp import Commands, Context, ModeChanged, PermissionRequest, Titled, Update
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

STUBBORN = 15.0  # seconds after an abort until the agent itself is ended
STOPS = {
    "max_tokens": "The answer was cut: the model's limit of tokens is reached",
    "max_turn_requests": "The turn was ended: the limit of model requests is reached",
    "refusal": "The agent refuses to go on with this prompt",
}


@define(eq=False)
class Turns:
    """`driver` gives the agent, started anew if it has died; `end_agent` ends one that does not obey."""

    _clock: IReactorTime
    _label: str
    _hub: SessionUplink
    _permissions: Permissions
    _settings: SessionSettings
    _driver: Callable[[], Awaitable[Driver]]
    _end_agent: Callable[[], object]
    on_update: Callable[[Update], object] = field(default=lambda update: None)
    on_idle: Callable[[], object] = field(default=lambda: None)
    on_title: Callable[[str], object] = field(default=lambda title: None)
    on_prompt: Callable[[str], object] = field(default=lambda text: None)
    commands: tuple[tuple[str, str | None], ...] = ()
    busy: bool = False
    closed: bool = True  # until the agent is there
    _transcript: Transcript = field(factory=lambda: Transcript(new_id))
    _context: tuple[int, int] | None = None
    _aborted: bool = False
    _current: Driver | None = None
    _stubborn: IDelayedCall | None = None
    log = Logger()

    def open(self) -> None:
        """The agent is there: begin with what has come meanwhile."""
        self.closed = False
        self.arrived()

    def arrived(self) -> None:
        """There may be a prompt."""
        if self.busy or self.closed:
            return
        batch = self._hub.inbox.take()
        if batch is None:
            return
        self.busy = True
        turn = Deferred.fromCoroutine(self._turn(batch))
        turn.addErrback(lambda failure: self.log.failure("A turn failed", failure))
        turn.addBoth(self._over)

    def _over(self, _: object) -> None:
        self.busy = False
        self.arrived()

    async def _turn(self, batch: Batch) -> None:
        self._aborted = False
        self._hub.consumed(batch.local_ids)
        self._hub.think(True)
        self.on_prompt(batch.text)
        interrupted = True
        try:
            self._current = driver = await self._driver()
            if not self._aborted:
                end = await driver.prompt(batch.text)
                interrupted = end.stop == "cancelled"
                self._show(self._transcript.finish(interrupted))
                if end.usage is not None:
                    self._hub.say(token_count(end.usage, self._model(driver), self._context))
                if end.stop in STOPS:
                    self._hub.status(STOPS[end.stop])
        except (AgentError, AgentExited, AgentTimeout, AgentSessionError) as problem:
            self._show(self._transcript.finish(interrupted=True))
            if not (self._aborted and isinstance(problem, AgentError)):
                self._hub.status(f"{self._label} prompt failed: {problem}")
        finally:
            self._calm()
            self._current = None
            if self._permissions.waiting:
                self._permissions.cancel_all()
            if not self.closed:
                self._hub.think(False)
                if not len(self._hub.inbox):
                    self._hub.event(READY)
                    self.on_idle()

    def _model(self, driver: Driver) -> str | None:
        select = driver.select("model")
        return select.current if select is not None else self._settings.model

    def abort(self) -> None:
        """Stop the turn. Prompts that wait stay, and are next."""
        self._permissions.cancel_all()
        self._show(self._transcript.said_so_far())
        self.cancel()
        self._hub.status("Session aborted")

    def cancel(self) -> None:
        if not self.busy:
            return
        self._aborted = True
        if self._current is not None:
            self._current.cancel()
        if self._stubborn is None:
            self._stubborn = self._clock.callLater(STUBBORN, self._end_stubborn)

    def close(self) -> None:
        """The session ends: no more turns. What was said so far is kept."""
        self.closed = True
        self._show(self._transcript.finish(interrupted=True))
        self._calm()

    def _end_stubborn(self) -> None:
        self._stubborn = None
        self._hub.status(
            f"{self._label} did not stop; it is ended and starts again with the next prompt"
        )
        self._end_agent()

    def _calm(self) -> None:
        if self._stubborn is not None:
            self._stubborn.cancel()
            self._stubborn = None

    # --- what the agent does
    def updated(self, update: Update) -> None:
        self.on_update(update)
        match update:
            case Commands(commands):
                self.commands = commands
            case Context(used, size):
                self._context = used, size
            case ModeChanged(mode):
                if self._settings.mode_told(mode):
                    self._hub.event(mode_event(mode))
            case Titled(title):
                self.on_title(title)
            case _:
                records = self._transcript.update(update, self._clock.seconds())
                self._show(records if self.busy else records + self._transcript.finish())

    def request_permission(self, request: PermissionRequest) -> Deferred[dict[str, Any]]:
        """A permission request: its tool card first, then the question."""
        records, tool, arguments = self._transcript.asked(request.call)
        self._show(records)
        answer = self._permissions.request(request, tool, arguments)
        return answer.addErrback(self._cancel_permission)

    def _cancel_permission(self, failure: Failure) -> dict[str, Any]:
        self.log.failure("A permission request failed", failure)
        return CANCELLED

    def _show(self, records: list[dict[str, Any]]) -> None:
        for record in records:
            self._hub.say(record)
