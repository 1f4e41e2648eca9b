"""What sessions tell of themselves in their folders: read when somebody asks, at each beat, and soon after an announcement."""

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
from hapi.runner.attempts.start_lease import stamp_of
from hapi.runner.storage.disk import Disk, SynchronousDisk

GLANCE, FOLLOW_FOR = (
    0.5,
    120.0,
)  # seconds between looks at one that is not ready yet, and how long we go on
FRESH = 0.25  # seconds for which what was read counts as of now


@define(eq=False)
class ReportMonitor:
    """Keeps `child.report` as its folder has it. `on_ready` hears once of each agent that is able to take a prompt."""

    _clock: IReactorTime
    _later: Callable[
        [float, Callable[[], object]], object
    ]  # callLater, for as long as the runner serves
    on_ready: Callable[[Child], object] = field(default=lambda child: None)
    _disk: Disk = field(factory=SynchronousDisk)
    _followed: dict[str, tuple[Child, float]] = field(factory=dict)  # attempt → until when
    _stamps: dict[str, object] = field(factory=dict)
    _looked: float = -FRESH
    log = Logger()

    def follow(self, child: Child) -> None:
        """It has announced itself: look until it is ready, has ended, or takes too long for that."""
        idle = not self._followed
        self._followed[child.attempt] = child, self._clock.seconds() + FOLLOW_FOR
        if idle:
            self._later(GLANCE, self._glance)

    def _glance(self) -> None:
        now = self._clock.seconds()
        for attempt, (child, until) in list(self._followed.items()):
            self.read(child)
            if child.state != "announced" or now >= until:
                del self._followed[attempt]
        if self._followed:
            self._later(GLANCE, self._glance)

    def refresh(self, children: Iterable[Child]) -> None:
        """At all of them, unless that was done just now."""
        now = self._clock.seconds()
        if now - self._looked >= FRESH:
            self._looked = now
            for child in children:
                self.read(child)

    def read(self, child: Child) -> None:
        stamp = stamp_of(
            f"{child.folder.path}/{REPORT}"
        )  # as text: a thousand of them are looked at in a row
        if stamp is None or self._stamps.get(child.attempt) == stamp:
            return
        self._stamps[child.attempt] = stamp
        report = child.folder.report
        if report is None:
            return
        child.report = report
        self._keep_agent_session(child, report)
        if report.ready and child.state == "announced":
            child.life.ready()
            self.on_ready(child)

    def _keep_agent_session(self, child: Child, report: AttemptReport) -> None:
        """The name under which its agent resumes is for later runners: it goes where it outlives a power cut."""
        if report.agent_session_id is not None:
            keeping = self._disk.do(lambda: _keep(child.folder, report.agent_session_id))
            keeping.addErrback(self._not_kept, child)

    def _not_kept(self, failure: Failure, child: Child) -> None:
        reason = failure.getErrorMessage()
        self.log.error(
            "The resume id of {attempt} was not saved: {reason}",
            attempt=child.attempt,
            reason=reason,
        )

    def forget(self, child: Child) -> None:
        self._stamps.pop(child.attempt, None)


def _keep(folder: AttemptFolder, agent_session_id: str | None) -> None:
    session = folder.session
    if session is not None and session.agent_session_id != agent_session_id:
        folder.session = msgspec.structs.replace(session, agent_session_id=agent_session_id)
