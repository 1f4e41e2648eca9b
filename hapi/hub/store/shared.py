"""What several hubs share: a journal of events, homes of sessions and machines, and the hubs
themselves.

The home of a session or machine is the hub that holds its sockets. Only its home changes it; what
has no home may be changed by any hub. The database is the only arbiter: a claim is a committed row,
and a turn for an owner that is at home elsewhere is refused in its transaction.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from attrs import field, frozen
from zope.interface import Attribute

from hapi.hub.store.columns import read_document
from hapi.hub.store.interface import IStore
from hapi.hub.store.rows import MachineRow, SessionRow

# mypy: disable-error-code="empty-body"

# Kinds of journal entries that no page gets; all others are event types of the wire.
INTERNAL = "hub:"
HOME_CHANGED = "hub:home"  # fields: owner, hub (None: nowhere), epoch
TOKENS_CHANGED = "hub:tokens"
RECIPIENTS_CHANGED = "hub:recipients"

BEAT_INTERVAL = 2.0  # seconds between two signs of life of a hub
DEAD_AFTER = 10.0  # seconds of silence, by the clock of the database, after which a hub is dead


@frozen
class Home:
    """Where the sockets of a session or machine are. `epoch` grows with each claim, also after a
    home was given up.
    """

    owner: str  # id of the session or machine
    hub: str  # id of the hub's process
    epoch: int


@frozen
class Member:
    """A hub of the database. `id` is that of its process: a hub that starts again has another."""

    id: str
    name: str  # for people
    url: str  # where the other hubs reach it
    version: str
    since: int  # ms: when it began to serve, or while it does not, to wait
    seen_at: int  # ms, by the clock of the database
    is_up: bool
    is_draining: bool = False


@frozen
class JournalEntry:
    """An event that was committed. Ids are in the order of the commits, and may have gaps."""

    id: int
    hub: str  # that published it
    namespace: str
    kind: str
    body: str  # a JSON object with keys of the wire, such as `sessionId`; most are never decoded
    session_id: str | None = None
    machine_id: str | None = None
    # What its home knows about the session or machine, and no row has.
    live: dict[str, Any] | None = field(default=None)

    @property
    def owner(self) -> str | None:
        """The session or machine that it is about."""
        return self.session_id or self.machine_id

    @property
    def fields(self) -> dict[str, Any]:
        """`body`, decoded."""
        found: dict[str, Any] = read_document(self.body)
        return found


class Moved(Exception):
    """The owner of a turn is at home at another hub. Nothing of the turn was stored."""

    def __init__(self, owner: str, hub: str | None) -> None:
        super().__init__(f"{owner} is served by another hub")
        self.owner, self.hub = owner, hub


class ISharedStore(IStore):
    """A store that several hubs use at the same time.

    `turn(owner, change)` raises Moved if `owner` has a home and it is not this hub, in the epoch of
    its last claim. `change` may run in another thread than the reactor's, and more than once; only
    the effects of its last run are stored. Events of turns go into the journal in the transaction
    of their turn; calls of `follow` get those of turns of this hub after the COMMIT.
    """

    hub_id = Attribute("The id of this process among the hubs.")
    confirmed_at = Attribute(
        "Seconds of the clock: the database knows that this hub lived then. Each transaction is a "
        "sign of life; a beat may wait behind others for long."
    )

    # --- the journal
    def publish(
        namespace: str, kind: str, fields: dict[str, Any], live: dict[str, Any] | None = None
    ) -> None:
        """Append an entry. It is committed after all turns that were begun before, and before all
        that are begun later. Not awaited; what cannot be stored for good is logged and lost.
        An entry with `live` is dropped if its owner is at home at another hub; otherwise `live` is
        kept for `live_states`.
        """

    def on_journal(call: Callable[[], object]) -> None:
        """Call `call`, in the reactor's thread, when there may be new entries: at once after an own
        COMMIT and soon after that of another hub. Nothing depends on it: who follows also polls.
        """

    def journal_epoch() -> Awaitable[str]:
        """A text that is the same for all hubs, and another one after a failover that may have
        lost entries: the id of the cluster and the timeline of PostgreSQL.
        """

    def newest_entry() -> Awaitable[int]:
        """The id of the newest entry, 0 if there was none."""

    def entries_after(entry_id: int, limit: int) -> Awaitable[list[JournalEntry] | None]:
        """The entries after `entry_id`, in order. None if some of them are no longer kept."""

    def trim_journal() -> Awaitable[bool]:
        """Delete a portion of the entries that need not be kept; whether there may be more."""

    # --- homes
    def claim(owner: str, live: dict[str, Any] | None = None) -> Awaitable[Home]:
        """Make this hub the home of `owner`, in a new epoch. Committed, and journalled as
        HOME_CHANGED, when it returns.
        """

    def release(owner: str) -> Awaitable[None]:
        """Give up a home of this hub; nothing happens if it has been claimed by another one."""

    def home(owner: str) -> Awaitable[Home | None]:
        """The home as the database has it."""

    def homes() -> Awaitable[list[Home]]:
        """All homes."""

    # --- hubs
    def join(name: str, url: str, version: str) -> Awaitable[None]:
        """Enter this hub among the members, as alive."""

    def beat(is_draining: bool = False) -> Awaitable[list[Member]]:
        """A sign of life; all members, this hub included. Homes of hubs that are dead by now are
        given up, journalled as HOME_CHANGED.
        """

    def leave() -> Awaitable[None]:
        """Leave the members, and give up all homes of this hub."""

    def end_stale_holder() -> Awaitable[bool]:
        """End the connections of hubs that stand still, which hold the lock of the singleton tasks
        or of the database and have given no sign of life for DEAD_AFTER seconds; whether there
        were any.
        """

    def runs_singleton_tasks() -> Awaitable[bool]:
        """Whether this hub is the one that does what has to be done once for all hubs. It takes
        that over if nobody has it.
        """

    def secret(name: str, made: str) -> Awaitable[str]:
        """The secret of this name that all hubs share; `made` is stored if there was none."""

    # --- rows
    def live_states() -> Awaitable[dict[str, dict[str, Any]]]:
        """The last `live` that was journalled for each session and machine, by its id."""

    def session_row(session_id: str) -> Awaitable[SessionRow | None]:
        """The row of one session."""

    def machine_row(machine_id: str) -> Awaitable[MachineRow | None]:
        """The row of one machine."""
