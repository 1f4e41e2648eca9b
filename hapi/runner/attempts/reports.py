"""The reports of sessions: read when a caller asks, at each heartbeat, and soon after an
announcement."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import msgspec
from attrs import define, field
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from hapi.attempts import REPORT, AttemptFolder
from hapi.protocol.attempt import AttemptReport
from hapi.runner.attempts.child import Child
from hapi.runner.attempts.start_lease import file_stamp
from hapi.runner.storage.disk import Disk, SynchronousDisk

READY_POLL_INTERVAL = 0.5  # seconds between reads of a report until the session is ready
READY_POLL_TIMEOUT = 120.0  # seconds after which a session is not polled any more
CACHE_TTL = 0.25  # seconds for which reports count as current


@define(eq=False, repr=False)
class ReportMonitor:
    """Keeps `child.report` current. `on_ready` is called once for each session whose agent can
    take a prompt."""

    _clock: IReactorTime
    _call_later: Callable[[float, Callable[[], object]], object]  # as long as the runner serves
    _on_ready: Callable[[Child], object] = field(default=lambda child: None)
    _disk: Disk = field(factory=SynchronousDisk)
    _polled: dict[str, tuple[Child, float]] = field(factory=dict)  # attempt → child, deadline
    _stamps: dict[str, object] = field(factory=dict)
    _refreshed_at: float = -CACHE_TTL
    log = Logger()

    def follow(self, child: Child) -> None:
        """Poll the report of a session that has announced itself until it is ready or ended."""
        was_idle = not self._polled
        self._polled[child.attempt] = child, self._clock.seconds() + READY_POLL_TIMEOUT
        if was_idle:
            self._call_later(READY_POLL_INTERVAL, self._poll)

    def _poll(self) -> None:
        now = self._clock.seconds()
        for attempt, (child, deadline) in list(self._polled.items()):
            self.read(child)
            if child.state != "announced" or now >= deadline:
                del self._polled[attempt]
        if self._polled:
            self._call_later(READY_POLL_INTERVAL, self._poll)

    def refresh(self, children: Iterable[Child]) -> None:
        """Read the reports of all `children`, unless that was done a moment ago."""
        now = self._clock.seconds()
        if now - self._refreshed_at >= CACHE_TTL:
            self._refreshed_at = now
            for child in children:
                self.read(child)

    def read(self, child: Child) -> None:
        """Read the report of `child` if it has changed."""
        # A path as text: a runner with a thousand sessions reads a thousand stamps in a row.
        stamp = file_stamp(f"{child.folder.path}/{REPORT}")
        if stamp is None or self._stamps.get(child.attempt) == stamp:
            return
        self._stamps[child.attempt] = stamp
        report = child.folder.report
        if report is None:
            return
        child.report = report
        self._save_agent_session(child, report)
        if report.ready and child.state == "announced":
            child.life.ready()
            self._on_ready(child)

    def _save_agent_session(self, child: Child, report: AttemptReport) -> None:
        """Save the id under which the agent resumes: a later runner needs it after a power cut."""
        if report.agent_session_id is not None:
            saving = self._disk.do(lambda: _save(child.folder, report.agent_session_id))
            saving.addErrback(self._not_saved, child)

    def _not_saved(self, failure: Failure, child: Child) -> None:
        self.log.error(
            "The resume id of {attempt} was not saved: {reason}",
            attempt=child.attempt,
            reason=failure.getErrorMessage(),
        )

    def forget(self, child: Child) -> None:
        """Drop what is known of a child whose folder was removed."""
        self._stamps.pop(child.attempt, None)


def _save(folder: AttemptFolder, agent_session_id: str | None) -> None:
    session = folder.session
    if session is not None and session.agent_session_id != agent_session_id:
        folder.session = msgspec.structs.replace(session, agent_session_id=agent_session_id)
