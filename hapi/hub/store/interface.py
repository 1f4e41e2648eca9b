"""The interface of a store. A method returns its result after the change has been committed."""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from typing import Any

from zope.interface import Interface

from hapi.hub.store.rows import (
    Added,
    DatabaseSize,
    MachineRow,
    MessageRow,
    SessionRow,
    VersionMismatch,
    Written,
)

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


class TagTaken(Exception):
    """The tag belongs to a session with another id."""


class IdTaken(Exception):
    """The id belongs to another session, or to another namespace."""


class IStore(Interface):
    """Sessions, machines and messages of all namespaces.

    Raises StoreBusy, StoreFull, StoreFailed.
    """

    def open() -> None:
        """Open and migrate, synchronously. Raises StoreRefused."""

    def close() -> None:
        """Write everything to disk and close. Idempotent."""

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

    def merge_session(old: str, new: str, row: SessionRow) -> Awaitable[SessionRow]:
        """Insert the messages of `old` before those of `new`, write `row` as the new session, and
        delete the old one.
        """

    def create_machine(row: MachineRow) -> Awaitable[MachineRow]:
        """Store a new machine. Raises IdTaken."""

    def write_machine(
        row: MachineRow, expected: MachineRow
    ) -> Awaitable[Written[MachineRow] | VersionMismatch[MachineRow]]:
        """Replace a machine if both versions are still those of `expected`."""

    def add_message(row: MessageRow, touch: int | None) -> Awaitable[Added]:
        """Append a message; the store chooses `row.seq`. A known `local_id` returns the existing
        row.

        Older live snapshots of `row.stream` go. `touch` becomes the session's updated_at.
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
    ) -> Awaitable[list[str]]:
        """Mark prompts as consumed; returns the local ids of those that were not before."""

    def consume_all(session_id: str, at: int) -> Awaitable[list[str]]:
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
