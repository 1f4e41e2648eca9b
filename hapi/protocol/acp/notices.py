"""Notifications of an agent's own kind (ACP: extensibility; their names begin with `_`), as far as
they tell that it retries.

Each agent has names of its own for the same facts: they are looked for anywhere in the parameters.
Grok sends `_x.ai/session_notification` with `{update: {sessionUpdate: "retry_state", attempt, …}}`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from attrs import frozen

from hapi.protocol.acp.values import mapping

MAX_DEPTH = 4  # objects within objects
MAX_OBJECTS = 50
MAX_REASON = 300  # characters
_KINDS = ("sessionUpdate", "type", "kind", "state", "status", "event", "subtype")
_ATTEMPTS = ("attempt", "attemptNumber", "retryAttempt", "retryCount", "retries", "retry")
_LIMITS = ("maxRetries", "maxAttempts", "maxRetryAttempts", "retryLimit", "limit", "total", "of")
_REASONS = ("reason", "lastError", "errorMessage", "error", "message", "cause", "detail", "title")
_RETRY = re.compile(r"re-?try|re-?tries|reconnect|back-?off", re.IGNORECASE)
_OVER = re.compile(r"succe|recover|complete|resolved", re.IGNORECASE)
_SENTENCE = re.compile(r"\b(?:retrying|reconnecting)\b", re.IGNORECASE)


@frozen
class Notice:
    """A notification of the agent's own kind.

    `text`: what a person should know of it, as the end of a sentence whose subject is the agent;
    None if there is nothing.
    """

    text: str | None = None


def read_notice(method: str, params: Mapping[str, Any]) -> Notice:
    """What a notification other than a known `session/update` tells."""
    found = list(_objects(params))
    kinds = " ".join(
        str(each[name]) for each in found for name in _KINDS if isinstance(each.get(name), str)
    )
    attempt, limit = _number(found, _ATTEMPTS), _number(found, _LIMITS)
    if attempt is not None and _RETRY.search(f"{method} {kinds} {_names(found)}"):
        if _OVER.search(kinds):
            return Notice()
        reason = _text(found, _REASONS)
        words = f"attempt {attempt}" + (f" of {limit}" if limit is not None else "")
        return Notice(f"is retrying ({words})" + (f": {reason}" if reason else ""))
    said = _text(found, ("title", "message", "text"))
    if said is not None and _SENTENCE.search(said):
        return Notice(f"says: {said}")
    return Notice()


def _objects(params: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """The parameters and the objects in them, outer ones first."""
    level: list[Mapping[str, Any]] = [params]
    left = MAX_OBJECTS
    for _ in range(MAX_DEPTH):
        below: list[Mapping[str, Any]] = []
        for each in level[:left]:
            yield each
            below += [value for value in each.values() if isinstance(value, Mapping)]
        left -= len(level)
        if left <= 0:
            return
        level = below


def _names(found: list[Mapping[str, Any]]) -> str:
    return " ".join(str(name) for each in found for name in each)


def _same(name: str) -> str:
    """Names in any spelling: `max_retries`, `maxRetries`, `max-retries`."""
    return re.sub(r"[_\-. ]", "", name).lower()


def _values(found: list[Mapping[str, Any]], names: tuple[str, ...]) -> Iterator[Any]:
    for name in names:
        for each in found:
            for key, value in each.items():
                if isinstance(key, str) and _same(key) == _same(name):
                    yield value


def _number(found: list[Mapping[str, Any]], names: tuple[str, ...]) -> int | None:
    return next(
        (
            value
            for value in _values(found, names)
            if isinstance(value, int) and not isinstance(value, bool)
        ),
        None,
    )


def _text(found: list[Mapping[str, Any]], names: tuple[str, ...]) -> str | None:
    for value in _values(found, names):
        text = mapping(value).get("message") if isinstance(value, Mapping) else value
        if isinstance(text, str) and text.strip():
            line = " ".join(text.split())
            return line if len(line) <= MAX_REASON else f"{line[:MAX_REASON]}…"
    return None
