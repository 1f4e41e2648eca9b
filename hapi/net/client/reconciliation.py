"""Reconciliation after a lost connection: the unconfirmed events that the hub lacks."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any, Protocol, TypeVar

from hapi.protocol.events import MESSAGE

CUT_FROM = (
    48 * 1024
)  # characters; hubs keep that much of the head of a long string, and 12 KiB of its tail
HEAD, TAIL = 40 * 1024, 8 * 1024  # what is compared of such a string


class UnconfirmedEvent(Protocol):
    """An unconfirmed event, as in `hapi.net.client.delivery`."""

    @property
    def event(self) -> str: ...
    @property
    def args(self) -> tuple[Any, ...]: ...


PAGE_SIZE = 200  # rows of one request
S = TypeVar("S", bound=UnconfirmedEvent)


def sequence(row: Any) -> int:
    """The row's place in the conversation, 0 if it has none."""
    found = row.get("seq") if isinstance(row, Mapping) else None
    return found if isinstance(found, int) and not isinstance(found, bool) else 0


async def read_rows(
    rows_after: Callable[[int], Awaitable[list[dict[str, Any]]]], after: int
) -> list[dict[str, Any]]:
    """All rows of a conversation above the sequence number `after`.

    `rows_after(n)` returns the first `PAGE_SIZE` of them above n. Raises what it raises.
    """
    rows: list[dict[str, Any]] = []
    while True:
        page = await rows_after(after)
        rows += page
        before, after = after, max([after, *map(sequence, page)])
        if len(page) < PAGE_SIZE or after == before:
            return rows


def missing(unconfirmed: Iterable[S], rows: Iterable[Any]) -> list[S]:
    """The events that must be sent again.

    `rows`: the conversation as the hub has it, from before the first unconfirmed record on. Records
    are compared with the rows; snapshots of a finished thought are not sent again. All other events
    may arrive twice.
    """
    there = Counter(_key(row.get("content")) for row in rows if isinstance(row, Mapping))
    found = []
    for sent in unconfirmed:
        if sent.event == MESSAGE:
            content = (
                sent.args[0].get("message")
                if sent.args and isinstance(sent.args[0], Mapping)
                else None
            )
            key = _key(content)
            if there[key] > 0:
                there[key] -= 1
                continue
            if _is_snapshot(content):
                continue
        found.append(sent)
    return found


def _is_snapshot(content: Any) -> bool:
    inner = content.get("content") if isinstance(content, Mapping) else None
    data = inner.get("data") if isinstance(inner, Mapping) else None
    return isinstance(data, Mapping) and data.get("live") is True


def _key(content: Any) -> str:
    return json.dumps(_shortened(content), sort_keys=True)


def _shortened(value: Any) -> Any:
    """Long strings reduced to what a hub keeps of them, for comparison."""
    if isinstance(value, str):
        return value if len(value) <= CUT_FROM else [value[:HEAD], value[-TAIL:]]
    if isinstance(value, Mapping):
        return {key: _shortened(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_shortened(item) for item in value]
    return value
