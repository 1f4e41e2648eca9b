"""The interface of a store. A method returns its result after the change has been committed.

Changes are turns: a turn is one transaction for its caller, and the events that it publishes belong
to it. How many turns share a transaction of the database is the store's own business.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

from attrs import define, field
from zope.interface import Attribute, Interface

from hapi.hub.store.rows import (
    Added,
    Consumed,
    DatabaseSize,
    IndexProgress,
    MachineRow,
    MessageRow,
    RecipientRow,
    SavedPromptRow,
    ScratchEntryRow,
    ScratchFileRow,
    SearchPage,
    SearchTerm,
    SessionRow,
    ShareLinkRow,
    TokenRow,
    TokenUse,
    TurnEvent,
    VersionMismatch,
    Written,
)
from hapi.metrics import Histogram

T = TypeVar("T")
BATCH_SIZES = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0)

# mypy: disable-error-code="empty-body"


class StoreRefused(Exception):
    """The store cannot be used; the message says which file and why. Nothing in it has been
    changed.
    """


class StoreBusy(Exception):
    """Another program has locked the database. A later attempt may succeed."""


class StoreFull(Exception):
    """No space left to write."""


class StoreFailed(Exception):
    """The database reported an error."""


class StoreLost(StoreFailed):
    """The files of the database are not where they were opened, so that nothing written to them
    would last. It has been logged.
    """


class StoreAway(StoreFailed):
    """The server of the database cannot be reached, or this hub may not write any more. `unknown`:
    the COMMIT was sent, and it is not known whether it was done.
    """

    def __init__(self, reason: str, unknown: bool = False) -> None:
        super().__init__(reason)
        self.unknown = unknown


StoreProblem = StoreBusy | StoreFull | StoreFailed


class TagTaken(Exception):
    """The tag belongs to a session with another id."""


class NameTaken(Exception):
    """Another access token of the namespace has this name."""


class IdTaken(Exception):
    """The id belongs to another session, or to another namespace."""


class ITransaction(Interface):
    """The changes of one turn. Nothing here waits: a turn is made up in one go.

    What it reads includes the turns before it that are not committed yet.
    """

    def publish(namespace: str, kind: str, **fields: Any) -> None:
        """Publish an event after the COMMIT. `fields` are keys of the wire; they must be JSON,
        since a store may keep the event in the same transaction.
        """

    def session(session_id: str) -> SessionRow | None:
        """The row of a session."""

    def create_session(row: SessionRow, any_id: bool = False) -> tuple[SessionRow, bool]:
        """See IStore, as for the other methods."""

    def write_metadata(
        session_id: str, expected: int, value: Any, changes: dict[str, Any]
    ) -> Written[SessionRow] | VersionMismatch[SessionRow]: ...
    def write_agent_state(
        session_id: str, expected: int, value: Any, changes: dict[str, Any]
    ) -> Written[SessionRow] | VersionMismatch[SessionRow]: ...
    def change_session(session_id: str, changes: dict[str, Any]) -> SessionRow: ...
    def delete_session(session_id: str) -> bool: ...
    def merge_session(old: str, new: str, row: SessionRow) -> SessionRow: ...
    def create_machine(row: MachineRow) -> MachineRow: ...
    def write_machine(
        row: MachineRow, expected: MachineRow
    ) -> Written[MachineRow] | VersionMismatch[MachineRow]: ...
    def create_token(row: TokenRow) -> TokenRow: ...
    def change_token(token_id: str, changes: dict[str, Any]) -> TokenRow: ...
    def delete_token(token_id: str) -> bool: ...
    def write_recipient(row: RecipientRow) -> RecipientRow: ...
    def delete_recipient(recipient_id: str) -> bool: ...
    def add_message(row: MessageRow, touch: int | None) -> Added: ...
    def local_messages(session_id: str, local_ids: Sequence[str]) -> list[MessageRow]: ...
    def consume(session_id: str, local_ids: Sequence[str], at: int, touch: bool) -> Consumed: ...
    def consume_all(session_id: str, at: int) -> Consumed: ...
    def set_delivery(message_id: str, delivery: str) -> bool: ...
    def delete_message(message_id: str) -> SessionRow | None: ...
    def share_links(session_id: str) -> list[ShareLinkRow]: ...
    def create_share_link(row: ShareLinkRow) -> None: ...
    def scratch_entries(session_id: str) -> list[ScratchEntryRow]: ...
    def write_scratch_entry(row: ScratchEntryRow) -> None: ...
    def delete_scratch_entry(session_id: str, entry_id: str) -> bool: ...
    def scratch_files(session_id: str) -> list[ScratchFileRow]: ...
    def add_scratch_file(row: ScratchFileRow, content: bytes) -> None: ...
    def delete_scratch_file(session_id: str, file_id: str) -> bool: ...
    def saved_prompts(namespace: str) -> list[SavedPromptRow]: ...
    def write_saved_prompt(row: SavedPromptRow) -> None: ...
    def delete_saved_prompt(namespace: str, prompt_id: str) -> bool: ...


@define(eq=False, repr=False)
class BatchStatistics:
    """What a store counts about its transactions, in which changes of several turns may be."""

    sizes: Histogram = field(factory=lambda: Histogram(BATCH_SIZES))  # turns
    seconds: Histogram = field(factory=Histogram)  # from the first statement until the COMMIT


@define(eq=False, repr=False)
class StoreStatistics:
    """What a store counts about its turns."""

    seconds: Histogram = field(factory=Histogram)  # from a turn's begin until its COMMIT
    failures: Counter[str] = field(factory=Counter)  # turns that were not stored, by class of error
    waiting: int = 0  # turns that have begun and are not committed
    problem: StoreProblem | None = None  # what the last turn failed with; None: it was stored
    batches: BatchStatistics | None = None  # None: the store does not count them


class IStore(Interface):
    """Sessions, machines, messages and access tokens of all namespaces.

    Changes are committed in the order in which they were begun, and their callers go on in that
    order. When a turn cannot be stored (StoreBusy, StoreFull, StoreFailed), the turns that wait
    behind it fail as well: a caller that begins several turns without waiting never finds a later
    one stored without an earlier one. Nothing of a turn that failed is stored.
    """

    statistics = Attribute("StoreStatistics since the store was made.")

    def open() -> Awaitable[None]:
        """Open and migrate. Raises StoreRefused."""

    def close() -> Awaitable[None]:
        """Finish all turns, write everything to disk and close. Idempotent."""

    def turn(owner: str, change: Callable[[Any], T]) -> Awaitable[T]:
        """Run `change` with an ITransaction and return its result after the COMMIT.

        `owner` is the id of the session or machine that the change belongs to: a store that several
        hubs share refuses the turn if the owner is served by another hub. `change` may be called
        later than now, and must not alter anything but the transaction. What it raises undoes the
        turn and is raised here.
        """

    def check() -> Awaitable[None]:
        """Look, without writing, for what forbids a turn at present: a lock of another program that
        is longer than the moment of a small write (StoreBusy), or files that are not in place
        (StoreLost, StoreFailed).
        """

    def probe() -> Awaitable[None]:
        """Write something that changes nothing. Raises what a turn would raise."""

    def follow(call: Callable[[TurnEvent], object]) -> None:
        """Call `call` with each event of a turn after its COMMIT, in the order of the commits,
        before the caller of the turn goes on.
        """

    def sessions() -> Awaitable[list[SessionRow]]:
        """All sessions of all namespaces."""

    def machines() -> Awaitable[list[MachineRow]]:
        """All machines of all namespaces."""

    def create_session(row: SessionRow, any_id: bool = False) -> Awaitable[tuple[SessionRow, bool]]:
        """The session of this tag and namespace, and whether it is new. `any_id`: the caller has
        not chosen the id.

        Raises TagTaken, IdTaken.
        """

    def write_metadata(
        session_id: str, expected: int, value: Any, changes: dict[str, Any]
    ) -> Awaitable[Written[SessionRow] | VersionMismatch[SessionRow]]:
        """Replace the metadata if its version is `expected`; `changes` are other columns set by the
        same write.
        """

    def write_agent_state(
        session_id: str, expected: int, value: Any, changes: dict[str, Any]
    ) -> Awaitable[Written[SessionRow] | VersionMismatch[SessionRow]]:
        """Replace the agent state if its version is `expected`."""

    def change_session(session_id: str, changes: dict[str, Any]) -> Awaitable[SessionRow]:
        """Set columns. Raises KeyError if the session does not exist."""

    def delete_session(session_id: str) -> Awaitable[bool]:
        """Delete a session with its messages. False if it did not exist."""

    def discard_session(session_id: str) -> Awaitable[int | None]:
        """Delete a session in a short turn, whatever its size; the number of its messages, None if
        it did not exist. Its messages may remain, unseen, until `purge` has deleted them.
        """

    def purge() -> Awaitable[bool]:
        """Delete one portion of what was discarded; whether there may be more."""

    def reclaim(keep: int) -> Awaitable[bool]:
        """Give one portion of the free space beyond `keep` bytes back to the system; whether there
        may be more.
        """

    def size() -> Awaitable[DatabaseSize]:
        """How much the store holds."""

    def files() -> tuple[str, dict[str, int]]:
        """Where the store is, and the sizes of its files in bytes: "" is the database, `-wal` its
        log, `-shm` the index of that. 0: there is no such file.
        """

    def merge_session(
        old: str,
        new: str,
        row: SessionRow,
        publish: Callable[[Any, SessionRow], object] | None = None,
    ) -> Awaitable[SessionRow]:
        """Insert the messages of `old` before those of `new`, write `row` as the new session, and
        delete the old one. `publish` is called with the ITransaction and the merged row.
        """

    def create_machine(row: MachineRow) -> Awaitable[MachineRow]:
        """Store a new machine. Raises IdTaken."""

    def write_machine(
        row: MachineRow, expected: MachineRow
    ) -> Awaitable[Written[MachineRow] | VersionMismatch[MachineRow]]:
        """Replace a machine if both versions are still those of `expected`."""

    def tokens() -> Awaitable[list[TokenRow]]:
        """All access tokens of all namespaces, in the order in which they were created."""

    def create_token(row: TokenRow) -> Awaitable[TokenRow]:
        """Store a new access token. Raises NameTaken."""

    def change_token(token_id: str, changes: dict[str, Any]) -> Awaitable[TokenRow]:
        """Set `machine_id` or `last_used_at`. Raises KeyError if the token does not exist."""

    def delete_token(token_id: str) -> Awaitable[bool]:
        """Delete an access token. False if it did not exist."""

    def recipients() -> Awaitable[list[RecipientRow]]:
        """All recipients of notifications of all namespaces, in the order of their creation."""

    def write_recipient(row: RecipientRow) -> Awaitable[RecipientRow]:
        """Store a recipient of notifications, in the place of one with the same id or address."""

    def delete_recipient(recipient_id: str) -> Awaitable[bool]:
        """Delete a recipient of notifications. False if it did not exist."""

    def add_message(row: MessageRow, touch: int | None) -> Awaitable[Added]:
        """Append a message; the store chooses `row.seq`, and times that are not earlier than those
        of the message before. A known `local_id` returns the existing row. Raises KeyError if the
        session does not exist.

        Older live snapshots of `row.stream` go. `touch` becomes the session's updated_at.
        """

    def copy_messages(source: str, target: str, after: int) -> Awaitable[int | None]:
        """Copy one portion of the messages of a session that are not waiting, as history of another
        one: those with a seq higher than `after`. The last seq that was copied, None if there are
        no more. The copies are not found by `search`, and their tokens are not counted again.
        Raises KeyError if there is no session `target`.
        """

    def message(session_id: str, name: str) -> Awaitable[MessageRow | None]:
        """The message with this id or local id."""

    def local_messages(session_id: str, local_ids: Sequence[str]) -> Awaitable[list[MessageRow]]:
        """The messages with one of these local ids."""

    def queued(session_id: str, due: int) -> Awaitable[list[MessageRow]]:
        """Prompts that wait for delivery, oldest first: not consumed, not indeterminate, not
        scheduled after `due`.
        """

    def due(after: int, until: int) -> Awaitable[list[MessageRow]]:
        """Scheduled prompts of all sessions with after < scheduled_at <= until that wait for
        delivery.
        """

    def scheduled(namespace: str, after: int) -> Awaitable[dict[str, tuple[int, int]]]:
        """By session id: the number of prompts scheduled after that time, and when the next one is
        due.
        """

    def consume(
        session_id: str, local_ids: Sequence[str], at: int, touch: bool
    ) -> Awaitable[Consumed]:
        """Mark prompts as consumed at `at`, or just after the last message of the conversation;
        returns those that were not before. `touch`: `at` becomes the session's updated_at.
        """

    def consume_all(session_id: str, at: int) -> Awaitable[Consumed]:
        """Mark all immediate queued prompts as consumed; scheduled and indeterminate ones stay
        queued.
        """

    def set_delivery(message_id: str, delivery: str) -> Awaitable[bool]:
        """Set the delivery state of a prompt that is not consumed. False if there is no such
        prompt.
        """

    def delete_message(message_id: str) -> Awaitable[SessionRow | None]:
        """Delete a prompt that is not consumed; returns the session's new row, None if there is no
        such prompt.
        """

    def after_seq(session_id: str, seq: int, limit: int, due: int) -> Awaitable[list[MessageRow]]:
        """Messages with a higher seq, ascending; without prompts scheduled after `due`."""

    def latest(session_id: str, limit: int) -> Awaitable[list[MessageRow]]:
        """The newest by position, ascending."""

    def waiting(session_id: str) -> Awaitable[list[MessageRow]]:
        """All prompts that are not consumed, ascending by position."""

    def before(
        session_id: str, position: tuple[int, int], limit: int
    ) -> Awaitable[list[MessageRow]]:
        """The newest of those before `position`, ascending."""

    def after(
        session_id: str, position: tuple[int, int], until: tuple[int, int] | None, limit: int
    ) -> Awaitable[list[MessageRow]]:
        """The oldest of those after `position` and not after `until`, ascending."""

    def search(
        namespace: str,
        terms: Sequence[SearchTerm],
        limit: int,
        before: int | None = None,
        session_id: str | None = None,
    ) -> Awaitable[SearchPage]:
        """The messages of a namespace, or of one session in it, that have all of `terms`, in the
        order in which they were stored, the newest first. `before`: `next` of the page before.
        Nothing is found if the store has no search (`index_progress`).

        A message is found from the turn on that stores it, and no more from the turn on that
        deletes it. Words are those of store/words.py in the texts of store/message_text.py.
        """

    def index_older() -> Awaitable[bool]:
        """Index one portion of the messages that were stored before there was an index; whether
        there are more.
        """

    def index_progress() -> IndexProgress:
        """How far they are indexed."""

    def token_use(namespace: str, since: int) -> Awaitable[tuple[list[TokenUse], int]]:
        """The requests to models of a namespace from `since` (ms) on, by quarters of an hour, and
        the number of sessions that made them. They stay when their session is deleted.
        """

    def share_links(session_id: str) -> Awaitable[list[ShareLinkRow]]:
        """The links to a session, in the order in which they were made. They go with it."""

    def share_link(digest: str) -> Awaitable[ShareLinkRow | None]:
        """The link whose secret has this digest, also if it has expired."""

    def create_share_link(row: ShareLinkRow) -> Awaitable[None]:
        """Store a new link. Raises KeyError if the session does not exist."""

    def delete_share_link(session_id: str, link_id: str) -> Awaitable[bool]:
        """Delete a link. False if the session has no such link."""

    def scratch_entries(session_id: str) -> Awaitable[list[ScratchEntryRow]]:
        """The scratchlist of a session, the newest entry first. It goes with its session, and with
        one that is merged into another.
        """

    def write_scratch_entry(row: ScratchEntryRow) -> Awaitable[None]:
        """Store an entry, in the place of one of the session with the same id. Raises KeyError if
        the session does not exist.
        """

    def delete_scratch_entry(session_id: str, entry_id: str) -> Awaitable[bool]:
        """Delete an entry. False if the session has no such entry."""

    def scratch_files(session_id: str) -> Awaitable[list[ScratchFileRow]]:
        """The files for a scratchlist, in the order in which they came, without their contents."""

    def scratch_content(session_id: str, file_id: str) -> Awaitable[bytes | None]:
        """The content of such a file, None if the session has no such file."""

    def add_scratch_file(row: ScratchFileRow, content: bytes) -> Awaitable[None]:
        """Store a file for a scratchlist. Raises KeyError if the session does not exist."""

    def delete_scratch_file(session_id: str, file_id: str) -> Awaitable[bool]:
        """Delete a file. False if the session has no such file."""

    def saved_prompts(namespace: str) -> Awaitable[list[SavedPromptRow]]:
        """The saved prompts of a namespace, in the order in which they were made."""

    def write_saved_prompt(row: SavedPromptRow) -> Awaitable[None]:
        """Store a saved prompt, in the place of one with the same id."""

    def delete_saved_prompt(namespace: str, prompt_id: str) -> Awaitable[bool]:
        """Delete a saved prompt. False if the namespace has no such prompt."""
