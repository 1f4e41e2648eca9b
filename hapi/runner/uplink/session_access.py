"""Live sessions follow the hub and the token of their runner.

A session that reports that it is not connected to the runner's hub gets URL and token in its
folder, in the private file `hub.json`, which is removed as soon as the session is connected there
or has ended.
"""

from __future__ import annotations

from collections.abc import Callable

from attrs import define, field
from twisted.logger import Logger
from twisted.python.failure import Failure

from hapi.attempts import AttemptFolder
from hapi.protocol.attempt import AttemptHubAccess, AttemptReport
from hapi.runner.attempts.child import Child
from hapi.runner.attempts.registry import ChildRegistry, SessionEnded
from hapi.runner.attempts.reports import ReportMonitor
from hapi.runner.attempts.stall import describe_disconnection, is_disconnected
from hapi.runner.storage.disk import Disk
from hapi.settings import HubAccess

POLL_INTERVAL = 5.0  # seconds
REMEDY = (
    "If the hub has another address or another access token now, run `hapi auth login` "
    "(`--url` for the address) and then `hapi runner restart`: the sessions follow the runner"
)


def is_elsewhere(report: AttemptReport | None, access: HubAccess, now: float) -> bool:
    """Whether a session reports that it is not connected to the hub of `access`. `now`: epoch
    seconds."""
    hub = None if report is None else report.hub
    if hub is None:
        return False
    return hub.url != access.url or is_disconnected(report, now)


@define(eq=False, repr=False)
class SessionAccess:
    """Writes and removes the files. `_is_linked` tells whether the hub accepts the runner."""

    _children: ChildRegistry
    _reports: ReportMonitor
    _disk: Disk
    _access: Callable[[], HubAccess]
    _is_linked: Callable[[], bool]
    _call_later: Callable[[float, Callable[[], object]], object]
    _now: Callable[[], float]
    _told: dict[str, HubAccess | None] = field(factory=dict, repr=False)  # by attempt
    log = Logger()

    def __attrs_post_init__(self) -> None:
        self._children.subscribe(SessionEnded, lambda event: self._ended(event.child))

    def start(self) -> None:
        """Check now and again, as long as the runner serves."""
        for child in self._children:
            if not child.is_live:  # a session that ended while no runner ran
                self._remove(child)
        self._poll()

    def _poll(self) -> None:
        self.check()
        self._call_later(POLL_INTERVAL, self._poll)

    def check(self) -> None:
        """Tell the sessions that are not at this runner's hub where it is."""
        live = self._children.live()
        self._reports.refresh(live)
        if not self._is_linked():
            return
        access, now = self._access(), self._now()
        for child in live:
            if child.report is None or child.report.hub is None:
                continue
            if not is_elsewhere(child.report, access, now):
                self._forget(child)
            elif self._told.get(child.attempt) != access:
                self._tell(child, access)

    def warnings(self) -> list[str]:
        """What `status` and `doctor` say of sessions that are not connected."""
        access, now = self._access(), self._now()
        return [
            warning
            for child in self._children.live()
            if is_elsewhere(child.report, access, now)
            and (warning := self._warning(child, access)) is not None
        ]

    def _warning(self, child: Child, access: HubAccess) -> str | None:
        name = child.session_id or f"PID-{child.pid}"
        reason = describe_disconnection(child.report)
        if not self._is_linked():
            return f"Session {name} is {reason}. {REMEDY}" if reason else None
        reason = reason or f"connected to another hub and not to {access.url}"
        return (
            f"Session {name} is {reason}. It gets the runner's hub and token within seconds; if "
            f"it stays so, see `hapi runner logs {name}`"
        )

    def _tell(self, child: Child, access: HubAccess) -> None:
        self._told[child.attempt] = access
        told = AttemptHubAccess(access.url, access.token, dict(access.headers))
        self.log.info(
            "Session {session_id} is {reason}; it is told the hub of this runner",
            session_id=child.session_id,
            reason=describe_disconnection(child.report) or "connected to another hub",
        )
        folder = child.folder
        self._disk.do(lambda: _write(folder, told)).addErrback(self._not_written, child)

    def _not_written(self, failure: Failure, child: Child) -> None:
        self._told.pop(child.attempt, None)
        self.log.error(
            "Session {session_id} could not be told the hub of this runner: {reason}",
            session_id=child.session_id,
            reason=failure.getErrorMessage(),
        )

    def _forget(self, child: Child) -> None:
        """Remove what was told: also what an earlier runner told, therefore once for each."""
        if self._told.get(child.attempt, child) is not None:
            self._told[child.attempt] = None
            self._remove(child)

    def _ended(self, child: Child) -> None:
        self._told.pop(child.attempt, None)
        self._remove(child)

    def _remove(self, child: Child) -> None:
        folder = child.folder
        self._disk.do(folder.remove_hub).addErrback(
            lambda failure: self.log.error(
                "{path} was not removed: {reason}",
                path=str(folder.hub_path),
                reason=failure.getErrorMessage(),
            )
        )


def _write(folder: AttemptFolder, told: AttemptHubAccess) -> None:
    folder.hub = told
