"""Pages of a conversation: the query, and the reply with the positions from which to continue."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attrs import frozen

from hapi.hub.domain.entities import HubSession
from hapi.hub.domain.errors import InvalidQuery
from hapi.hub.domain.views import message_view
from hapi.hub.store.interface import IStore
from hapi.hub.store.rows import MessageRow

DEFAULT_LIMIT, MAX_LIMIT = 50, 200
MAX_SAFE_INTEGER = 1 << 53


@frozen
class PageQuery:
    limit: int = DEFAULT_LIMIT
    before: tuple[int, int] | None = None  # position: (time, seq)
    after: tuple[int, int] | None = None
    until: tuple[int, int] | None = None
    epoch: int | None = None


def read_integer(
    query: Mapping[str, str], name: str, lowest: int = 0, highest: int = MAX_SAFE_INTEGER
) -> int | None:
    """An integer parameter of the query, None if it is missing. Raises InvalidQuery."""
    text = query.get(name)
    if text is None:
        return None
    digits = text[1:] if text.startswith("-") else text
    if not (digits.isascii() and digits.isdigit() and len(digits) <= 16):
        raise InvalidQuery(name, "Invalid input: expected number, received NaN")
    value = int(text)
    if value < lowest:
        raise InvalidQuery(name, f"Too small: expected number to be >={lowest}")
    if value > highest:
        raise InvalidQuery(name, f"Too big: expected number to be <={highest}")
    return value


def _position(query: Mapping[str, str], name: str) -> tuple[int, int] | None:
    seq, at = read_integer(query, f"{name}Seq"), read_integer(query, f"{name}At")
    if seq is None and at is None:
        return None
    if seq is None or at is None:
        missing = f"{name}Seq" if seq is None else f"{name}At"
        raise InvalidQuery(missing, f"{name}At and {name}Seq must be provided together")
    return (at, seq)


def page_query(query: Mapping[str, str]) -> PageQuery:
    """The page that a query asks for. Raises InvalidQuery."""
    limit = read_integer(query, "limit", 1, MAX_LIMIT)
    context = PageQuery(
        DEFAULT_LIMIT if limit is None else limit,
        _position(query, "before"),
        _position(query, "after"),
        _position(query, "until"),
        read_integer(query, "epoch"),
    )
    if context.before and context.after:
        raise InvalidQuery("beforeSeq", "before and after cursors are mutually exclusive")
    if context.after is None and context.until is not None:
        raise InvalidQuery("untilSeq", "until requires an after cursor")
    if context.after is None and context.epoch is not None:
        raise InvalidQuery("epoch", "epoch requires an after cursor")
    return context


async def page(store: IStore, session: HubSession, context: PageQuery) -> dict[str, Any]:
    """One page, ascending by position. If the history has changed since the epoch of the query, it
    is the latest page.
    """
    epoch, reset, rows = session.row.epoch, False, []
    newest = await store.latest(session.id, 1)
    if context.after is not None:
        reset = context.epoch is not None and context.epoch != epoch
    if context.before is not None:
        direction = "before"
        rows = await store.before(session.id, context.before, context.limit + 1)
    elif context.after is not None and not reset:
        direction = "after"
        rows = await store.after(session.id, context.after, context.until, context.limit + 1)
    else:
        direction = "latest"
        rows = await store.latest(session.id, context.limit + 1)
    more = len(rows) > context.limit
    if direction == "after":
        rows = rows[: context.limit]
    elif more:
        rows = rows[1:]
    marks = _marks(direction, rows)
    if direction == "latest":
        there = {row.id for row in rows}
        waiting = [
            row
            for row in await store.waiting(session.id)
            if row.local_id is not None and row.id not in there
        ]
        rows = sorted([*rows, *waiting], key=lambda row: row.position)
    head = newest[0].position if newest else None
    return {
        "messages": [message_view(row) for row in rows],
        "page": {
            "direction": direction,
            "limit": context.limit,
            "epoch": epoch,
            "reset": reset,
            **marks,
            "snapshotHeadSeq": head[1] if head else None,
            "snapshotHeadAt": head[0] if head else None,
            "hasMore": more,
        },
    }


def _marks(direction: str, rows: list[MessageRow]) -> dict[str, int | None]:
    """The positions from which the next page continues."""
    back = rows[0].position if rows and direction != "after" else None
    on = rows[-1].position if rows and direction == "after" else None
    return {
        "nextBeforeSeq": back[1] if back else None,
        "nextBeforeAt": back[0] if back else None,
        "nextAfterSeq": on[1] if on else None,
        "nextAfterAt": on[0] if on else None,
    }
