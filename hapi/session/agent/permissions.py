"""Permission requests: from the agent to the page or the terminal, and the answers back."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.logger import Logger

from hapi.net.client.versioned import VersionedDocument
from hapi.protocol.acp.permission_requests import PermissionRequest
from hapi.protocol.permissions import (
    ABORTED,
    CANCELLED,
    PermissionAnswer,
    PermissionOutcome,
    acp_permission_answer,
    automatic_decision,
    read_permission_answer,
    with_all_requests_canceled,
    with_completed_request,
    with_request,
)
from hapi.session.hub.uplink import Json, now_ms


@define(eq=False)
class PendingPermission:
    """A request that waits for a person."""

    request_id: str
    tool: str
    arguments: Any
    asked: PermissionRequest
    answer: Deferred[Json]  # for the agent, in ACP


@define(eq=False)
class Permissions:
    """The permission requests of one session.

    `mode` returns the current permission mode, `set_mode` changes it, `cancel_turn` cancels the
    agent's turn.
    """

    _state: VersionedDocument
    _mode: Callable[[], str | None]
    _set_mode: Callable[[str], Awaitable[object]]
    cancel_turn: Callable[[], object] = field(default=lambda: None)
    on_asked: Callable[[PendingPermission], object] = field(default=lambda pending: None)
    on_settled: Callable[[PendingPermission, PermissionOutcome], object] = field(
        default=lambda pending, outcome: None
    )
    _pending: dict[str, PendingPermission] = field(factory=dict)
    _now: Callable[[], int] = now_ms
    log = Logger()

    @property
    def waiting(self) -> tuple[PendingPermission, ...]:
        return tuple(self._pending.values())

    def request(self, request: PermissionRequest, tool: str, arguments: Any) -> Deferred[Json]:
        """Ask for a permission, unless the mode decides; fires with the answer for the agent, in
        ACP."""
        decision = automatic_decision(self._mode(), tool, request.call.kind)
        answer: Deferred[Json] = Deferred()
        if decision is not None:
            response = acp_permission_answer(decision, request.options)
            outcome = ABORTED if response is CANCELLED else PermissionOutcome("approved", decision)
            at = self._now()
            entry = {"tool": tool, "arguments": arguments, "createdAt": at}
            self._write(
                lambda state: with_completed_request(
                    state, request.call.call_id, outcome, at, entry
                )
            )
            answer.callback(response)
            return answer
        pending = PendingPermission(
            self._free_id(request.call.call_id), tool, arguments, request, answer
        )
        self._pending[pending.request_id] = pending
        at = self._now()
        self._write(lambda state: with_request(state, pending.request_id, tool, arguments, at))
        self.on_asked(pending)
        return answer

    async def answer(self, params: Any) -> None:
        """The `permission` RPC. Ignores a request that was answered already. Raises ValueError."""
        await self.decide(read_permission_answer(params))

    async def decide(self, answer: PermissionAnswer) -> bool:
        """Settle the request that `answer` names; False if it no longer waits."""
        pending = self._pending.get(answer.request_id)
        if pending is None:
            return False
        response = acp_permission_answer(answer.decision, pending.asked.options)
        self._settle(pending, answer.outcome, response)
        if answer.decision == "abort":
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
        return True

    def cancel_all(self, outcome: PermissionOutcome = ABORTED) -> None:
        """Cancel all waiting requests; the agent receives `cancelled` for each."""
        at = self._now()
        for pending in self.waiting:
            del self._pending[pending.request_id]
            pending.answer.callback(CANCELLED)
            self.on_settled(pending, outcome)
        self._write(lambda state: with_all_requests_canceled(state, outcome, at))

    def _settle(
        self, pending: PendingPermission, outcome: PermissionOutcome, response: Json
    ) -> None:
        del self._pending[pending.request_id]
        at = self._now()
        self._write(lambda state: with_completed_request(state, pending.request_id, outcome, at))
        pending.answer.callback(response)
        self.on_settled(pending, outcome)

    def _free_id(self, call_id: str) -> str:
        """A free request id. The page shows a request at the tool card of the same id, so a second
        request for one call gets a number."""
        name, number = call_id, 2
        while name in self._pending:
            name, number = f"{call_id}#{number}", number + 1
        return name

    def _write(self, rebuild: Callable[[Any], Any]) -> None:
        self._state.change(rebuild).addErrback(
            lambda failure: self.log.warn(
                "State not stored: {reason}", reason=failure.getErrorMessage()
            )
        )
