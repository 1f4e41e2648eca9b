"""A permission request in a terminal: what is shown of it, and what a typed line answers. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from hapi.protocol.acp.diffs import diff_of
from hapi.protocol.acp.permission_requests import PermissionRequest
from hapi.protocol.permissions import PermissionAnswer, PermissionOutcome

MAX_VALUE_LENGTH = 500  # characters of an argument
MAX_DIGITS = 9  # of the number of a choice; more are as good as none
MAX_LINES = 60  # of a text or a diff
_KEYS = {"y": "approved", "yes": "approved", "a": "approved_for_session"}
_KEYS |= {"always": "approved_for_session", "n": "denied", "no": "denied"}
_NO_WITH_REASON = re.compile(r"(?:no?)\b[\s,:;.-]*(.*)\Z", re.I | re.DOTALL)
_SHOWN_AS_DIFF = ("old_string", "new_string", "diff", "content", "plan")


def request_lines(
    request: PermissionRequest, arguments: Any, options: bool = True
) -> Iterator[str]:
    """What is asked: arguments, the agent's words, files and diffs, and with `options` those that
    are told by name."""
    has_changes = bool(request.call.changes)
    for name, value in arguments.items() if isinstance(arguments, Mapping) else ():
        if _says_nothing(value) or (has_changes and name in _SHOWN_AS_DIFF):
            continue
        if str(value) != request.text:
            yield f"{name}: {str(value)[:MAX_VALUE_LENGTH]}"
    if request.text:
        yield from _first_lines(request.text)
    for change in request.call.changes or ():
        yield from _first_lines(diff_of(change).text)
    if not has_changes:
        shown = str(arguments)
        for place in request.call.locations or ():
            if place.path not in shown:
                line = "" if place.line is None else f":{place.line}"
                yield f"file: {place.path}{line}"
    if options and not request.has_plain_options:
        for number, option in enumerate(request.options, 1):
            yield f"{number}. {option.name}"


def _says_nothing(value: Any) -> bool:
    """Whether an argument is false or empty; 0 is a number."""
    return value is None or value is False or (isinstance(value, str | list | dict) and not value)


def settled_lines(tool: str, settled: PermissionOutcome) -> Iterator[str]:
    """How a request ended, and what the agent was told to do instead."""
    option = f" ({settled.option.name})" if settled.option is not None else ""
    yield f"{settled.status}{option}: {tool}"
    if settled.status == "denied" and settled.reason:
        yield from (f"  {line}" for line in _first_lines(f"Instead: {settled.reason}"))


def _first_lines(text: str) -> Iterator[str]:
    lines = text.rstrip().splitlines()
    yield from lines[:MAX_LINES]
    if len(lines) > MAX_LINES:
        yield f"… {len(lines) - MAX_LINES} more lines"


def choices_of(request: PermissionRequest) -> str:
    """What may be typed, in words."""
    if request.options and not request.has_plain_options:
        return f"1-{len(request.options)} or n (no), or n and what to do instead"
    return "y (yes), a (always), n (no), or n and what to do instead"


def typed_answer(
    typed: str, request_id: str, request: PermissionRequest
) -> PermissionAnswer | None:
    """The answer that a typed line means; None if it means none."""
    if not request.has_plain_options and typed.isdecimal():
        number = int(typed[:MAX_DIGITS])
        if not 1 <= number <= len(request.options):
            return None
        option = request.options[number - 1]
        return PermissionAnswer(
            request_id,
            approved := not option.kind.startswith("reject"),
            "approved" if approved else "denied",
            option_id=option.id,
        )
    decision = _KEYS.get(typed.lower())
    if decision is not None:
        return PermissionAnswer(request_id, decision != "denied", decision, decision)
    refusal = _NO_WITH_REASON.match(typed)
    if refusal is None:
        return None
    return PermissionAnswer(
        request_id, False, "denied", "denied", reason=refusal[1].strip() or None
    )
