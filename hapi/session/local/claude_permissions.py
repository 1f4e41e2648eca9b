"""Permission requests of Claude Code in the terminal: answered there or on the page, by whoever is
first."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from typing import Any

from attrs import define, field
from twisted.internet.interfaces import IReactorTime

from hapi.protocol.permissions import PermissionAnswer
from hapi.session.local.hooks import HookCall
from hapi.session.local.interface import LocalRequest, Mirror

ID_PREFIX = "claude-local:"  # as npm's sessions name them
# Seconds after the terminal has answered in which a refusal is written to the transcript. An
# approval is told by the end of the call only, which may take long.
REFUSAL_TIMEOUT = 1.5
MAX_OPEN_CALLS = 256
DECLINED = "The user declined this request."


@define(eq=False, repr=False)
class _Waiting:
    request: LocalRequest
    call: HookCall
    suggestions: list[Any] = field(factory=list)  # rules by which it is not asked for again
    is_settled: bool = False


@define(eq=False, repr=False)
class ClaudePermissions:
    _clock: IReactorTime
    _mirror: Mirror
    _calls: dict[str, str] = field(factory=dict)  # open tool calls: id -> what is called
    _waiting: dict[str, _Waiting] = field(factory=dict)

    @property
    def is_waiting(self) -> bool:
        return bool(self._waiting)

    def called(self, call: HookCall, name: str | None) -> None:
        """Any hook was called."""
        told = call.told
        call_id = told.get("tool_use_id")
        match name:
            case "PreToolUse" if isinstance(call_id, str):
                self._calls[call_id] = _what(told)
                while len(self._calls) > MAX_OPEN_CALLS:
                    del self._calls[next(iter(self._calls))]
            case "PermissionRequest":
                self._ask(call)
            case "PostToolUse" | "PostToolUseFailure" if isinstance(call_id, str):
                self._ended(call_id)
            case "Stop" | "SessionEnd":
                self._over()

    def _ask(self, call: HookCall) -> None:
        told = call.told
        what, taken = _what(told), {one.request.call_id for one in self._waiting.values()}
        call_id = next(
            (each for each, called in self._calls.items() if called == what and each not in taken),
            None,
        )
        request = LocalRequest(
            f"{ID_PREFIX}{uuid.uuid4()}",
            str(told.get("tool_name") or "tool"),
            told.get("tool_input"),
            call_id,
        )
        given = told.get("permission_suggestions")
        suggestions = [one for one in given if _is_for_session(one)] if given else []
        waiting = self._waiting[request.id] = _Waiting(request, call, suggestions)
        call.on_gone = lambda: self._answered_in_terminal(waiting)
        self._mirror.request(request, lambda answer: self._answer(waiting, answer))

    def _answer(self, waiting: _Waiting, answer: PermissionAnswer) -> None:
        """The page has answered."""
        self._waiting.pop(waiting.request.id, None)
        waiting.is_settled = True
        waiting.call.reply(hook_answer(waiting.request, answer, waiting.suggestions))

    def _answered_in_terminal(self, waiting: _Waiting) -> None:
        """Claude Code no longer waits for the hook."""
        if not waiting.is_settled:
            self._clock.callLater(REFUSAL_TIMEOUT, self._settle, waiting, True)

    def line(self, data: Mapping[str, Any]) -> None:
        """A line of the transcript: an error is the result of a call that was refused."""
        message = data.get("message")
        content = message.get("content") if isinstance(message, Mapping) else None
        for one in content if isinstance(content, list) else ():
            if isinstance(one, Mapping) and one.get("type") == "tool_result":
                call_id = one.get("tool_use_id")
                if isinstance(call_id, str):
                    self._ended(call_id, is_refused=one.get("is_error") is True)

    def interrupted(self) -> None:
        for waiting in tuple(self._waiting.values()):
            self._settle(waiting, False)

    def _ended(self, call_id: str, is_refused: bool = False) -> None:
        """A call is over. While the hook still waits, no person has approved it."""
        self._calls.pop(call_id, None)
        for waiting in tuple(self._waiting.values()):
            if waiting.request.call_id == call_id:
                answered = True if waiting.call.is_over else None
                self._settle(waiting, False if is_refused else answered)

    def _over(self) -> None:
        self._calls.clear()
        for waiting in tuple(self._waiting.values()):
            if waiting.call.is_over:
                self._settle(waiting, True)

    def end(self) -> None:
        """The program has ended."""
        for waiting in tuple(self._waiting.values()):
            self._settle(waiting, None)

    def _settle(self, waiting: _Waiting, approved: bool | None) -> None:
        if waiting.is_settled:
            return
        waiting.is_settled = True
        self._waiting.pop(waiting.request.id, None)
        waiting.call.reply()
        self._mirror.settled(waiting.request.id, approved)


def hook_answer(
    request: LocalRequest, answer: PermissionAnswer, suggestions: list[Any]
) -> dict[str, Any]:
    """What the hook `PermissionRequest` prints."""
    decision: dict[str, Any]
    if answer.approved:
        decision = {"behavior": "allow"}
        if answer.decision == "approved_for_session" and suggestions:
            decision["updatedPermissions"] = suggestions
        if answer.answers is not None and isinstance(request.arguments, Mapping):
            answers = words_of_answers(request.arguments, answer.answers)
            decision["updatedInput"] = {**request.arguments, "answers": answers}
    else:
        decision = {"behavior": "deny", "message": answer.reason or DECLINED}
        if answer.decision == "abort":
            decision["interrupt"] = True
    return {"hookSpecificOutput": {"hookEventName": "PermissionRequest", "decision": decision}}


def words_of_answers(arguments: Mapping[str, Any], answers: Any) -> dict[str, str]:
    """The answers of the page by the text of their questions. Pages name a question by its text,
    its id or its place, and give one answer or a list."""
    questions = arguments.get("questions")
    texts = [str(one.get("question")) for one in questions or () if isinstance(one, Mapping)]
    found = {}
    for place, text in enumerate(texts):
        given = answers.get(text, answers.get(str(place))) if isinstance(answers, Mapping) else None
        if isinstance(given, Mapping):
            given = given.get("answers")
        if isinstance(given, list):
            given = ", ".join(str(one) for one in given)
        if given is not None:
            found[text] = str(given)
    return found


def _what(told: Mapping[str, Any]) -> str:
    return json.dumps([told.get("tool_name"), told.get("tool_input")], sort_keys=True)


def _is_for_session(suggestion: Any) -> bool:
    return isinstance(suggestion, Mapping) and suggestion.get("destination") == "session"
