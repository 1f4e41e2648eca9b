"""An agent's questions to a person: asked through elicitation or as a permission request.

No permission mode answers them. A question waits until it is answered, until the agent takes it
back or ends, or until the person stops the turn.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.logger import Logger

from hapi.net.client.versioned import VersionedDocument
from hapi.protocol.acp.elicitation import CANCEL, DECLINE, accepted, read_elicitation
from hapi.protocol.acp.permission_requests import PermissionRequest
from hapi.protocol.acp.questions import (
    QUESTION_TOOL,
    Question,
    answers_in_words,
    question_arguments,
    questions_of_tool,
    read_answers,
    selected_option,
)
from hapi.protocol.permissions import (
    ABORTED,
    CANCELLED,
    MAX_ID_LENGTH,
    PermissionAnswer,
    PermissionOutcome,
    RequestIds,
    acp_permission_answer,
    read_permission_answer,
    request_entry,
    with_completed_request,
    with_request,
)
from hapi.protocol.records import tool_result
from hapi.session.hub.uplink import Json

TAKEN_BACK = PermissionOutcome("canceled", "abort", "The agent took the question back")
COMPLETED = PermissionOutcome("approved", "approved", "The page was visited")
Answers = Mapping[str, Sequence[str]]


@define(eq=False, repr=False)
class PendingQuestion:
    """Questions that wait for a person.

    `accept` makes the agent's answer of the given answers and raises ValueError if they do not fit.
    `has_card`: their tool card is ours to publish and to end.
    """

    request_id: str
    tool: str
    arguments: Mapping[str, Any]
    questions: tuple[Question, ...]
    accept: Callable[[Answers], Json]
    declined: Json
    canceled: Json
    answer: Deferred[Json]
    has_card: bool = False
    elicitation_id: str | None = None


@define(eq=False, repr=False)
class Questions:
    """The questions of one session. `publish` publishes a record of the agent."""

    _state: VersionedDocument
    _publish: Callable[[Json], object]
    cancel_turn: Callable[[], object] = field(default=lambda: None)
    on_asked: Callable[[PendingQuestion], object] = field(default=lambda pending: None)
    on_settled: Callable[[PendingQuestion, PermissionOutcome], object] = field(
        default=lambda pending, outcome: None
    )
    _pending: dict[str, PendingQuestion] = field(factory=dict)
    _ids: RequestIds = field(factory=RequestIds, kw_only=True)
    _now: Callable[[], int] = field(kw_only=True)  # milliseconds since the epoch, for the wire
    log = Logger()

    @property
    def waiting(self) -> tuple[PendingQuestion, ...]:
        return tuple(self._pending.values())

    # --- from the agent
    def elicit(self, params: Mapping[str, Any]) -> Deferred[Json]:
        """Serve `elicitation/create`; fires with its answer. Raises Malformed."""
        asked = read_elicitation(params)
        return self._ask(
            asked.call_id,
            asked.questions,
            lambda answers: accepted(asked.questions, answers),
            DECLINE,
            CANCEL,
            asked.id,
        )

    def completed(self, params: Mapping[str, Any]) -> None:
        """Serve `elicitation/complete`: the person has finished what the page asked for."""
        for pending in self.waiting:
            if pending.elicitation_id is not None and (
                pending.elicitation_id == params.get("elicitationId")
            ):
                self._settle(pending, COMPLETED, pending.accept({}))

    def ask_by_permission(
        self, request: PermissionRequest, arguments: Any
    ) -> Deferred[Json] | None:
        """Ask the questions that `request` consists of; None if it is about something else."""
        questions = questions_of_tool(arguments)
        if not questions:
            return None
        declined = acp_permission_answer(request.option_for("denied"))
        return self._ask(
            request.call.call_id,
            questions,
            lambda answers: selected_option(questions, answers, request.options),
            declined,
            CANCELLED,
        )

    def ask(
        self, questions: Sequence[Question], accept: Callable[[Answers], Json], more: Json
    ) -> Deferred[Json]:
        """Ask on our own behalf. Fires with what `accept` returns, or with {} if the person
        declines. `more`: further arguments of the request."""
        return self._ask(None, tuple(questions), accept, {}, {}, None, more)

    def _ask(
        self,
        call_id: str | None,
        questions: tuple[Question, ...],
        accept: Callable[[Answers], Json],
        declined: Json,
        canceled: Json,
        elicitation_id: str | None = None,
        more: Mapping[str, Any] | None = None,
    ) -> Deferred[Json]:
        pending = PendingQuestion(
            self._ids.take(call_id),
            QUESTION_TOOL,
            {**question_arguments(questions), **(more or {})},
            questions,
            accept,
            declined,
            canceled,
            Deferred(lambda _: self._take_back(pending)),
            call_id is None,
            elicitation_id,
        )
        self._pending[pending.request_id] = pending
        if pending.has_card:
            self._publish(
                {
                    "type": "tool-call",
                    "callId": pending.request_id,
                    "name": QUESTION_TOOL,
                    "input": pending.arguments,
                    "status": "pending",
                }
            )
        entry = request_entry(QUESTION_TOOL, pending.arguments, self._now())
        if call_id is not None and pending.request_id != call_id:
            entry["toolCallId"] = call_id[:MAX_ID_LENGTH]
        self._write(lambda state: with_request(state, pending.request_id, entry))
        self.on_asked(pending)
        return pending.answer

    # --- from people
    def answer(self, params: Any) -> bool:
        """The `permission` RPC; False if it is not about a waiting question. Raises ValueError
        with a sentence if the answers do not fit the questions, which then go on waiting."""
        return self.decide(read_permission_answer(params))

    def decide(self, answer: PermissionAnswer) -> bool:
        """As `answer`."""
        pending = self._pending.get(answer.request_id)
        if pending is None:
            return False
        if answer.approved:
            given = (
                self._defaults(pending)
                if answer.answers is None
                else read_answers(pending.questions, answer.answers)
            )
            response = pending.accept(given)
            words = answers_in_words(pending.questions, given)
            self._settle(pending, answer.outcome, response, words)
        elif answer.decision == "abort":
            self._settle(pending, answer.outcome, pending.canceled)
            self.cancel_turn()
        else:
            self._settle(pending, answer.outcome, pending.declined)
        return True

    def _defaults(self, pending: PendingQuestion) -> dict[str, tuple[str, ...]]:
        """What a plain "allow" answers. Raises ValueError if that is nothing."""
        asked = [question for question in pending.questions if question.kind != "confirm"]
        found = {question.id: question.default for question in asked if question.default}
        if asked and not found:
            raise ValueError(f"“{asked[0].text}” needs an answer")
        return found

    def cancel_all(self, outcome: PermissionOutcome = ABORTED) -> None:
        """Cancel all waiting questions: the person stops, or the session ends."""
        for pending in self.waiting:
            self._settle(pending, outcome, pending.canceled)

    def _take_back(self, pending: PendingQuestion) -> None:
        """The agent cancelled its request, or it is gone."""
        if pending.request_id in self._pending:
            self._conclude(pending, TAKEN_BACK, "")

    def _settle(
        self, pending: PendingQuestion, outcome: PermissionOutcome, response: Json, words: str = ""
    ) -> None:
        self._conclude(pending, outcome, words)
        pending.answer.callback(response)

    def _conclude(self, pending: PendingQuestion, outcome: PermissionOutcome, words: str) -> None:
        del self._pending[pending.request_id]
        self._ids.release(pending.request_id)
        at = self._now()
        self._write(lambda state: with_completed_request(state, pending.request_id, outcome, at))
        if pending.has_card:
            output = words or outcome.reason or outcome.status.capitalize()
            self._publish(tool_result(pending.request_id, output, outcome.status != "approved"))
        self.on_settled(pending, outcome)

    def _write(self, rebuild: Callable[[Any], Any]) -> None:
        self._state.change(rebuild).addErrback(
            lambda failure: self.log.warn(
                "State not stored: {reason}", reason=failure.getErrorMessage()
            )
        )
