"""Interrupted sessions: ended by a reboot or a kill that nobody asked for, offered for revival,
and revived."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from attrs import define, frozen
from twisted.internet.defer import Deferred
from twisted.logger import Logger

from hapi.deferreds import run_in_background
from hapi.protocol.attempt import AttemptEnd, StopOrder
from hapi.protocol.spawn import (
    MalformedSpawn,
    RefusalCode,
    Spawned,
    SpawnRefused,
    SpawnRequest,
    SpawnResult,
    parse_spawn,
)
from hapi.runner.attempts.child import Child
from hapi.runner.storage.journal import RecordEvent, discard_event
from hapi.units import plural

REVIVED_BY = "revive"  # how `asked_by` of a revival begins
MAX_TRIES, TRIES_WINDOW = 3, 3600.0  # automatic revivals of one session within so many seconds
MIN_RETRY_DELAY, MAX_RETRY_DELAY = 2.0, 60.0  # seconds between tries that fail
NOT_REPEATED = frozenset(  # options of the first start that a revival leaves out
    {"sessionType", "worktreeName", "forkSession", "sessionId"}
)


@frozen
class InterruptedSession:
    """A session that can be revived."""

    session_id: str
    attempt: str
    agent: str
    directory: str
    resume_id: str | None  # the agent's own id of it; without one the agent begins without memory
    ended_at: float | None  # epoch seconds; None if unknown
    reason: str
    tries: int  # revivals within TRIES_WINDOW

    def as_json(self) -> dict[str, Any]:
        """As the control API shows it."""
        return {
            "sessionId": self.session_id,
            "attempt": self.attempt,
            "agent": self.agent,
            "directory": self.directory,
            "resumeSessionId": self.resume_id,
            "endedAt": None if self.ended_at is None else int(self.ended_at * 1000),
            "reason": self.reason,
            "tries": self.tries,
        }


def interruption(stop: StopOrder | None, end: AttemptEnd | None) -> str | None:
    """Why an end counts as an interruption; None for an end that was asked for or in order."""
    if end is None or (stop is not None and stop.actor != "machine") or end.exit_code == 0:
        return None
    if stop is not None:
        return stop.reason
    if end.signal is not None:
        return f"ended by {end.signal}"
    return "exit status unknown" if end.exit_code is None else f"exit code {end.exit_code}"


def interrupted_sessions(children: Iterable[Child], now: float) -> list[InterruptedSession]:
    """The sessions to offer, the oldest first. Sessions of a terminal are left to their user."""
    newest: dict[str, Child] = {}
    tries: dict[str, int] = {}
    for child in sorted(children, key=lambda child: child.attempt):
        request, requested_id = child.folder.request, child.spec.requested_id
        if request is None:
            continue
        is_recent = now - child.spec.started_at < TRIES_WINDOW
        if requested_id and is_recent and request.asked_by.startswith(REVIVED_BY):
            tries[requested_id] = tries.get(requested_id, 0) + 1
        if child.state == "refused" and not child.is_live:
            continue  # a start that failed is not the session's last life
        for name in {child.session_id, requested_id} - {None}:
            newest[str(name)] = child
    found = [
        _offer(name, child, tries.get(name, 0))
        for name, child in newest.items()
        if name == child.session_id
    ]
    return sorted(filter(None, found), key=lambda session: session.attempt)


def _offer(session_id: str, child: Child, tries: int) -> InterruptedSession | None:
    if child.is_live or child.spec.started_by != "runner":
        return None
    folder = child.folder
    end, request, session = folder.end, folder.request, folder.session
    reason = interruption(folder.stop, end)
    if reason is None or request is None:
        return None
    return InterruptedSession(
        session_id,
        child.attempt,
        child.spec.agent,
        child.spec.directory,
        (session.agent_session_id if session else None) or request.resume_session_id,
        None if end is None else end.at,
        reason,
        tries,
    )


def revival_request(session: InterruptedSession, options: dict[str, Any]) -> SpawnRequest:
    """The start that goes on with `session`, with the options of the first start, in the
    directory where it ran. Raises MalformedSpawn."""
    repeated = {key: value for key, value in options.items() if key not in NOT_REPEATED}
    return parse_spawn(
        {
            **repeated,
            "directory": session.directory,
            "agent": session.agent,
            "approvedNewDirectoryCreation": False,
            "existingSessionId": session.session_id,
            "resumeSessionId": session.resume_id,
        }
    )


@define(eq=False, repr=False)
class Reviver:
    """Revives sessions one after another, through the same checks as every start."""

    _children: Iterable[Child]
    _spawn: Callable[[SpawnRequest, str], Awaitable[SpawnResult]]
    _call_later: Callable[[float, Callable[[], object]], object]
    _now: Callable[[], float]
    record_event: RecordEvent = discard_event
    log = Logger()

    def offered(self) -> list[InterruptedSession]:
        """The interrupted sessions that can be revived."""
        return interrupted_sessions(self._children, self._now())

    def offer(self, automatically: bool) -> None:
        """Log how many sessions were interrupted, and revive them if wanted `automatically`."""
        offered = self.offered()
        if not offered:
            return
        self.log.info(
            "Interrupted: {sessions}; `hapi runner revive` lists and resumes what was interrupted",
            sessions=plural(len(offered), "session"),
            count=len(offered),
        )
        if automatically:
            run_in_background(self.revive_all(), self.log, "Reviving sessions failed")

    async def revive(self, session_id: str, actor: str) -> SpawnResult:
        """Revive the session of that id. One that is not on offer is refused."""
        names = ((session, (session.session_id, session.attempt)) for session in self.offered())
        session = next((session for session, known in names if session_id in known), None)
        if session is None:
            return SpawnRefused(
                "There is no interrupted session of that name", RefusalCode.NOT_INTERRUPTED
            )
        child = next(child for child in self._children if child.attempt == session.attempt)
        request = child.folder.request
        try:
            wanted = revival_request(session, {} if request is None else request.options)
        except MalformedSpawn as error:
            return SpawnRefused(f"The session cannot be started again: {error}")
        self.record_event("revive", child.ids, reason=session.reason, actor=actor)
        return await self._spawn(wanted, f"{REVIVED_BY}: {actor}")

    async def revive_all(self) -> int:
        """Revive every session on offer; the number of those that came back.

        A try that fails is repeated after a pause; a session that failed too often is left.
        """
        revived, pause = 0, MIN_RETRY_DELAY
        for session in self.offered():
            if session.tries >= MAX_TRIES:
                self._leave(session)
                continue
            for tries_left in reversed(range(MAX_TRIES - session.tries)):
                if isinstance(await self.revive(session.session_id, "runner"), Spawned):
                    revived, pause = revived + 1, MIN_RETRY_DELAY
                    break
                if tries_left:
                    await self._sleep(pause)
                    pause = min(pause * 2, MAX_RETRY_DELAY)
        return revived

    def _leave(self, session: InterruptedSession) -> None:
        reason = f"revived {plural(session.tries, 'time')} within the hour"
        self.log.warn(
            "Session {session_id} is not revived: {reason}",
            session_id=session.session_id,
            reason=reason,
        )
        self.record_event(
            "revive-refused", session=session.session_id, reason=reason, actor="runner"
        )

    async def _sleep(self, seconds: float) -> None:
        over: Deferred[None] = Deferred()
        self._call_later(seconds, lambda: over.callback(None))
        await over
