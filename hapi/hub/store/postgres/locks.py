"""The advisory locks of a database. They end with the connection, or the transaction, that holds
them: https://www.postgresql.org/docs/current/explicit-locking.html#ADVISORY-LOCKS
"""

from __future__ import annotations

_BASE = 0x48415049 << 32  # "HAPI"

WRITING = _BASE + 1  # of the connection that writes: exclusive, or shared among several hubs
ORDER = _BASE + 2  # of a transaction that has entries for the journal, until it is committed
SINGLETON = _BASE + 3  # of the connection that writes: what one hub does for all
HOMES = _BASE + 5  # of a transaction: shared by turns, exclusive of what changes homes
MIGRATION = _BASE + 4  # of the transaction that changes tables; shared by who acquires WRITING
UNOWNED = _BASE + 6  # of a transaction that changes what is at home at no hub: any hub may

# The connections that hold WRITING, and their hubs. `silence`: milliseconds since a hub gave a sign
# of life, or its connection was used.
HOLDERS = f"""
    SELECT locks.pid, hubs.id, hubs.name, hubs.url, hubs.version, hubs.started_at, hubs.seen_at,
        hubs.is_draining, hubs.schema,
        least(
            now_ms() - hubs.seen_at,
            cast(extract(epoch FROM clock_timestamp() - activity.query_start) * 1000 AS bigint)
        ) AS silence
    FROM pg_locks AS locks
    JOIN pg_stat_activity AS activity ON activity.pid = locks.pid
    LEFT JOIN hubs ON activity.application_name = 'hapi ' || hubs.id
    WHERE locks.locktype = 'advisory' AND locks.granted
        AND locks.classid = {_BASE >> 32} AND locks.objid = {WRITING & 0xFFFFFFFF}
        AND locks.objsubid = 1
        AND locks.database = (SELECT oid FROM pg_database WHERE datname = current_database())
    ORDER BY hubs.seen_at DESC NULLS LAST
"""


def application(hub_id: str) -> str:
    """What the connections of a hub call themselves. PostgreSQL keeps 63 characters."""
    return f"hapi {hub_id}"[:63]
