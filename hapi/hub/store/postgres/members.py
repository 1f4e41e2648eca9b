"""The hubs of a database."""

from __future__ import annotations

from typing import Any

from hapi.hub.store.shared import DEAD_AFTER, Member


def member_from(row: Any) -> Member:
    """`row` has the columns of `hubs`, and `silence`: milliseconds since its last sign of life."""
    return Member(
        row["id"],
        row["name"],
        row["url"],
        row["version"],
        row["started_at"],
        row["seen_at"],
        is_up=row["silence"] <= DEAD_AFTER * 1000,
        is_draining=bool(row["is_draining"]),
    )
