"""Requests that waited for a person when the session's earlier process was killed.

Nobody can answer them any more: the agent that asked is gone. They are closed, the conversation
says so, and an agent that remembers the conversation is asked to go on, so that it asks again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from attrs import frozen

from hapi.protocol.acp.questions import QUESTION_TOOL
from hapi.protocol.permissions import PermissionOutcome, with_all_requests_canceled
from hapi.protocol.session import initial_state

UNANSWERED = "The session was interrupted before this was answered"
OUTCOME = PermissionOutcome("canceled", "abort", UNANSWERED)
MAX_SUBJECT_LENGTH = 200  # characters of what a request was about
SUBJECTS = ("command", "file_path", "filePath", "path", "url", "pattern")  # in `arguments`


@frozen
class InterruptedRequest:
    """`call_id` is that of its tool card, `summary` says for people what was asked."""

    call_id: str
    summary: str


def interrupted_requests(state: Any) -> tuple[InterruptedRequest, ...]:
    """The requests that wait in `state`, the agent state of the earlier process, except those for
    a login: the session asks for that by itself. Malformed ones are left out."""
    waiting = state.get("requests") if isinstance(state, Mapping) else None
    return tuple(
        InterruptedRequest(_call_id(request_id, entry), _summary(entry))
        for request_id, entry in (waiting.items() if isinstance(waiting, Mapping) else ())
        if isinstance(entry, Mapping) and not _is_login(entry)
    )


def state_after_interruption(state: Any, now: int) -> dict[str, Any]:
    """The first state of the next process: the earlier one's requests are closed, and all closed
    ones kept. `now`: milliseconds since the epoch."""
    if not isinstance(state, Mapping):
        return initial_state()
    found = {
        name: {key: value for key, value in entries.items() if isinstance(value, Mapping)}
        for name in ("requests", "completedRequests")
        if isinstance(entries := state.get(name), Mapping)
    }
    closed = with_all_requests_canceled(found, OUTCOME, now).get("completedRequests")
    return initial_state() | ({"completedRequests": closed} if closed else {})


def interruption_notice(requests: Sequence[InterruptedRequest]) -> str:
    """What the conversation says of them."""
    what = "; ".join(request.summary for request in requests)
    if len(requests) == 1:
        return f"The session was interrupted before you answered this request: {what}"
    return f"The session was interrupted before you answered these requests: {what}"


def prompt_to_go_on(requests: Sequence[InterruptedRequest]) -> str:
    """What an agent that remembers the conversation is asked."""
    what = "; ".join(request.summary for request in requests)
    return (
        "The session was interrupted while you were waiting for an answer to a request "
        f"({what}). It was not answered, and what you asked for was not done. Please go on with "
        "what you were doing, and ask again if you still need it."
    )


def _call_id(request_id: str, entry: Mapping[str, Any]) -> str:
    found = entry.get("toolCallId")
    return found if isinstance(found, str) and found else request_id


def _is_login(entry: Mapping[str, Any]) -> bool:
    arguments = entry.get("arguments")
    return isinstance(arguments, Mapping) and "login" in arguments


def _summary(entry: Mapping[str, Any]) -> str:
    tool, given = str(entry.get("tool") or "a tool"), entry.get("arguments")
    arguments: Mapping[str, Any] = given if isinstance(given, Mapping) else {}
    if tool == QUESTION_TOOL:
        questions = arguments.get("questions")
        first = questions[0] if isinstance(questions, list) and questions else None
        text = first.get("question") if isinstance(first, Mapping) else None
        return f"“{_shortened(text)}”" if isinstance(text, str) else "a question"
    subjects = (arguments.get(name) for name in SUBJECTS)
    subject = next((found for found in subjects if isinstance(found, str) and found), None)
    if subject is None or _shortened(subject) in _shortened(tool):
        return _shortened(tool)
    return f"{tool} `{_shortened(subject)}`"


def _shortened(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= MAX_SUBJECT_LENGTH else f"{line[:MAX_SUBJECT_LENGTH]}…"
