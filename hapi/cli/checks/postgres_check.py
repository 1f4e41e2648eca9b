"""What `hapi doctor` finds about a hub's database in PostgreSQL."""

from __future__ import annotations

from contextlib import closing
from typing import Any

from hapi.cli.base.errors import CommandError
from hapi.cli.base.hub_request import get_json
from hapi.cli.checks.check import Check
from hapi.home import Home
from hapi.hub.lock import running_hub
from hapi.hub.store.database_url import DatabaseUrl
from hapi.settings import HubAccess
from hapi.units import format_size

TIMEOUT = 5.0  # seconds for each request to the hub
FACTS = "SELECT pg_database_size(current_database()), to_regclass('hubs') IS NOT NULL"


def check_postgres(url: DatabaseUrl, limit: int | None = None) -> Check:
    """`limit` is --max-database-size in bytes."""
    try:
        import psycopg

        from hapi.hub.store.postgres.connection import connect, one_line
    except ImportError:
        text = f"{url} needs psycopg: pip install 'hapi-runner[postgres]'"
        return Check("database", "broken", text)
    try:
        with closing(connect(url.with_password, "hapi doctor", is_read_only=True)) as connection:
            size, has_tables = connection.execute(FACTS).fetchone()
    except psycopg.Error as error:
        return Check("database", "broken", f"{url} cannot be used: {one_line(error)}")
    if not has_tables:
        return Check("database", "good", f"{url} holds nothing yet")
    text = f"{url} holds {format_size(size)}"
    if limit is not None and size > limit:
        text += f", more than its limit of {format_size(limit)} (--max-database-size)"
        return Check("database", "note", text)
    return Check("database", "good", f"{text}; it is backed up with pg_dump")


def check_hubs(home: Home, url: DatabaseUrl, token: str) -> list[Check]:
    """Whether the hubs of the database reach each other, as the hub of this home has found out.
    Nothing, if none runs, or if it does not answer, which other checks tell.
    """
    owner = running_hub(home, url)
    address = None if owner is None else owner.facts.get("url")
    if owner is None or not isinstance(address, str):
        return []
    is_active = owner.facts.get("role") != "standby"
    try:
        told = get_json(HubAccess(address, token), "/api/hub-status", TIMEOUT, logs_in=is_active)
    except CommandError:
        return []
    return judge_hubs(told.get("hubs") or [])


def judge_hubs(hubs: list[dict[str, Any]]) -> list[Check]:
    """The finding about the hubs of a database, as one of them has told them."""
    problems = [problem for hub in hubs for problem in hub.get("problems") or ()]
    if problems:
        return [Check("hubs", "broken", ". ".join(problems))]
    up = [f"{hub['name']} at {hub['url']}" for hub in hubs if hub["isUp"]]
    return [Check("hubs", "good", ", ".join(up))] if up else []
