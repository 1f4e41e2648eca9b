"""The journal of events, the homes, and what else several hubs write in their transactions.

Entries are written at the end of a transaction, under the lock ORDER that is held until it is
committed, so that their ids are in the order of the commits. What a transaction reads of the homes
holds until it is committed, since it shares the lock HOMES: homes change in transactions that have
it alone. What is at home nowhere may be changed by two hubs at the same moment: they do it one
after the other, by the lock UNOWNED.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from attrs import define, field, frozen

from hapi.hub.store.columns import as_json, read_document
from hapi.hub.store.postgres.connection import PostgresConnection, Statement
from hapi.hub.store.postgres.locks import HOMES, ORDER, UNOWNED
from hapi.hub.store.rows import TurnEvent
from hapi.hub.store.shared import HOME_CHANGED, Home, JournalEntry, Moved

CHANNEL = "hapi"  # of NOTIFY
KEPT = 10 * 60_000  # ms
MAX_KEPT = 50_000  # entries
TRIMMED_AT_ONCE = 5_000  # entries

APPEND = """
    INSERT INTO events (hub, namespace, session_id, machine_id, kind, body, live, at)
    SELECT CAST(? AS text), namespace, session_id, machine_id, kind, body, live, now_ms()
    FROM unnest(
        CAST(? AS text[]), CAST(? AS text[]), CAST(? AS text[]), CAST(? AS text[]),
        CAST(? AS text[]), CAST(? AS text[])
    ) WITH ORDINALITY AS entry (namespace, session_id, machine_id, kind, body, live, number)
    ORDER BY number
"""
SET_LIVE = """
    INSERT INTO live (owner, hub, state)
    SELECT owner, CAST(? AS text), state
    FROM unnest(CAST(? AS text[]), CAST(? AS text[])) AS entry (owner, state)
    ON CONFLICT (owner) DO UPDATE SET hub = excluded.hub, state = excluded.state
"""
CLAIM = """
    INSERT INTO homes (owner, hub, epoch) VALUES (?, ?, 1)
    ON CONFLICT (owner) DO UPDATE SET hub = excluded.hub, epoch = homes.epoch + 1
    RETURNING epoch
"""
FIND_HOMES = "SELECT owner, hub, epoch FROM homes WHERE owner = ANY(CAST(? AS text[]))"
# In one statement, since entries may be trimmed between two.
AFTER = """
    SELECT trimmed, entry.* FROM meta LEFT JOIN LATERAL (
        SELECT id, hub, namespace, session_id, machine_id, kind, body, live
        FROM events WHERE id > ? ORDER BY id LIMIT ?
    ) AS entry ON true ORDER BY entry.id
"""
NEWEST = "SELECT greatest(trimmed, coalesce((SELECT max(id) FROM events), 0)) FROM meta"
OLDEST = f"""
    SELECT max(id) FILTER (
        WHERE at < now_ms() - {KEPT} OR id <= (SELECT max(id) FROM events) - {MAX_KEPT}
    ), count(*)
    FROM (SELECT id, at FROM events ORDER BY id LIMIT {TRIMMED_AT_ONCE}) AS oldest
"""


@frozen
class _Entry:
    namespace: str
    session_id: str | None
    machine_id: str | None
    kind: str
    body: str
    live: str | None
    owner: str | None


def journal_entry(row: Any) -> JournalEntry:
    live = row["live"]
    return JournalEntry(
        row["id"],
        row["hub"],
        row["namespace"],
        row["kind"],
        row["body"],
        row["session_id"],
        row["machine_id"],
        None if live is None else read_document(live),
    )


def entries_after(
    connection: PostgresConnection, entry_id: int, limit: int
) -> list[JournalEntry] | None:
    """The entries after `entry_id`; None if some of them are no longer kept."""
    rows = connection.execute(AFTER, (entry_id, limit)).fetchall()
    if rows[0]["trimmed"] > entry_id:
        return None
    return [journal_entry(row) for row in rows if row["id"] is not None]


def trim(connection: PostgresConnection) -> bool:
    """Delete a portion of the entries that need not be kept; whether there may be more."""
    last, count = connection.execute(OLDEST).fetchone()
    if last is None:
        return False
    deleted = connection.execute("DELETE FROM events WHERE id <= ?", (last,)).rowcount
    connection.execute("UPDATE meta SET trimmed = max(trimmed, ?)", (last,))
    return bool(deleted == count == TRIMMED_AT_ONCE)


@define(eq=False, repr=False)
class BatchJournal:
    """What this hub appends in one transaction. It is used in the writer's thread; `claimed` is
    read there, too.
    """

    hub_id: str
    is_active: bool = False  # several hubs share the database
    claimed: dict[str, int] = field(factory=dict)  # owner -> epoch of the last claim of this hub
    _claims: dict[str, int] = field(factory=dict)  # those of this transaction
    _homes: dict[str, tuple[str | None, int]] = field(factory=dict)
    _entries: list[_Entry] = field(factory=list)

    def begin(
        self, connection: PostgresConnection, owners: Iterable[str], moves_homes: bool
    ) -> None:
        """Begin the transaction. `owners`: those of its turns. `moves_homes`: it changes homes."""
        self._entries, self._homes, self._claims = [], {}, {}
        if not self.is_active:
            connection.execute("BEGIN")
            return
        names = [storable(owner) for owner in owners]
        lock = "pg_advisory_xact_lock" if moves_homes else "pg_advisory_xact_lock_shared"
        *_, found = connection.execute_together(
            [("BEGIN", ()), (f"SELECT {lock}(?)", (HOMES,)), (FIND_HOMES, (names,))]
        )
        self._take_homes(found)
        self._lock_unowned(connection, names)

    def _prepare(self, connection: PostgresConnection, owners: list[str]) -> None:
        self._read_homes(connection, owners)
        self._lock_unowned(connection, owners)

    def _lock_unowned(self, connection: PostgresConnection, owners: list[str]) -> None:
        if any(self._homes.get(owner, (None, 0))[0] is None for owner in owners):
            connection.execute("SELECT pg_advisory_xact_lock(?)", (UNOWNED,))

    def _read_homes(self, connection: PostgresConnection, owners: list[str]) -> None:
        unknown = [owner for owner in owners if owner not in self._homes]
        if unknown:
            self._take_homes(connection.execute(FIND_HOMES, (unknown,)))

    def _take_homes(self, found: Any) -> None:
        for owner, hub, epoch in found.fetchall():
            self._homes[owner] = hub, epoch

    def verify_other(self, connection: PostgresConnection, owner: str) -> None:
        """The same as `verify` for an owner that `begin` was not told of."""
        if self.is_active:
            self._prepare(connection, [storable(owner)])
            self.verify(owner)

    def verify(self, owner: str) -> None:
        """Raises Moved if another hub serves `owner`, or this one in a later epoch."""
        owner = storable(owner)
        hub, epoch = self._homes.get(owner, (None, 0))
        claimed = self._claims.get(owner, self.claimed.get(owner))
        # A server that took over may have lost a claim of ours, and has the one before.
        is_own = hub == self.hub_id and claimed is not None and epoch <= claimed
        if hub is not None and not is_own:
            raise Moved(owner, hub)

    def append(
        self,
        namespace: str,
        kind: str,
        fields: dict[str, Any],
        live: dict[str, Any] | None = None,
        owner: str | None = None,
    ) -> None:
        """`owner`: whose state `live` is, that of the session or machine in `fields` by default."""
        self.append_encoded(
            namespace, kind, fields, as_json(fields), None if live is None else as_json(live), owner
        )

    def append_events(self, events: Sequence[TurnEvent]) -> None:
        """Append the events of a turn that has succeeded."""
        if self.is_active:
            for event, body in [(event, as_json(event.fields)) for event in events]:
                self.append_encoded(event.namespace, event.kind, event.fields, body, None)

    def append_encoded(
        self,
        namespace: str,
        kind: str,
        fields: dict[str, Any],
        body: str,
        live: str | None,
        owner: str | None = None,
    ) -> None:
        if self.is_active:
            session_id, machine_id = (_text(fields.get(key)) for key in ("sessionId", "machineId"))
            self._entries.append(
                _Entry(
                    storable(namespace),
                    session_id,
                    machine_id,
                    storable(kind),
                    body,
                    live,
                    owner or session_id or machine_id,
                )
            )

    def mark(self) -> int:
        """Where the entries end, for `reset`."""
        return len(self._entries)

    def reset(self, mark: int) -> None:
        """Take back the entries after `mark`, those of a turn that is not stored."""
        del self._entries[mark:]

    def claim(
        self, connection: PostgresConnection, owner: str, live: dict[str, Any] | None
    ) -> Home:
        (epoch,) = connection.execute(CLAIM, (owner, self.hub_id)).fetchone()
        owner = storable(owner)
        self._homes[owner] = self.hub_id, epoch
        self._claims[owner] = epoch
        self._moved(owner, self.hub_id, epoch, live)
        return Home(owner, self.hub_id, epoch)

    def release(self, connection: PostgresConnection, where: str, values: list[Any]) -> None:
        """Give up the homes that fulfil the condition `where`."""
        for owner, epoch in connection.execute(
            f"UPDATE homes SET hub = NULL WHERE hub IS NOT NULL AND {where} RETURNING owner, epoch",
            values,
        ).fetchall():
            self._homes[owner] = None, epoch
            self._moved(owner, None, epoch)

    def _moved(
        self, owner: str, hub: str | None, epoch: int, live: dict[str, Any] | None = None
    ) -> None:
        fields = {"owner": owner, "hub": hub, "epoch": epoch}
        self.append("", HOME_CHANGED, fields, live, owner)

    def statements(self, connection: PostgresConnection) -> list[Statement]:
        """What writes the entries, and tells the other hubs of them after the COMMIT. To be
        executed together with the COMMIT: all hubs wait for the lock meanwhile.
        """
        entries = self._own_entries(connection)
        if not entries:
            return []
        columns = ("namespace", "session_id", "machine_id", "kind", "body", "live")
        values = [[getattr(entry, name) for entry in entries] for name in columns]
        found: list[Statement] = [
            ("SELECT pg_advisory_xact_lock(?)", (ORDER,)),
            (APPEND, [self.hub_id, *values]),
        ]
        states = {
            entry.owner: entry.live
            for entry in entries
            if entry.owner is not None and entry.live is not None
        }
        if states:
            found.append((SET_LIVE, [self.hub_id, list(states), list(states.values())]))
        return [*found, (f"NOTIFY {CHANNEL}", ())]

    def _own_entries(self, connection: PostgresConnection) -> list[_Entry]:
        """The entries without those that tell of what another hub serves by now."""
        owners = {entry.owner for entry in self._entries if entry.live is not None}
        self._read_homes(connection, [owner for owner in owners if owner is not None])
        return [
            entry
            for entry in self._entries
            if entry.live is None
            or self._homes.get(entry.owner or "", (None, 0))[0] in (None, self.hub_id)
        ]

    def committed(self) -> None:
        """In the writer's thread, after the COMMIT."""
        self.claimed.update(self._claims)


def storable(text: str) -> str:
    """`text` as the database has it, or would have it. What is written at the end of a transaction
    must not fail for one event: that would undo the turns of all others.
    """
    return text.replace("\0", "\ufffd").encode(errors="replace").decode()


def _text(value: Any) -> str | None:
    return storable(value) if isinstance(value, str) else None
