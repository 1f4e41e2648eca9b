"""What the stores of all databases have in common: they read the tables, run each change as a turn
of its own, and count and publish. `sql_transaction.py` has what a turn does with the tables.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

from twisted.internet.interfaces import IReactorTime

from hapi.hub.store.columns import SqlDatabase, machine_from, recipient_from, session_from
from hapi.hub.store.interface import StoreBusy, StoreFailed, StoreFull, StoreStatistics
from hapi.hub.store.messages import MessageTable
from hapi.hub.store.rows import (
    DISCARDED,
    Added,
    Consumed,
    Document,
    MachineRow,
    MessageRow,
    RecipientRow,
    SessionRow,
    TokenRow,
    TurnEvent,
    VersionMismatch,
    Written,
)
from hapi.hub.store.scratchlist import ScratchlistTables
from hapi.hub.store.share_links import ShareLinkTable
from hapi.hub.store.token_use import TokenUseTable

T = TypeVar("T")


class SqlStore(MessageTable, TokenUseTable, ShareLinkTable, ScratchlistTables):
    """The methods of IStore that are the same for all databases."""

    database: SqlDatabase

    def __init__(self, database: SqlDatabase, clock: IReactorTime) -> None:
        super().__init__(database)
        self._clock = clock
        self._listeners: list[Callable[[TurnEvent], object]] = []
        self.statistics = StoreStatistics()

    async def turn(self, owner: str, change: Callable[[Any], T]) -> T:
        raise NotImplementedError

    def follow(self, call: Callable[[TurnEvent], object]) -> None:
        self._listeners.append(call)

    def _publish(self, events: Sequence[TurnEvent]) -> None:
        for event in events:
            for call in self._listeners:
                call(event)

    async def _counted(self, turn: Awaitable[T]) -> T:
        statistics, begin = self.statistics, self._clock.seconds()
        statistics.waiting += 1
        try:
            result = await turn
        except (StoreBusy, StoreFull, StoreFailed) as error:
            statistics.failures[type(error).__name__] += 1
            statistics.problem = error
            raise
        finally:
            statistics.waiting -= 1
        statistics.seconds.observe(self._clock.seconds() - begin)
        statistics.problem = None
        return result

    # --- sessions ---------------------------------------------------------------------------------

    async def sessions(self) -> list[SessionRow]:
        rows = await self.database.read(
            "SELECT * FROM sessions WHERE namespace <> ? ORDER BY created_at, id", (DISCARDED,)
        )
        return [session_from(row) for row in rows]

    async def create_session(
        self, row: SessionRow, any_id: bool = False
    ) -> tuple[SessionRow, bool]:
        return await self.turn(row.id, lambda turn: turn.create_session(row, any_id))

    async def write_metadata(
        self, session_id: str, expected: int, value: Document, changes: dict[str, Any]
    ) -> Written[SessionRow] | VersionMismatch[SessionRow]:
        return await self.turn(
            session_id, lambda turn: turn.write_metadata(session_id, expected, value, changes)
        )

    async def write_agent_state(
        self, session_id: str, expected: int, value: Document, changes: dict[str, Any]
    ) -> Written[SessionRow] | VersionMismatch[SessionRow]:
        return await self.turn(
            session_id, lambda turn: turn.write_agent_state(session_id, expected, value, changes)
        )

    async def change_session(self, session_id: str, changes: dict[str, Any]) -> SessionRow:
        return await self.turn(session_id, lambda turn: turn.change_session(session_id, changes))

    async def delete_session(self, session_id: str) -> bool:
        return await self.turn(session_id, lambda turn: turn.delete_session(session_id))

    async def merge_session(
        self,
        old: str,
        new: str,
        row: SessionRow,
        publish: Callable[[Any, SessionRow], object] | None = None,
    ) -> SessionRow:
        def change(turn: Any) -> SessionRow:
            self._verify_merged(turn, old)
            merged: SessionRow = turn.merge_session(old, new, row)
            if publish is not None:
                publish(turn, merged)
            return merged

        return await self.turn(new, change)

    def _verify_merged(self, turn: Any, session_id: str) -> None:
        """Raises Moved if another hub serves the session that is merged into that of the turn."""

    # --- machines ---------------------------------------------------------------------------------

    async def machines(self) -> list[MachineRow]:
        rows = await self.database.read("SELECT * FROM machines ORDER BY created_at, id")
        return [machine_from(row) for row in rows]

    async def create_machine(self, row: MachineRow) -> MachineRow:
        return await self.turn(row.id, lambda turn: turn.create_machine(row))

    async def write_machine(
        self, row: MachineRow, expected: MachineRow
    ) -> Written[MachineRow] | VersionMismatch[MachineRow]:
        return await self.turn(row.id, lambda turn: turn.write_machine(row, expected))

    # --- access tokens ----------------------------------------------------------------------------

    async def tokens(self) -> list[TokenRow]:
        rows = await self.database.read("SELECT * FROM access_tokens ORDER BY created_at, id")
        return [TokenRow(**row) for row in rows]

    async def create_token(self, row: TokenRow) -> TokenRow:
        return await self.turn(row.id, lambda turn: turn.create_token(row))

    async def change_token(self, token_id: str, changes: dict[str, Any]) -> TokenRow:
        return await self.turn(token_id, lambda turn: turn.change_token(token_id, changes))

    async def delete_token(self, token_id: str) -> bool:
        return await self.turn(token_id, lambda turn: turn.delete_token(token_id))

    # --- recipients of notifications --------------------------------------------------------------

    async def recipients(self) -> list[RecipientRow]:
        query = "SELECT * FROM notification_recipients ORDER BY created_at, id"
        return [recipient_from(row) for row in await self.database.read(query)]

    async def write_recipient(self, row: RecipientRow) -> RecipientRow:
        return await self.turn(row.id, lambda turn: turn.write_recipient(row))

    async def delete_recipient(self, recipient_id: str) -> bool:
        return await self.turn(recipient_id, lambda turn: turn.delete_recipient(recipient_id))

    # --- messages ---------------------------------------------------------------------------------

    async def add_message(self, row: MessageRow, touch: int | None) -> Added:
        return await self.turn(row.session_id, lambda turn: turn.add_message(row, touch))

    async def consume(
        self, session_id: str, local_ids: Sequence[str], at: int, touch: bool
    ) -> Consumed:
        return await self.turn(
            session_id, lambda turn: turn.consume(session_id, local_ids, at, touch)
        )

    async def consume_all(self, session_id: str, at: int) -> Consumed:
        return await self.turn(session_id, lambda turn: turn.consume_all(session_id, at))

    async def set_delivery(self, message_id: str, delivery: str) -> bool:
        return await self.turn(message_id, lambda turn: turn.set_delivery(message_id, delivery))

    async def delete_message(self, message_id: str) -> SessionRow | None:
        return await self.turn(message_id, lambda turn: turn.delete_message(message_id))
