"""What is damaged in a row, and what of it can still be shown. Pure.

A document that a program has written with values of the wrong type, or that the disk has damaged,
is shown without these values. A view then names them in `damaged`, and all other rows are shown as
always.
"""

from __future__ import annotations

import json
from typing import Any

from hapi.hub.store.rows import MachineRow, SessionRow
from hapi.protocol.hub import metadata_kinds, public_metadata

MAX_NAMED = 8  # damaged places that are named
MAX_NAME_LENGTH = 128  # characters of a name that is made from a value of another type
UNNAMED = "unknown"  # the tool of a request that names none
REQUESTS, COMPLETED = "requests", "completedRequests"

Json = dict[str, Any]


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _name(value: Any) -> str:
    if isinstance(value, str):
        return value
    return UNNAMED if value is None else json.dumps(value)[:MAX_NAME_LENGTH]


def _is_request(value: Any) -> bool:
    return (
        isinstance(value, dict)
        and isinstance(value.get("tool"), str)
        and (value.get("createdAt") is None or _is_number(value["createdAt"]))
    )


def _shown_request(value: Json) -> Json:
    """A request as far as it can be shown: a person can still answer it."""
    shown = {**value, "tool": _name(value.get("tool"))}
    if not _is_number(shown.get("createdAt")):
        shown.pop("createdAt", None)
    return shown


def shown_requests(requests: Any) -> dict[str, Json]:
    """The requests that can be shown. The same object if all of them can be shown as they are."""
    if not isinstance(requests, dict):
        return {}
    if all(map(_is_request, requests.values())):
        return requests
    return {
        key: value if _is_request(value) else _shown_request(value)
        for key, value in requests.items()
        if isinstance(value, dict)
    }


def shown_agent_state(state: Any) -> Json | None:
    """The agent state that clients may see. The same object if nothing in it is damaged."""
    if not isinstance(state, dict):
        return None
    changed = {}
    for name in (REQUESTS, COMPLETED):
        found = state.get(name)
        if found is not None and (shown := shown_requests(found)) is not found:
            changed[name] = shown
    return {**state, **changed} if changed else state


def _is_todo(value: Any) -> bool:
    return (
        isinstance(value, dict)
        and isinstance(value.get("content"), str)
        and isinstance(value.get("status"), str)
    )


def shown_todos(todos: Any) -> list[Json] | None:
    """The entries of a to-do list that can be shown; None if it is not a list."""
    if not isinstance(todos, list):
        return None
    return todos if all(map(_is_todo, todos)) else [todo for todo in todos if _is_todo(todo)]


def shown_model(model: Any) -> str | Json | None:
    return model if isinstance(model, (str, dict)) else None


def session_damage(row: SessionRow) -> tuple[str, ...]:
    """The damaged places of a session's row, as paths such as `agentState.requests.r1`; at most
    MAX_NAMED.
    """
    found = [*_metadata_damage(row.metadata, public_metadata(row.metadata))]
    state = row.agent_state
    if state is not None and not isinstance(state, dict):
        found.append("agentState")
    elif state is not None:
        for name in (REQUESTS, COMPLETED):
            found += _request_damage(f"agentState.{name}", state.get(name))
    if row.todos is not None and shown_todos(row.todos) is not row.todos:
        found.append("todos")
    if row.model is not None and shown_model(row.model) is None:
        found.append("model")
    return tuple(found[:MAX_NAMED])


def _request_damage(path: str, requests: Any) -> list[str]:
    if requests is None or shown_requests(requests) is requests:
        return []
    if not isinstance(requests, dict):
        return [path]
    return [
        f"{path}.{key}"[:MAX_NAME_LENGTH] for key, one in requests.items() if not _is_request(one)
    ]


def _metadata_damage(stored: Any, shown: Json | None) -> list[str]:
    if stored is None:
        return []
    if not isinstance(stored, dict):
        return ["metadata"]
    missing = [key for key in ("path", "host") if not isinstance(stored.get(key), str)]
    if shown is None:
        return [f"metadata.{key}" for key in missing if key in stored]
    return [
        f"metadata.{key}"[:MAX_NAME_LENGTH]
        for key, value in stored.items()
        if value is not None and key not in shown and metadata_kinds(key)
    ]


def machine_damage(row: MachineRow) -> tuple[str, ...]:
    """The damaged places of a machine's row."""
    metadata, state = row.metadata, row.runner_state
    found = []
    if metadata is not None and not isinstance(metadata, dict):
        found.append("metadata")
    if state is not None and not isinstance(state, dict):
        found.append("runnerState")
    return tuple(found)
