"""What the engine asks of a store. Every method may take its time; what it answers has been committed."""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from typing import Any

from zope.interface import Interface

from hapi.hub.store.rows import Added, MachineRow, MessageRow, SessionRow, VersionMismatch, Written

# mypy: disable-error-code="empty-body"


class StoreRefused(Exception):
    """The store cannot be used: the text says which file and why. Nothing in it was changed."""


class StoreBusy(Exception):
    """Somebody else holds the database. Trying again later may work."""


class StoreFull(Exception):
    """No space left to write."""


class StoreFailed(Exception):
    """The database reported an error of its own."""


class TagTaken(Exception):
    """The tag belongs to a session with another id."""


class IdTaken(Exception):
    """The id belongs to another session, or to another namespace."""


class IStore(Interface):
    """Sessions, machines and messages of all namespaces. Raises StoreBusy, StoreFull, StoreFailed."""

    def open() -> None:
        """Open and migrate, synchronously. Raises StoreRefused."""

    def close() -> None:
        """Write everything out and let go. Idempotent."""

    def sessions() -> Awaitable[list[SessionRow]]:
        """All sessions of all namespaces."""

    def machines() -> Awaitable[list[MachineRow]]:
        """All machines of all namespaces."""

    def create_session(row: SessionRow, any_id: bool = False) -> Awaitable[tuple[SessionRow, bool]]:
        """The session of this tag and namespace, and whether it is new. `any_id`: the caller did not choose the id.

        Raises TagTaken, IdTaken.
        """

    def write_metadata(
        session_id: str, expected: int, value: Any, changes: dict[str, Any]
    ) -> Awaitable[Written[SessionRow] | VersionMismatch[SessionRow]]:
        """Replace the metadata if its version is `expected`; `changes` are other columns set by the same write."""

    def write_agent_state(
        session_id: str, expected: int, value: Any, changes: dict[str, Any]
    ) -> Awaitable[Written[SessionRow] | VersionMismatch[SessionRow]]:
        """Replace the agent state if its version is `expected`."""

    def change_session(session_id: str, changes: dict[str, Any]) -> Awaitable[SessionRow]:
        """Set columns. Raises KeyError when the session is gone."""

    def delete_session(session_id: str) -> Awaitable[bool]:
        """The session and its messages go. False if it was gone already."""

    def merge_session(old: str, new: str, row: SessionRow) -> Awaitable[SessionRow]:
        """Move all messages of `old` in front of those of `new`, write `row` as the new session, delete the old one."""

    def create_machine(row: MachineRow) -> Awaitable[MachineRow]:
        """Keep a new machine. Raises IdTaken."""

    def write_machine(
        row: MachineRow, expected: MachineRow
    ) -> Awaitable[Written[MachineRow] | VersionMismatch[MachineRow]]:
        """Replace a machine if both its versions still are those of `expected`."""

    def add_message(row: MessageRow, touch: int | None) -> Awaitable[Added]:
        """Append; `row.seq` is chosen here. A known `local_id` answers the row that is there.

        Older live snapshots of `row.stream` go. `touch` becomes the session's updated_at.
        """

    def message(session_id: str, name: str) -> Awaitable[MessageRow | None]:
        """By id or local id."""

    def local_messages(session_id: str, local_ids: Sequence[str]) -> Awaitable[list[MessageRow]]:
        """Those with one of these local ids."""

    def queued(session_id: str, due: int) -> Awaitable[list[MessageRow]]:
        """Prompts that wait for delivery, oldest first: not consumed, not indeterminate, not scheduled after `due`."""

    def due(after: int, until: int) -> Awaitable[list[MessageRow]]:
        """Scheduled prompts of all sessions with after < scheduled_at <= until that wait for delivery."""

    def scheduled(namespace: str, after: int) -> Awaitable[dict[str, tuple[int, int]]]:
        """By session id: how many prompts are scheduled after that time, and when the next one is due."""

    def consume(
        session_id: str, local_ids: Sequence[str], at: int, touch: bool
    ) -> Awaitable[list[str]]:
        """Mark prompts as taken; answers the local ids that had not been."""

    def consume_all(session_id: str, at: int) -> Awaitable[list[str]]:
        """Mark all immediate queued prompts as taken; scheduled and indeterminate ones stay."""

    def set_delivery(message_id: str, delivery: str) -> Awaitable[bool]:
        """Change the delivery state of a prompt that is not consumed."""

    def delete_message(message_id: str) -> Awaitable[SessionRow | None]:
        """Delete a prompt that is not consumed; the session as it is then, None if there was nothing to delete."""

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
