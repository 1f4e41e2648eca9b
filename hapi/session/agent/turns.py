"""Turns: prompts go to the agent one at a time, and its updates become records.

The agent may also work outside a turn. An aborted turn or a dead agent does not end the session.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from attrs import define, evolve, field
from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from hapi.deferreds import run_in_background
from hapi.protocol.acp.authentication import AUTH_REQUIRED
from hapi.protocol.acp.notices import Notice
from hapi.protocol.acp.permission_requests import PermissionRequest
from hapi.protocol.acp.updates import (
    Commands,
    Context,
    ModeChanged,
    OptionsChanged,
    Plan,
    Text,
    Thought,
    Titled,
    ToolCall,
    Update,
)
from hapi.protocol.permissions import CANCELLED
from hapi.protocol.records import READY, new_id
from hapi.protocol.transcript import (
    AGENT_ENDED,
    INTERRUPTED,
    SESSION_ENDED,
    TURN_FAILED,
    Transcript,
)
from hapi.session.agent.attachments import PromptBlocks
from hapi.session.agent.background import CALL_TIMEOUT, BackgroundWork, silence_limit
from hapi.session.agent.configuration import SessionSettings
from hapi.session.agent.driver import (
    AgentError,
    AgentExited,
    AgentSessionError,
    AgentTimeout,
    Driver,
    LoginRequired,
    TurnEnd,
)
from hapi.session.agent.exit_reason import without_stack_trace
from hapi.session.agent.permissions import Permissions
from hapi.session.agent.questions import Questions
from hapi.session.agent.silence import SilenceWatch
from hapi.session.agent.tool_calls import ToolCalls
from hapi.session.agent.usage import UsageMeter
from hapi.session.hub.inbox import Batch
from hapi.session.hub.uplink import SessionUplink

CANCEL_TIMEOUT = 15.0  # seconds after an abort until the agent itself is ended
STOP_REASONS = {
    "max_tokens": "The answer was cut off: the model reached its token limit",
    "max_turn_requests": "The turn was ended: the agent reached its limit of model requests",
    "refusal": "The agent refused to continue with this prompt",
}


@define(eq=False, repr=False)
class Turns:
    """`driver` returns the agent, restarted if it has died; `end_agent` ends one that ignores a
    cancel.

    Each of `observers` is called with every update, in order, after the records that follow from
    it were published. If it returns a Deferred, the agent's next message waits until that fires.
    `transcript` tells the blocks of text and thought that are open then.
    """

    _clock: IReactorTime
    _label: str
    _hub: SessionUplink
    _permissions: Permissions
    _settings: SessionSettings
    _driver: Callable[[], Awaitable[Driver]]
    _end_agent: Callable[[], object]
    _blocks: PromptBlocks
    observers: list[Callable[[Update], object]] = field(factory=list)
    tool_calls: ToolCalls = field(factory=ToolCalls)
    on_idle: Callable[[], object] = field(default=lambda: None)
    # A turn is over, and no other one begins at once.
    on_quiet: Callable[[], object] = field(default=lambda: None)
    on_title: Callable[[str], object] = field(default=lambda title: None)
    on_prompt: Callable[[str], object] = field(default=lambda text: None)
    questions: Questions | None = None
    log_in_again: Callable[[LoginRequired], Awaitable[Driver]] | None = None
    commands: tuple[tuple[str, str | None], ...] = ()
    busy: bool = False
    closed: bool = True  # until the agent is ready
    transcript: Transcript = field(factory=lambda: Transcript(new_id, in_turn=False))
    running_driver: Driver | None = None  # of the agent, once its session is open
    usage: UsageMeter = field(init=False)
    _aborted: bool = False
    _is_answered: bool = False  # the agent has said or done something in this turn
    _abort_unreported: bool = False  # the conversation does not say yet that a person aborted
    _current: Driver | None = None
    _cancel_timeout: IDelayedCall | None = None
    silence: SilenceWatch = field(init=False)
    _background: BackgroundWork = field(init=False)
    _seen_at: float = (
        0.0  # seconds of the clock: the last time that the agent said or did something
    )
    log = Logger()

    def __attrs_post_init__(self) -> None:
        self.usage = UsageMeter(self._hub.metadata)
        self.observers.append(self.usage.observe)
        self._background = BackgroundWork(
            self._clock,
            self._silence_limit,
            lambda: self._hub.set_thinking(True),
            lambda: self._publish(self.transcript.flush()),
            self._background_ended,
        )
        self.silence = SilenceWatch(
            self._clock,
            self._label,
            self._hub.publish_status,
            lambda: self._is_asking,
            lambda: self.transcript.open_call_names,
        )

    @property
    def is_working(self) -> bool:
        """Whether there is something to stop: a turn, or work outside one."""
        return self.busy or self._background.is_active

    @property
    def is_aborted(self) -> bool:
        """Whether a person has stopped the turn that runs."""
        return self.busy and self._aborted

    @property
    def is_quiet(self) -> bool:
        """Whether nothing goes on: no turn, no work outside one, no prompt or request that waits.

        A call that the agent left without a result counts as running for some time: it may go on
        in the background.
        """
        may_run = self.transcript.has_open_calls or (
            self.transcript.has_unreported_calls
            and self._clock.seconds() - self._seen_at < CALL_TIMEOUT
        )
        return not (self.is_working or may_run or self._is_asking or len(self._hub.inbox))

    def open(self) -> None:
        """The agent is ready: begin with the prompts that have arrived."""
        self.closed = False
        self.start_next()

    def start_next(self) -> None:
        """Start the next turn if there is a prompt and no turn runs."""
        if self.busy or self.closed or self._hub.is_catching_up:
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
        if not self.busy:
            self.on_quiet()

    async def _turn(self, batch: Batch) -> None:
        self._aborted = self._is_answered = False
        self._background.stop()
        self._publish(self.transcript.begin_turn())
        self._hub.acknowledge_prompts(batch.local_ids)
        self._hub.set_thinking(True)
        self.on_prompt(batch.text)
        interrupted, started = True, self._clock.seconds()
        try:
            self._current = self.running_driver = driver = await self._driver()
            blocks = await self._blocks.of(batch.parts, driver.prompt_capabilities)
            if not self._aborted:
                self.silence.begin()
                end = await self._prompt(driver, blocks)
                interrupted = end.stop == "cancelled"
                if not interrupted:
                    # The agent still waits for these answers: what asked goes on in the background.
                    for pending in self._permissions.waiting:
                        self.transcript.keep_open(pending.asked.call.call_id)
                self._publish(self.transcript.finish(interrupted))
                seconds = self._clock.seconds() - started
                self._publish(self.usage.turn_ended(end.usage, self._model(driver), seconds))
                if (duration := self.usage.duration_record(seconds)) is not None:
                    self._hub.publish(duration)
                if end.stop in STOP_REASONS:
                    self._hub.publish_status(STOP_REASONS[end.stop])
                elif not (interrupted or self._is_answered):
                    # Kimi does so when the model's provider refuses or fails.
                    self._hub.publish_status(f"{self._label} ended the turn without an answer")
        except (AgentError, AgentExited, AgentTimeout, AgentSessionError) as problem:
            ended_by = AGENT_ENDED if isinstance(problem, AgentExited) else TURN_FAILED
            self._publish(self.transcript.finish(True, INTERRUPTED if self._aborted else ended_by))
            if not (self._aborted and isinstance(problem, AgentError)):
                reason = without_stack_trace(str(problem))
                self._hub.publish_status(f"{self._label} prompt failed: {reason}")
        finally:
            self.silence.end()
            self._stop_cancel_timeout()
            self._current = None
            self._seen_at = self._clock.seconds()
            if interrupted and self._permissions.waiting:
                self._permissions.cancel_all()
            self._report_abort()
            if self._is_asking and not self.closed:
                self._background.seen()
            elif not self.closed:
                self._be_ready()

    async def _prompt(self, driver: Driver, blocks: list[dict[str, Any]]) -> TurnEnd:
        """Run the turn, again after a login if the agent has lost it meanwhile."""
        try:
            return await driver.prompt(blocks)
        except AgentError as problem:
            if problem.code != AUTH_REQUIRED or self.log_in_again is None or self._aborted:
                raise
            lost = LoginRequired(str(problem), driver.auth_methods)
        self._current = None
        self._current = self.running_driver = driver = await self.log_in_again(lost)
        return await driver.prompt(blocks)

    def _be_ready(self) -> None:
        self._hub.set_thinking(False)
        if not len(self._hub.inbox):
            self._hub.publish_event(READY)
            self.on_idle()

    def _silence_limit(self) -> float:
        return silence_limit(self._is_asking, self.transcript.has_open_calls)

    def _background_ended(self) -> None:
        self._stop_cancel_timeout()
        self._publish(self.transcript.finish_background())
        self._be_ready()

    def _model(self, driver: Driver) -> str | None:
        select = driver.select("model")
        return select.current if select is not None else self._settings.model

    @property
    def _is_asking(self) -> bool:
        """Whether the agent waits for a person."""
        questions = self.questions
        return bool(self._permissions.waiting or (questions is not None and questions.waiting))

    def flush(self) -> None:
        """Publish the text and the thoughts so far, so that they come before what is next."""
        self._publish(self.transcript.flush())

    def abort(self) -> None:
        """Cancel the turn. Waiting prompts stay and are next.

        The conversation says so when the turn has ended, after what the agent still had to say.
        """
        self._permissions.cancel_all()
        if self.questions is not None:
            self.questions.cancel_all()
        self._abort_unreported = True
        self.cancel()
        if not self.busy:
            self._report_abort()

    def _report_abort(self) -> None:
        if self._abort_unreported:
            self._abort_unreported = False
            self._hub.publish_status("Session aborted")

    def cancel(self) -> None:
        """Cancel the turn, or what the agent does outside one."""
        if self.busy:
            self._aborted = True
            driver = self._current
        elif not self.is_quiet:
            self._publish(self.transcript.finish(interrupted=True))
            driver = self.running_driver
        else:
            return
        if driver is not None:
            driver.cancel()
        if self._cancel_timeout is None and self.is_working:
            self._cancel_timeout = self._clock.callLater(
                CANCEL_TIMEOUT, self._end_agent_after_timeout
            )

    def close(self) -> None:
        """The session ends: no more turns. What was published so far is kept."""
        self.closed = True
        self.silence.end()
        self._background.stop()
        self._publish(self.transcript.finish(True, SESSION_ENDED))
        self._report_abort()
        self._stop_cancel_timeout()

    def agent_exited(self) -> None:
        """The agent's process ended. What it did outside a turn is over."""
        self.running_driver = None
        if self.busy or self.closed:
            return
        was_active = self._background.is_active
        self._background.stop()
        self._stop_cancel_timeout()
        self._publish(self.transcript.finish(True, AGENT_ENDED))
        if self._permissions.waiting:
            self._permissions.cancel_all()
        if was_active:
            self._be_ready()

    def _end_agent_after_timeout(self) -> None:
        self._cancel_timeout = None
        self._publish(self.transcript.flush())
        self._report_abort()
        self._hub.publish_status(
            f"{self._label} did not stop. It is ended and restarts with the next prompt"
        )
        self._end_agent()

    def _stop_cancel_timeout(self) -> None:
        if self._cancel_timeout is not None:
            self._cancel_timeout.cancel()
            self._cancel_timeout = None

    # --- what the agent does
    def updated(self, update: Update) -> Deferred[Any] | None:
        """Handle an update; the next message waits for the Deferred."""
        self.silence.seen()
        self._apply(update)
        self.tool_calls.observe(update)
        pending = []
        for observe in self.observers:
            try:
                found = observe(update)
            except Exception:
                self.log.failure("An observer of the agent's updates failed")
            else:
                if isinstance(found, Deferred) and not found.called:
                    pending.append(found)
        return DeferredList(pending, consumeErrors=True) if pending else None

    def _apply(self, update: Update) -> None:
        match update:
            case Commands(commands):
                self.commands = commands
            case Context() | ModeChanged() | OptionsChanged():
                pass  # observers follow them
            case Titled(title):
                self.on_title(title)
            case Notice(text):
                if text is not None:
                    self.silence.notice(text)
            case _:
                self._seen_at = self._clock.seconds()
                self._is_answered = True
                self._publish(self.transcript.update(update, self._seen_at))
                if not self.busy and not self.closed:
                    self._background.seen(self._begins_work(update))

    def _begins_work(self, update: Update) -> bool:
        """Whether the agent works if it sends this outside a turn; the end of a call is none."""
        match update:
            case Text(text) | Thought(text):
                return bool(text)
            case ToolCall():
                return self.transcript.has_open_calls
            case _:
                return isinstance(update, Plan)

    def request_permission(self, request: PermissionRequest) -> Deferred[dict[str, Any]]:
        """Publish the tool's card, then ask; fires with the answer for the agent, in ACP."""
        self._is_answered = True
        request = request.completed_by(self.tool_calls.get(request.call.call_id))
        call = evolve(request.call, input=request.arguments)
        records, tool, arguments = self.transcript.permission_requested(call)
        self._publish(records)
        self._seen_at = self._clock.seconds()
        if not self.busy and not self.closed:
            self._background.seen()
        if self.questions is not None:
            asked = self.questions.ask_by_permission(request, arguments)
            if asked is not None:
                return asked
        answer = self._permissions.request(request, tool, arguments)
        answer.addErrback(self._cancel_permission)
        return answer.addCallback(self._take_rejection, request)

    def _take_rejection(self, answer: dict[str, Any], request: PermissionRequest) -> dict[str, Any]:
        chosen = answer["outcome"].get("optionId")
        if any(each.id == chosen and each.kind.startswith("reject") for each in request.options):
            self.transcript.reject(request.call.call_id)
        return answer

    def _cancel_permission(self, failure: Failure) -> dict[str, Any]:
        self.log.failure("A permission request failed", failure)
        return CANCELLED

    def _publish(self, records: list[dict[str, Any]]) -> None:
        for record in records:
            self._hub.publish_agent_record(record)
        self._hub.live.changed()
