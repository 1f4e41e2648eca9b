"""Pages of a conversation: the query, and the reply with the positions from which to continue."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from attrs import define, evolve, field, frozen
from twisted.internet.defer import DeferredLock
from twisted.internet.interfaces import IReactorTime

from hapi.hub.domain.entities import HubSession
from hapi.hub.domain.errors import InvalidQuery, NotFound
from hapi.hub.domain.views import message_view
from hapi.hub.http.openapi.operation import Integer, Parameter
from hapi.hub.store.interface import IStore
from hapi.hub.store.rows import MessageRow
from hapi.net.server.http import encode_json

DEFAULT_LIMIT, MAX_LIMIT = 50, 200
FIRST_PIECE = 4  # messages that are read at once; later more or fewer, by their size
LARGE_PIECE = 1024 * 1024  # bytes: 2 ms to read


@frozen
class PageQuery:
    limit: int = DEFAULT_LIMIT
    before: tuple[int, int] | None = None  # position: (time, seq)
    after: tuple[int, int] | None = None
    until: tuple[int, int] | None = None
    epoch: int | None = None
    around: str | None = None  # the id of a message, which is in the middle of the page


LIMIT = Integer("limit", "How many messages at most.", lowest=1, highest=MAX_LIMIT)
EPOCH = Integer("epoch", "The epoch of an earlier page, together with `after…`.")
SEQS = {
    "before": Integer("beforeSeq", "Messages before this number, together with `beforeAt`."),
    "after": Integer("afterSeq", "Messages after this number, together with `afterAt`."),
    "until": Integer("untilSeq", "Messages up to this number, together with `untilAt`."),
}
TIMES = {
    "before": Integer("beforeAt", "The time of the message `beforeSeq`."),
    "after": Integer("afterAt", "The time of the message `afterSeq`."),
    "until": Integer("untilAt", "The time of the message `untilSeq`."),
}
AROUND = Parameter("around", "The id of a message: the page has what is before and after it.")
PAGE_PARAMETERS = (LIMIT, *SEQS.values(), *TIMES.values(), EPOCH, AROUND)


def _position(query: Mapping[str, str], name: str) -> tuple[int, int] | None:
    seq, at = SEQS[name].read(query), TIMES[name].read(query)
    if seq is None and at is None:
        return None
    if seq is None or at is None:
        missing = f"{name}Seq" if seq is None else f"{name}At"
        raise InvalidQuery(missing, f"{name}At and {name}Seq must be provided together")
    return (at, seq)


def page_query(query: Mapping[str, str]) -> PageQuery:
    """The page that a query asks for. Raises InvalidQuery."""
    limit = LIMIT.read(query)
    context = PageQuery(
        DEFAULT_LIMIT if limit is None else limit,
        _position(query, "before"),
        _position(query, "after"),
        _position(query, "until"),
        EPOCH.read(query),
        query.get(AROUND.name),
    )
    if context.around is not None and (context.before or context.after):
        raise InvalidQuery("around", "around and before or after cursors are mutually exclusive")
    if context.before and context.after:
        raise InvalidQuery("beforeSeq", "before and after cursors are mutually exclusive")
    if context.after is None and context.until is not None:
        raise InvalidQuery("untilSeq", "until requires an after cursor")
    if context.after is None and context.epoch is not None:
        raise InvalidQuery("epoch", "epoch requires an after cursor")
    return context


@frozen
class _Entry:
    """A message of a page, as it is sent."""

    id: str
    position: tuple[int, int]
    json: bytes

    @classmethod
    def of(cls, row: MessageRow) -> _Entry:
        return cls(row.id, row.position, encode_json(message_view(row)))


@define(eq=False, repr=False)
class PageReader:
    """Reads pages in pieces. Between the pieces of large pages, of which a turn of the reactor
    reads one, the reactor serves others; small pages do not wait for large ones.
    """

    _clock: IReactorTime
    _turns: DeferredLock = field(factory=DeferredLock)

    async def read(self, store: IStore, session: HubSession, query: PageQuery) -> bytes:
        """One page as JSON, ascending by position. If the history has changed since the epoch of
        the query, it is the latest page. Raises NotFound if the message is unknown that the page
        is to be around.
        """
        if query.around is not None:
            return await self._around(store, session, query, query.around)
        epoch, reset = session.row.epoch, False
        newest = await store.latest(session.id, 1)
        if query.after is not None:
            reset = query.epoch is not None and query.epoch != epoch
        if query.before is not None:
            direction = "before"
        elif query.after is not None and not reset:
            direction = "after"
        else:
            direction = "latest"
        entries = await self._entries(store, session.id, query, direction)
        more = len(entries) > query.limit
        if direction == "after":
            entries = entries[: query.limit]
        elif more:
            entries = entries[1:]
        marks = _marks(direction, entries)
        if direction == "latest":
            there = {entry.id for entry in entries}
            waiting = [
                _Entry.of(row)
                for row in await store.waiting(session.id)
                if row.local_id is not None and row.id not in there
            ]
            entries = sorted([*entries, *waiting], key=lambda entry: entry.position)
        head = newest[0].position if newest else None
        position = {
            "direction": direction,
            "limit": query.limit,
            "epoch": epoch,
            "reset": reset,
            **marks,
            **_head(head),
            "hasMore": more,
        }
        return _page(entries, position)

    async def _around(
        self, store: IStore, session: HubSession, query: PageQuery, message_id: str
    ) -> bytes:
        """The page with a message in its middle. `hasMore` tells of earlier messages, as it does
        for a page that goes back, and `hasMoreAfter` of later ones.
        """
        epoch = session.row.epoch
        newest = await store.latest(session.id, 1)
        row = await store.message(session.id, message_id)
        if row is None:
            raise NotFound("Message not found")
        later = (query.limit - 1) // 2
        earlier = query.limit - 1 - later
        there = row.position
        before = evolve(query, before=there, limit=earlier)
        after = evolve(query, after=there, limit=later)
        back = await self._entries(store, session.id, before, "before")
        on = await self._entries(store, session.id, after, "after")
        kept_back = back[1:] if len(back) > earlier else back
        entries = [*kept_back, _Entry.of(row), *on[:later]]
        position = {
            "direction": "around",
            "limit": query.limit,
            "epoch": epoch,
            "reset": False,
            **_marks("before", entries),
            "nextAfterSeq": entries[-1].position[1],
            "nextAfterAt": entries[-1].position[0],
            **_head(newest[0].position if newest else None),
            "hasMore": len(back) > earlier,
            "hasMoreAfter": len(on) > later,
        }
        return _page(entries, position)

    async def _entries(
        self, store: IStore, session_id: str, query: PageQuery, direction: str
    ) -> list[_Entry]:
        """One more than the query asks for, if there are so many."""
        count, backwards = query.limit + 1, direction != "after"
        at = query.after if direction == "after" else query.before
        found: list[_Entry] = []
        piece = FIRST_PIECE
        while True:
            asked = min(piece, count - len(found))
            if not backwards:
                assert at is not None
                rows = await store.after(session_id, at, query.until, asked)
            elif at is not None:
                rows = await store.before(session_id, at, asked)
            else:
                rows = await store.latest(session_id, asked)
            entries = [_Entry.of(row) for row in rows]
            found = [*entries, *found] if backwards else [*found, *entries]
            if len(rows) < asked or len(found) >= count:
                return found
            at = entries[0 if backwards else -1].position
            size = sum(len(entry.json) for entry in entries)
            if size > LARGE_PIECE:
                piece = max(1, piece // 2)
            elif size < LARGE_PIECE // 2:
                piece *= 2
            if size > LARGE_PIECE // 4:
                await self._turn()

    async def _turn(self) -> None:
        """Wait for a turn of the reactor in which no other large page is read."""
        await self._turns.acquire()
        self._clock.callLater(0, self._turns.release)


def _page(entries: Sequence[_Entry], position: Mapping[str, object]) -> bytes:
    messages = b",".join([entry.json for entry in entries])
    return b"".join((b'{"messages":[', messages, b'],"page":', encode_json(position), b"}"))


def _head(position: tuple[int, int] | None) -> dict[str, int | None]:
    """Where the newest message of the conversation is."""
    return {
        "snapshotHeadSeq": position[1] if position else None,
        "snapshotHeadAt": position[0] if position else None,
    }


def _marks(direction: str, rows: Sequence[_Entry]) -> dict[str, int | None]:
    """The positions from which the next page continues."""
    back = rows[0].position if rows and direction != "after" else None
    on = rows[-1].position if rows and direction == "after" else None
    return {
        "nextBeforeSeq": back[1] if back else None,
        "nextBeforeAt": back[0] if back else None,
        "nextAfterSeq": on[1] if on else None,
        "nextAfterAt": on[0] if on else None,
    }
