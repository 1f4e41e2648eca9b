"""Tells the hub how a session ended that could not say so itself: killed, crashed, out of memory.

A session takes its leave by itself where it can. Of one that could not, the hub would show `running` for half a minute and never
learn why. Its row is changed only while it still names the very process that died, and the change is versioned: whoever goes on
with the session elsewhere wins.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from attrs import define, field, frozen
from twisted.internet.defer import Deferred
from twisted.logger import Logger

from hapi.net.common.errors import AckTimeout, HubRefused, HubUnreachable, LinkLost
from hapi.process import Exit, IProcesses
from hapi.protocol.attempt import AttemptEndReported, StopOrder
from hapi.redaction import escape_control
from hapi.runner.attempts.child import Child
from hapi.runner.attempts.registry import ChildRegistry

TRIES = 5  # writes of one row that others write as well
BY_A_SIGNAL = "Hub restart"  # what a session says that was sent SIGTERM and found no order
GONE = (403, 404)  # answers of a hub that has no such session for us
AT_MOST = 86400.0  # seconds: an end that is older is no news


@frozen
class EndReport:
    """What is known of it. `pids`: of the process that spoke for the session, and of the one that we started."""

    session_id: str
    pids: frozenset[int]
    machine_id: str
    how: Exit
    order: StopOrder | None
    at: int  # ms since the epoch
    unread: bool = (
        False  # the order never was in its folder: the session cannot know who ended it and why
    )

    @property
    def end_reason(self) -> str:
        """For `session-end`."""
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
            return "Session ended, nobody saw how"
        return (
            f"Session crashed (exit code {self.how.exit_code})"
            if self.how.exit_code
            else "Session completed"
        )


@frozen
class Archive:
    """Write this metadata, then say that it ended."""

    metadata: dict[str, Any]


@frozen
class SendEnd:
    """The row says the rest; it only counts as active still."""


@frozen
class Skip:
    """It is told, or it is not ours to tell."""

    reason: str


def decide(metadata: Any, active: bool, death: EndReport) -> Archive | SendEnd | Skip:
    """What is to be done about a row with this `metadata`."""
    if not isinstance(metadata, Mapping) or metadata.get("hostPid") not in death.pids:
        return Skip("another process speaks for it")
    if metadata.get("machineId") not in (None, death.machine_id):
        return Skip("it is on another machine")
    is_mistaken = death.unread and metadata.get("archiveReason") == BY_A_SIGNAL
    if metadata.get("lifecycleState") == "archived" and not is_mistaken:
        return SendEnd() if active else Skip("it has said so itself")
    told = {"lifecycleState": "archived", "lifecycleStateSince": death.at, "archivedBy": "runner"}
    return Archive({**metadata, **told, "archiveReason": escape_control(death.archive_reason)})


class Link(Protocol):
    @property
    def connected(self) -> bool: ...
    def call(self, event: str, *args: Any, timeout: float = 10.0) -> Deferred[Any]: ...
    def emit(self, event: str, *args: Any, keep: bool = True) -> None: ...


class Client(Protocol):
    async def session(self, session_id: str) -> dict[str, Any]: ...


class Hub(Protocol):
    """Our machine at its hub. Both makes of hub take these two events from any socket of the namespace."""

    @property
    def link(self) -> Link: ...
    @property
    def client(self) -> Client: ...


@define(eq=False)
class EndReports:
    """One end after another; those that could not be told wait for the link. `_starting(id)`: somebody goes on with it here."""

    _processes: IProcesses
    _children: ChildRegistry
    _machine_id: Callable[[], str]
    _hub: Callable[[], Hub | None]
    _starting: Callable[[str], bool]
    _now: Callable[[], float]
    _waiting: dict[str, Child] = field(factory=dict)  # attempt → child
    _busy: bool = False
    log = Logger()

    def ended(self, child: Child) -> None:
        """Its process is gone. What the machine's end interrupted is no news: the hub has noticed, and it may come back."""
        if not _names(child):
            return
        end, order = child.folder.end, child.folder.stop
        if (end is not None and self._now() - end.at > AT_MOST) or (
            order is not None and order.actor == "machine"
        ):
            return
        if child.folder.end_reported is None:
            self._waiting[child.attempt] = child
            self.send_pending()

    def send_pending(self) -> None:
        """Tell what is to be told, if the hub listens."""
        hub = self._hub()
        if self._busy or not self._waiting or hub is None or not hub.link.connected:
            return
        self._busy = True
        telling = Deferred.fromCoroutine(self._tell_all(hub))
        telling.addErrback(
            lambda reason: self.log.failure("The hub was not told how a session ended", reason)
        )

    async def _tell_all(self, hub: Hub) -> None:
        try:
            while self._waiting:
                attempt, child = next(iter(self._waiting.items()))
                for session_id in _names(child):
                    await self._tell(hub, child, session_id)
                self._waiting.pop(attempt, None)
                self._keep(child)
        except (LinkLost, AckTimeout, HubUnreachable, HubRefused) as error:
            self.log.debug("How sessions ended waits for the hub: {reason}", reason=str(error))
        finally:
            self._busy = False

    def _keep(self, child: Child) -> None:
        try:
            child.folder.end_reported = AttemptEndReported(self._now())
        except OSError as error:
            self.log.debug(
                "That the end of {attempt} was told is not kept: {reason}",
                attempt=child.attempt,
                reason=str(error),
            )

    async def _tell(self, hub: Hub, child: Child, session_id: str) -> None:
        pids = frozenset(one.pid for one in (child.identity, child.host) if one is not None)
        if child.host is not None and self._processes.is_running(child.host) is not False:
            return  # what we started is gone, and the one that spoke for the session is not
        how, unread = child.exit or Exit(None, None), "stop.json" in child.folder.unsaved
        death = EndReport(
            session_id,
            pids,
            self._machine_id(),
            how,
            child.folder.stop,
            int(self._now() * 1000),
            unread,
        )
        try:
            row = await hub.client.session(session_id)
        except HubRefused as error:
            if error.status not in GONE:
                raise
            self.log.debug(
                "Session {session_id} is not told about: {reason}",
                session_id=session_id,
                reason=str(error),
            )
            return
        metadata, version = row.get("metadata"), row.get("metadataVersion")
        for _ in range(TRIES):
            verdict = decide(metadata, row.get("active") is True, death)
            if isinstance(verdict, Skip) or self._goes_on(session_id):
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
        if not self._goes_on(session_id):
            hub.link.emit(
                "session-end",
                {"sid": session_id, "time": death.at, "reason": death.end_reason},
                keep=False,
            )
            self.log.info(
                "The hub is told how session {session_id} ended: {reason}",
                session_id=session_id,
                reason=death.archive_reason,
            )

    def _goes_on(self, session_id: str) -> bool:
        """Whether a process of this machine is, or is about to be, this session."""
        return self._children.find_live(session_id) is not None or self._starting(session_id)


def _names(child: Child) -> list[str]:
    """The sessions it was, and the one that it was started to go on with: it may have said so to the hub alone."""
    return sorted(
        {*child.session_ids, *([child.spec.requested_id] if child.spec.requested_id else [])}
    )
