"""The links under which people without a token may read one conversation each."""

from __future__ import annotations

from typing import Any

from attrs import fields

from hapi.hub.store.columns import SqlConnection, SqlDatabase
from hapi.hub.store.rows import ShareLinkRow

COLUMNS = tuple(attribute.name for attribute in fields(ShareLinkRow))
FLAGS = frozenset({"has_files", "has_thoughts"})


def _link_from(row: Any) -> ShareLinkRow:
    values: dict[str, Any] = {name: row[name] for name in COLUMNS}
    return ShareLinkRow(**{**values, **{name: bool(values[name]) for name in FLAGS}})


class ShareLinkTable:
    """The methods of IStore that concern share links; documented there."""

    database: SqlDatabase

    async def share_links(self, session_id: str) -> list[ShareLinkRow]:
        rows = await self.database.read(
            "SELECT * FROM share_links WHERE session_id = ? ORDER BY created_at, rowid",
            (session_id,),
        )
        return [_link_from(row) for row in rows]

    async def share_link(self, digest: str) -> ShareLinkRow | None:
        rows = await self.database.read("SELECT * FROM share_links WHERE digest = ?", (digest,))
        return _link_from(rows[0]) if rows else None

    async def create_share_link(self, row: ShareLinkRow) -> None:
        marks = ", ".join("?" * len(COLUMNS))
        values = [
            int(value) if name in FLAGS else value
            for name, value in ((name, getattr(row, name)) for name in COLUMNS)
        ]

        def insert(connection: SqlConnection) -> None:
            connection.execute(
                f"INSERT INTO share_links ({', '.join(COLUMNS)}) VALUES ({marks})", values
            )

        await self.database.write(insert)

    async def delete_share_link(self, session_id: str, link_id: str) -> bool:
        def delete(connection: SqlConnection) -> bool:
            found = connection.execute(
                "DELETE FROM share_links WHERE session_id = ? AND id = ?", (session_id, link_id)
            )
            return found.rowcount > 0

        return await self.database.write(delete)
