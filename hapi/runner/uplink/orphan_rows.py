"""Rows at the hub that a failed start has left behind.

A session makes its row before it announces itself to the runner. A start that fails in between
leaves a row that the runner has never heard of: active until the hub misses its keep-alives, and
without a message for ever. It is found in the hub's list by machine, process and time.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from attrs import define
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger

from hapi.net.common.errors import HubRefused
from hapi.runner.attempts.child import Child

RECENT_SESSIONS = 100  # of the list, the latest first
MAX_CANDIDATES = 20  # rows that are read as a whole
CLOCK_TOLERANCE = 1000  # ms: the session's times are whole milliseconds of the same clock
INACTIVE_TIMEOUT, INACTIVE_POLL_INTERVAL = 2.0, 0.1  # seconds until the hub has taken in the end

Json = Mapping[str, Any]


class RowClient(Protocol):
    async def session(self, session_id: str) -> dict[str, Any]: ...
    async def messages(
        self, session_id: str, after_seq: int, limit: int = 200
    ) -> list[dict[str, Any]]: ...
    async def recent_sessions(self, limit: int) -> list[dict[str, Any]]: ...
    async def delete_session(self, session_id: str) -> None: ...


def may_have_left_a_row(child: Child) -> bool:
    """Whether `child` was started here, had a process, and may have made a row of its own."""
    return (
        child.identity is not None
        and child.spec.started_by == "runner"
        and child.spec.requested_id is None
    )


def is_candidate(summary: Json, machine_id: str) -> bool:
    """Whether an entry of the hub's list may be the row of a failed start on this machine."""
    metadata = summary.get("metadata")
    return (
        isinstance(summary.get("id"), str)
        and summary.get("hasConversationContent") is not True
        and isinstance(metadata, Mapping)
        and metadata.get("machineId") == machine_id
    )


def is_row_of(row: Json, child: Child, machine_id: str, is_running: Callable[[int], bool]) -> bool:
    """Whether the process of `child` has made `row`. A program that starts the session by way of
    another one is known by directory and time, once the process that the row names is gone.
    """
    metadata = row.get("metadata")
    if not isinstance(metadata, Mapping) or metadata.get("machineId") != machine_id:
        return False
    pid, since = metadata.get("hostPid"), metadata.get("lifecycleStateSince")
    if not isinstance(pid, int) or not isinstance(since, (int, float)):
        return False
    if since < child.spec.started_at * 1000 - CLOCK_TOLERANCE:
        return False
    if pid in {known.pid for known in (child.identity, child.host) if known is not None}:
        return True
    in_place = metadata.get("path") == child.spec.directory
    return in_place and metadata.get("startedBy") == "runner" and not is_running(pid)


@define(eq=False, repr=False)
class OrphanRows:
    """Finds the rows of one failed start, and removes them."""

    _clock: IReactorTime
    _machine_id: Callable[[], str]
    _is_running: Callable[[int], bool]
    _is_known: Callable[[str, Child], bool]  # whether another attempt is known by that session id
    log = Logger()

    async def find(self, client: RowClient, child: Child) -> list[dict[str, Any]]:
        """The rows that `child` has made. Raises HubRefused, HubUnreachable."""
        machine_id = self._machine_id()
        listed = await client.recent_sessions(RECENT_SESSIONS)
        candidates = [
            summary["id"]
            for summary in listed
            if isinstance(summary, Mapping)
            and is_candidate(summary, machine_id)
            and not self._is_known(summary["id"], child)
        ]
        rows = []
        for session_id in candidates[:MAX_CANDIDATES]:
            row = await _read(client, session_id)
            if row is not None and is_row_of(row, child, machine_id, self._is_running):
                rows.append({**row, "id": session_id})
        return rows

    async def remove_if_empty(self, client: RowClient, session_id: str) -> None:
        """Delete the row of a failed start, which has ended, unless it has a message. Raises
        HubRefused, HubUnreachable.
        """
        deadline = self._clock.seconds() + INACTIVE_TIMEOUT
        while (row := await _read(client, session_id)) is not None and row.get("active") is True:
            if self._clock.seconds() >= deadline:
                return
            await deferLater(self._clock, INACTIVE_POLL_INTERVAL)
        if row is None or row.get("hasConversationContent") is True:
            return
        if await client.messages(session_id, 0, 1):
            return
        await client.delete_session(session_id)
        self.log.info(
            "The empty session {session_id} of a start that failed is removed from the hub",
            session_id=session_id,
        )


async def _read(client: RowClient, session_id: str) -> dict[str, Any] | None:
    """The row, None if the hub has no such row by now."""
    try:
        return await client.session(session_id)
    except HubRefused as error:
        if error.status not in (403, 404):
            raise
        return None
