"""The links under which people without a token may read one conversation each."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from attrs import fields

from hapi.hub.store.columns import SqlConnection, SqlDatabase
from hapi.hub.store.rows import ShareLinkRow

COLUMNS = tuple(attribute.name for attribute in fields(ShareLinkRow))
FLAGS = frozenset({"has_files", "has_thoughts"})
OF_SESSION = "SELECT * FROM share_links WHERE session_id = ? ORDER BY created_at, rowid"

Turn = Callable[[str, Callable[[Any], Any]], Awaitable[Any]]  # see IStore.turn


def _link_from(row: Any) -> ShareLinkRow:
    values: dict[str, Any] = {name: row[name] for name in COLUMNS}
    return ShareLinkRow(**{**values, **{name: bool(values[name]) for name in FLAGS}})


def require_session(connection: SqlConnection, session_id: str) -> None:
    """Raises KeyError if the session does not exist."""
    row = connection.execute("SELECT 1 FROM sessions WHERE id = ?", (session_id,)).fetchone()
    if row is None:
        raise KeyError(session_id)


class ShareLinkChanges:
    """The methods of ITransaction that concern share links."""

    connection: SqlConnection

    def share_links(self, session_id: str) -> list[ShareLinkRow]:
        rows = self.connection.execute(OF_SESSION, (session_id,)).fetchall()
        return [_link_from(row) for row in rows]

    def create_share_link(self, row: ShareLinkRow) -> None:
        require_session(self.connection, row.session_id)
        marks = ", ".join("?" * len(COLUMNS))
        values = [
            int(value) if name in FLAGS else value
            for name, value in ((name, getattr(row, name)) for name in COLUMNS)
        ]
        self.connection.execute(
            f"INSERT INTO share_links ({', '.join(COLUMNS)}) VALUES ({marks})", values
        )


class ShareLinkTable:
    """The methods of IStore that concern share links; documented there."""

    database: SqlDatabase
    turn: Turn

    async def share_links(self, session_id: str) -> list[ShareLinkRow]:
        return [_link_from(row) for row in await self.database.read(OF_SESSION, (session_id,))]

    async def share_link(self, digest: str) -> ShareLinkRow | None:
        rows = await self.database.read("SELECT * FROM share_links WHERE digest = ?", (digest,))
        return _link_from(rows[0]) if rows else None

    async def create_share_link(self, row: ShareLinkRow) -> None:
        await self.turn(row.session_id, lambda turn: turn.create_share_link(row))

    async def delete_share_link(self, session_id: str, link_id: str) -> bool:
        """One statement, which any hub may run: nothing is lost by it."""

        def delete(connection: SqlConnection) -> bool:
            found = connection.execute(
                "DELETE FROM share_links WHERE session_id = ? AND id = ?", (session_id, link_id)
            )
            return found.rowcount > 0

        return await self.database.write(delete)
