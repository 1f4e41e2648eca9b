"""Reports to the hub how a session ended that cannot report it: killed, crashed, out of memory.

Without a report the hub would show the session as running for half a minute and never learn why it
ended. The session's row is changed only while it names the process that ended, and the change is
versioned: a process that continues the session elsewhere wins.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Protocol

from attrs import Factory, define, field, frozen
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from hapi.deferreds import run_in_background
from hapi.net.client.hub_clock import HubClock
from hapi.net.common.errors import AckTimeout, HubRefused, HubUnreachable, LinkLost
from hapi.process import Exit, IProcesses
from hapi.protocol.attempt import AttemptEndReported, StopOrder
from hapi.redaction import escape_control
from hapi.runner.attempts.child import Child
from hapi.runner.attempts.registry import ChildRegistry
from hapi.runner.uplink.orphan_rows import OrphanRows, RowClient, may_have_left_a_row

MAX_TRIES = 5  # of writing one row that other programs write as well
# The archive reason of a session that received SIGTERM and found no stop order.
REASON_WITHOUT_ORDER = "Hub restart"
UNKNOWN_SESSION_STATUSES = (403, 404)  # of a hub that has no such session for this user
MAX_AGE = 86400.0  # seconds: older ends are not reported
# Seconds after which a row is looked for once more: the request that makes it may have been on its
# way when the session was killed.
SECOND_SEARCH_DELAY = 2.0


@frozen
class EndReport:
    """How a session ended.

    `pids`: of the process that announced the session, and of the one that the runner started.
    """

    session_id: str
    pids: frozenset[int]
    machine_id: str
    how: Exit
    order: StopOrder | None
    at: int  # ms since the epoch
    # The stop order could not be written, so the session cannot know who ended it and why.
    order_unread: bool = False

    @property
    def end_reason(self) -> str:
        """The `reason` of the `session-end` event."""
        return (
            "terminated"
            if self.order is not None
            else "completed"
            if self.how.exit_code == 0
            else "error"
        )

    @property
    def archive_reason(self) -> str:
        if self.order is not None:
            return self.order.reason
        if self.how.signal is not None:
            return f"Session crashed ({self.how.signal})"
        if self.how.exit_code is None:
            return "Session ended (exit status unknown)"
        return (
            f"Session crashed (exit code {self.how.exit_code})"
            if self.how.exit_code
            else "Session completed"
        )


@frozen
class Archive:
    """Write this metadata, then send the end."""

    metadata: dict[str, Any]


@frozen
class SendEnd:
    """The row is archived already and only counts as active still."""


@frozen
class Skip:
    """The end has been reported, or another program has to report it."""

    reason: str


def decide(metadata: Any, active: bool, report: EndReport) -> Archive | SendEnd | Skip:
    """Decide what to do about a row with this `metadata`."""
    if not isinstance(metadata, Mapping) or metadata.get("hostPid") not in report.pids:
        return Skip("the row names another process")
    if metadata.get("machineId") not in (None, report.machine_id):
        return Skip("the session is on another machine")
    is_mistaken = report.order_unread and metadata.get("archiveReason") == REASON_WITHOUT_ORDER
    if metadata.get("lifecycleState") == "archived" and not is_mistaken:
        return SendEnd() if active else Skip("the session has reported its end itself")
    archived = {
        "lifecycleState": "archived",
        "lifecycleStateSince": report.at,
        "archivedBy": "runner",
    }
    return Archive({**metadata, **archived, "archiveReason": escape_control(report.archive_reason)})


class Link(Protocol):
    @property
    def connected(self) -> bool: ...
    def call(self, event: str, *args: Any, timeout: float = 10.0) -> Deferred[Any]: ...
    def emit(self, event: str, *args: Any, keep: bool = True) -> None: ...


class Hub(Protocol):
    """This machine at its hub.

    npm's hub and ours accept both events from any socket of the namespace.
    """

    @property
    def link(self) -> Link: ...
    @property
    def client(self) -> RowClient: ...
    @property
    def hub_clock(self) -> HubClock: ...


@define(eq=False, repr=False)
class EndReports:
    """Reports one end after another; reports that could not be sent wait for the link.

    `_starting(session_id)` tells whether a process that continues the session is being started.
    """

    _clock: IReactorTime
    _processes: IProcesses
    _children: ChildRegistry
    _machine_id: Callable[[], str]
    _hub: Callable[[], Hub | None]
    _starting: Callable[[str], bool]
    _now: Callable[[], float]
    # Delivers what a session left in the spool, which comes before its end.
    _deliver_spool: Callable[[str], Awaitable[None]] = field(
        default=lambda session_id: succeed(None)
    )
    _waiting: dict[str, Child] = field(factory=dict)  # attempt → child
    _searched: set[str] = field(factory=set)  # attempts whose rows were looked for in vain
    _busy: bool = False
    _orphans: OrphanRows = field(
        init=False,
        default=Factory(
            lambda self: OrphanRows(
                self._clock, self._machine_id, self._is_running, self._is_known
            ),
            takes_self=True,
        ),
    )
    log = Logger()

    def ended(self, child: Child) -> None:
        """The process of `child` has ended.

        Sessions that the machine's shutdown interrupted are not reported: they may be resumed.
        """
        if not _session_ids(child) and not may_have_left_a_row(child):
            return
        end, order = child.folder.end, child.folder.stop
        if (end is not None and self._now() - end.at > MAX_AGE) or (
            order is not None and order.actor == "machine"
        ):
            return
        if child.folder.end_reported is None:
            self._waiting[child.attempt] = child
            self.send_pending()

    def send_pending(self) -> None:
        """Send the pending reports if the link is up."""
        hub = self._hub()
        if self._busy or not self._waiting or hub is None or not hub.link.connected:
            return
        self._busy = True
        run_in_background(
            self._send_all(hub), self.log, "The end of a session was not reported to the hub"
        )

    async def _send_all(self, hub: Hub) -> None:
        try:
            while self._waiting:
                attempt, child = next(iter(self._waiting.items()))
                is_known = await self._send_reports(hub, child)
                self._waiting.pop(attempt, None)
                if is_known or attempt in self._searched:
                    self._searched.discard(attempt)
                    self._save(child)
                else:
                    self._searched.add(attempt)
                    self._clock.callLater(SECOND_SEARCH_DELAY, self._search_again, child)
        except (LinkLost, AckTimeout, HubUnreachable, HubRefused) as error:
            self.log.debug(
                "The reports of ended sessions wait for the hub: {reason}", reason=str(error)
            )
        finally:
            self._busy = False

    def _search_again(self, child: Child) -> None:
        self._waiting[child.attempt] = child
        self.send_pending()

    async def _send_reports(self, hub: Hub, child: Child) -> bool:
        """Report the end of each session that `child` was, and remove what a failed start has left.
        Returns whether there is a session.
        """
        session_ids = _session_ids(child)
        for session_id in session_ids:
            await self._deliver_spool(session_id)
            await self._send(hub, child, session_id)
        if not may_have_left_a_row(child):
            return True
        if not session_ids:
            for row in await self._orphans.find(hub.client, child):
                session_ids.append(row["id"])
                await self._send(hub, child, row["id"], row["metadata"]["hostPid"])
        elif child.state != "refused":
            return True  # the start had succeeded
        for session_id in session_ids:
            if not self._is_continued(session_id):
                await self._orphans.remove_if_empty(hub.client, session_id)
        return bool(session_ids)

    def _is_running(self, pid: int) -> bool:
        return self._processes.identify(pid) is not None

    def _is_known(self, session_id: str, child: Child) -> bool:
        return any(other is not child for other in self._children.find_all(session_id))

    def _save(self, child: Child) -> None:
        try:
            child.folder.end_reported = AttemptEndReported(self._now())
        except OSError as error:
            self.log.debug(
                "Could not record that the end of {attempt} was reported to the hub: {reason}",
                attempt=child.attempt,
                reason=str(error),
            )

    async def _send(
        self, hub: Hub, child: Child, session_id: str, row_pid: int | None = None
    ) -> None:
        """Report one end. `row_pid`: the process in the row, if the row was found by it."""
        known = (None if one is None else one.pid for one in (child.identity, child.host))
        pids = frozenset(pid for pid in (*known, row_pid) if pid is not None)
        if child.host is not None and self._processes.is_running(child.host) is not False:
            return  # the process that announced the session still runs
        how, order_unread = child.exit or Exit(None, None), "stop.json" in child.folder.unsaved
        report = EndReport(
            session_id,
            pids,
            self._machine_id(),
            how,
            child.folder.stop,
            hub.hub_clock.milliseconds(),
            order_unread,
        )
        try:
            row = await hub.client.session(session_id)
        except HubRefused as error:
            if error.status not in UNKNOWN_SESSION_STATUSES:
                raise
            self.log.debug(
                "The end of session {session_id} is not reported: {reason}",
                session_id=session_id,
                reason=str(error),
            )
            return
        metadata, version = row.get("metadata"), row.get("metadataVersion")
        for _ in range(MAX_TRIES):
            verdict = decide(metadata, row.get("active") is True, report)
            if isinstance(verdict, Skip) or self._is_continued(session_id):
                return
            if isinstance(verdict, SendEnd):
                break
            message = {"sid": session_id, "expectedVersion": version, "metadata": verdict.metadata}
            answer = await hub.link.call("update-metadata", message)
            result = answer.get("result") if isinstance(answer, Mapping) else None
            if result == "success":
                break
            if result != "version-mismatch":
                return
            metadata, version = answer.get("metadata"), answer.get("version")
        else:
            return
        if not self._is_continued(session_id):
            hub.link.emit(
                "session-end",
                {"sid": session_id, "time": report.at, "reason": report.end_reason},
                keep=False,
            )
            self.log.info(
                "The end of session {session_id} is reported to the hub: {reason}",
                session_id=session_id,
                reason=report.archive_reason,
            )

    def _is_continued(self, session_id: str) -> bool:
        """Whether a process of this machine is, or is about to become, this session."""
        return self._children.find_live(session_id) is not None or self._starting(session_id)


def _session_ids(child: Child) -> list[str]:
    """The sessions that `child` was, and the one that it was started to continue.

    It may have reported the latter to the hub alone.
    """
    return sorted(
        {*child.session_ids, *([child.spec.requested_id] if child.spec.requested_id else [])}
    )
