"""Permission requests: from the agent to the page or the terminal, and the answers back."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from attrs import define, evolve, field
from twisted.internet.defer import Deferred
from twisted.logger import Logger

from hapi.net.client.versioned import VersionedDocument
from hapi.protocol.acp.permission_requests import ALLOW_ALWAYS, PermissionOption, PermissionRequest
from hapi.protocol.permission_rules import action_of
from hapi.protocol.permissions import (
    ABORTED,
    CANCELLED,
    PermissionAnswer,
    PermissionOutcome,
    RequestIds,
    acp_permission_answer,
    automatic_decision,
    chosen_option,
    request_entry,
    with_all_requests_canceled,
    with_completed_request,
    with_request,
)
from hapi.session.agent.permission_rules import PermissionRules
from hapi.session.hub.uplink import Json

MODES_WITHOUT_RULES = ("plan",)  # in which nothing shall be done


@define(eq=False, repr=False)
class PendingPermission:
    """A request that waits for a person."""

    request_id: str
    tool: str
    arguments: Any
    asked: PermissionRequest
    answer: Deferred[Json]  # for the agent, in ACP


@define(eq=False, repr=False)
class Permissions:
    """The permission requests of one session.

    `mode` returns the current permission mode, `set_mode` changes it, `cancel_turn` cancels the
    agent's turn, `on_reason` takes what a person said when denying, as the agent's next prompt.
    """

    _state: VersionedDocument
    rules: PermissionRules
    _mode: Callable[[], str | None]
    _set_mode: Callable[[str], Awaitable[object]]
    cancel_turn: Callable[[], object] = field(default=lambda: None)
    on_reason: Callable[[str], object] = field(default=lambda reason: None)
    on_asked: Callable[[PendingPermission], object] = field(default=lambda pending: None)
    on_settled: Callable[[PendingPermission, PermissionOutcome], object] = field(
        default=lambda pending, outcome: None
    )
    _pending: dict[str, PendingPermission] = field(factory=dict)
    _ids: RequestIds = field(factory=RequestIds, kw_only=True)
    _now: Callable[[], int] = field(kw_only=True)  # milliseconds since the epoch, for the wire
    log = Logger()

    @property
    def waiting(self) -> tuple[PendingPermission, ...]:
        return tuple(self._pending.values())

    def request(self, request: PermissionRequest, tool: str, arguments: Any) -> Deferred[Json]:
        """Ask for a permission, unless the mode decides; fires with the answer for the agent, in
        ACP."""
        answer: Deferred[Json] = Deferred()
        request_id, at = self._ids.take(request.call.call_id), self._now()
        entry = request_entry(tool, arguments, at, request.as_json())
        if request_id != request.call.call_id:
            entry["toolCallId"] = request.call.call_id
        decided = self._decided_already(request, tool, arguments)
        if decided is not None:
            self._ids.release(request_id)
            outcome, option = decided
            self._write(lambda state: with_completed_request(state, request_id, outcome, at, entry))
            answer.callback(acp_permission_answer(option))
            return answer
        pending = PendingPermission(request_id, tool, arguments, request, answer)
        self._pending[pending.request_id] = pending
        self._write(lambda state: with_request(state, pending.request_id, entry))
        self.on_asked(pending)
        return answer

    def _decided_already(
        self, request: PermissionRequest, tool: str, arguments: Any
    ) -> tuple[PermissionOutcome, PermissionOption | None] | None:
        """What the session's rules or the mode decide; None: a person is asked.

        Neither of them can choose between options that differ by their names only.
        """
        mode = self._mode()
        action = action_of(tool, request.call)
        rule = None if mode in MODES_WITHOUT_RULES else self.rules.matching(action)
        is_question = isinstance(arguments, Mapping) and bool(arguments.get("questions"))
        if rule is not None and not request.switches_mode and not is_question:
            option = request.option_for("approved")
            if option is not None:
                return PermissionOutcome(
                    "approved", "approved_for_session", rule_id=rule.id
                ), option
        decision = automatic_decision(mode, tool, request.call.kind)
        if decision is None or is_question:
            return None
        if not request.options:
            return ABORTED, None
        option = request.option_for(decision)
        return None if option is None else (PermissionOutcome("approved", decision), option)

    async def decide(self, answer: PermissionAnswer) -> bool:
        """Settle the request that `answer` names; False if it no longer waits. Raises ValueError if
        the answer does not say which of the agent's options is meant."""
        pending = self._pending.get(answer.request_id)
        if pending is None:
            return False
        option = chosen_option(answer, pending.asked)
        outcome = self._remembered(answer, pending, option)
        self._settle(pending, outcome, acp_permission_answer(option))
        if answer.decision == "abort" and answer.option_id is None:
            self.cancel_turn()
            self.cancel_all()
        elif answer.approved and answer.mode is not None:
            try:
                await self._set_mode(answer.mode)
            except Exception as problem:
                self.log.warn(
                    "Permission mode {mode} cannot be set: {reason}",
                    mode=answer.mode,
                    reason=str(problem),
                )
        if not answer.approved and answer.reason is not None:
            self.on_reason(answer.reason)
        return True

    def _remembered(
        self, answer: PermissionAnswer, pending: PendingPermission, option: PermissionOption | None
    ) -> PermissionOutcome:
        """The outcome of `answer`. What was allowed for the session becomes a rule, unless the
        agent remembers it; where no rule can say it, the outcome is a plain approval."""
        outcome = answer.outcome
        if answer.option_id is not None:
            return evolve(outcome, option=option)
        if answer.decision != "approved_for_session" or answer.mode is not None:
            return outcome
        if option is not None and option.kind == ALLOW_ALWAYS:
            return outcome
        request = pending.asked
        is_kept = (
            option is not None
            and not request.switches_mode
            and self.rules.allow(action_of(pending.tool, request.call), answer.allow_tools)
        )
        return outcome if is_kept else evolve(outcome, decision="approved", allow_tools=None)

    def cancel_all(self, outcome: PermissionOutcome = ABORTED) -> None:
        """Cancel all waiting requests; the agent receives `cancelled` for each."""
        at = self._now()
        for pending in self.waiting:
            self._remove(pending)
            pending.answer.callback(CANCELLED)
            self.on_settled(pending, outcome)
        self._write(lambda state: with_all_requests_canceled(state, outcome, at))

    def _settle(
        self, pending: PendingPermission, outcome: PermissionOutcome, response: Json
    ) -> None:
        self._remove(pending)
        at = self._now()
        self._write(lambda state: with_completed_request(state, pending.request_id, outcome, at))
        pending.answer.callback(response)
        self.on_settled(pending, outcome)

    def _remove(self, pending: PendingPermission) -> None:
        del self._pending[pending.request_id]
        self._ids.release(pending.request_id)

    def _write(self, rebuild: Callable[[Any], Any]) -> None:
        self._state.change(rebuild).addErrback(
            lambda failure: self.log.warn(
                "State not stored: {reason}", reason=failure.getErrorMessage()
            )
        )
