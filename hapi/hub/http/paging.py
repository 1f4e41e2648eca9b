"""Pages of a conversation: what a query asks for, and the answer with the marks from which to go on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attrs import frozen

from hapi.hub.domain.entities import Session
from hapi.hub.domain.views import message_view
from hapi.hub.store.interface import IStore
from hapi.hub.store.rows import MessageRow

LIMIT, MOST = 50, 200
HIGHEST = 1 << 53


@frozen
class BadQuery(Exception):
    """Which parameter is wrong, and why."""

    field: str
    reason: str

    @property
    def issues(self) -> dict[str, Any]:
        return {"formErrors": [], "fieldErrors": {self.field: [self.reason]}}


@frozen
class PageQuery:
    limit: int = LIMIT
    before: tuple[int, int] | None = None  # position: (time, seq)
    after: tuple[int, int] | None = None
    until: tuple[int, int] | None = None
    epoch: int | None = None


def whole(
    query: Mapping[str, str], name: str, lowest: int = 0, highest: int = HIGHEST
) -> int | None:
    """A whole number of the query, None if it is not there. Raises BadQuery."""
    text = query.get(name)
    if text is None:
        return None
    digits = text[1:] if text.startswith("-") else text
    if not (digits.isascii() and digits.isdigit() and len(digits) <= 16):
        raise BadQuery(name, "Invalid input: expected number, received NaN")
    value = int(text)
    if value < lowest:
        raise BadQuery(name, f"Too small: expected number to be >={lowest}")
    if value > highest:
        raise BadQuery(name, f"Too big: expected number to be <={highest}")
    return value


def _position(query: Mapping[str, str], name: str) -> tuple[int, int] | None:
    seq, at = whole(query, f"{name}Seq"), whole(query, f"{name}At")
    if seq is None and at is None:
        return None
    if seq is None or at is None:
        missing = f"{name}Seq" if seq is None else f"{name}At"
        raise BadQuery(missing, f"{name}At and {name}Seq must be provided together")
    return (at, seq)


def page_query(query: Mapping[str, str]) -> PageQuery:
    """Raises BadQuery."""
    limit = whole(query, "limit", 1, MOST)
    asked = PageQuery(
        LIMIT if limit is None else limit,
        _position(query, "before"),
        _position(query, "after"),
        _position(query, "until"),
        whole(query, "epoch"),
    )
    if asked.before and asked.after:
        raise BadQuery("beforeSeq", "before and after cursors are mutually exclusive")
    if asked.after is None and asked.until is not None:
        raise BadQuery("untilSeq", "until requires an after cursor")
    if asked.after is None and asked.epoch is not None:
        raise BadQuery("epoch", "epoch requires an after cursor")
    return asked


async def page(store: IStore, session: Session, asked: PageQuery) -> dict[str, Any]:
    """One page, ascending by position. A catch-up from before the history was changed gets the latest page instead."""
    epoch, reset, rows = session.row.epoch, False, []
    newest = await store.latest(session.id, 1)
    if asked.after is not None:
        reset = asked.epoch is not None and asked.epoch != epoch
    if asked.before is not None:
        direction = "before"
        rows = await store.before(session.id, asked.before, asked.limit + 1)
    elif asked.after is not None and not reset:
        direction = "after"
        rows = await store.after(session.id, asked.after, asked.until, asked.limit + 1)
    else:
        direction = "latest"
        rows = await store.latest(session.id, asked.limit + 1)
    more = len(rows) > asked.limit
    if direction == "after":
        rows = rows[: asked.limit]
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
            "limit": asked.limit,
            "epoch": epoch,
            "reset": reset,
            **marks,
            "snapshotHeadSeq": head[1] if head else None,
            "snapshotHeadAt": head[0] if head else None,
            "hasMore": more,
        },
    }


def _marks(direction: str, rows: list[MessageRow]) -> dict[str, int | None]:
    """From where the next page goes on."""
    back = rows[0].position if rows and direction != "after" else None
    on = rows[-1].position if rows and direction == "after" else None
    return {
        "nextBeforeSeq": back[1] if back else None,
        "nextBeforeAt": back[0] if back else None,
        "nextAfterSeq": on[1] if on else None,
        "nextAfterAt": on[0] if on else None,
    }
