"""Sessions that nobody ended and that are gone all the same, by a reboot or a kill: who they are, and how they come back."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from attrs import define, frozen
from twisted.internet.defer import Deferred
from twisted.logger import Logger

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

BY_US = "revive"  # how `asked_by` begins
TRIES, WITHIN = 3, 3600.0  # revivals of one session by ourselves, in so many seconds
FIRST, LONGEST = 2.0, 60.0  # seconds between tries that fail
NOT_AGAIN = frozenset(
    {"sessionType", "worktreeName", "forkSession", "sessionId"}
)  # of what was asked the first time


@frozen
class Interrupted:
    """A session that can be brought back. `resume_id` is the agent's own name of it; without one it begins without memory."""

    session_id: str
    attempt: str
    agent: str
    directory: str
    resume_id: str | None
    ended_at: float | None  # epoch seconds; None: nobody knows
    reason: str
    tries: int  # revivals of late

    def told(self) -> dict[str, Any]:
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
    """Why an end was none that anybody wanted; None for one that was: asked for, or in order."""
    if end is None or (stop is not None and stop.actor != "machine") or end.exit_code == 0:
        return None
    if stop is not None:
        return stop.reason
    if end.signal is not None:
        return f"ended by {end.signal}"
    return "its end was not seen" if end.exit_code is None else f"exit code {end.exit_code}"


def interrupted(children: Iterable[Child], now: float) -> list[Interrupted]:
    """The sessions to offer, the one that began first at the beginning. Those of a terminal are their user's."""
    newest: dict[str, Child] = {}
    tries: dict[str, int] = {}
    for child in sorted(children, key=lambda child: child.attempt):
        request = child.folder.request
        if request is None:
            continue
        if (
            child.spec.requested_id
            and request.asked_by.startswith(BY_US)
            and now - child.spec.started_at < WITHIN
        ):
            tries[child.spec.requested_id] = tries.get(child.spec.requested_id, 0) + 1
        if child.state == "refused" and not child.is_live:
            continue  # a start that came to nothing is not the session's last life
        for name in {child.session_id, child.spec.requested_id} - {None}:
            newest[str(name)] = child
    found = [
        _offer(name, child, tries.get(name, 0))
        for name, child in newest.items()
        if name == child.session_id
    ]
    return sorted(filter(None, found), key=lambda one: one.attempt)


def _offer(session_id: str, child: Child, tries: int) -> Interrupted | None:
    if child.is_live or child.spec.started_by != "runner":
        return None
    folder = child.folder
    end, request, session = folder.end, folder.request, folder.session
    reason = interruption(folder.stop, end)
    if reason is None or request is None:
        return None
    resume = (session.agent_session_id if session else None) or request.resume_session_id
    ended_at = None if end is None else end.at
    return Interrupted(
        session_id,
        child.attempt,
        child.spec.agent,
        child.spec.directory,
        resume,
        ended_at,
        reason,
        tries,
    )


def request_for(one: Interrupted, options: dict[str, Any]) -> SpawnRequest:
    """The start that goes on with it: as it was asked for, in the directory where it was. Raises MalformedSpawn."""
    kept = {key: value for key, value in options.items() if key not in NOT_AGAIN}
    return parse_spawn(
        {
            **kept,
            "directory": one.directory,
            "agent": one.agent,
            "approvedNewDirectoryCreation": False,
            "existingSessionId": one.session_id,
            "resumeSessionId": one.resume_id,
        }
    )


@define(eq=False)
class Reviver:
    """Brings sessions back, one after another, through the same checks as every start."""

    _children: Iterable[Child]
    _spawn: Callable[[SpawnRequest, str], Awaitable[SpawnResult]]
    _later: Callable[[float, Callable[[], object]], object]
    _now: Callable[[], float]
    record_event: RecordEvent = discard_event
    log = Logger()

    def offered(self) -> list[Interrupted]:
        return interrupted(self._children, self._now())

    def offer(self, at_once: bool) -> None:
        """Tell how many there are, and bring them back if that is wanted `at_once`."""
        offered = self.offered()
        if not offered:
            return
        self.log.info(
            "{count} sessions were interrupted: `hapi runner revive` brings them back",
            count=len(offered),
        )
        if at_once:
            reviving = Deferred.fromCoroutine(self.revive_all())
            reviving.addErrback(lambda reason: self.log.failure("Reviving failed", reason))

    async def revive(self, session_id: str, actor: str) -> SpawnResult:
        """Bring back the one of that id; what is not on offer is refused."""
        one = next(
            (one for one in self.offered() if session_id in (one.session_id, one.attempt)), None
        )
        if one is None:
            return SpawnRefused(
                "There is no interrupted session of that name", RefusalCode.NOT_INTERRUPTED
            )
        child = next(child for child in self._children if child.attempt == one.attempt)
        request = child.folder.request
        try:
            wanted = request_for(one, {} if request is None else request.options)
        except MalformedSpawn as error:
            return SpawnRefused(f"The session cannot be started again: {error}")
        self.record_event("revive", child.ids, reason=one.reason, actor=actor)
        return await self._spawn(wanted, f"{BY_US}: {actor}")

    async def revive_all(self) -> int:
        """All that are on offer, with a pause after each that fails; one that failed too often is left. How many came back."""
        count, pause = 0, FIRST
        for one in self.offered():
            if one.tries >= TRIES:
                reason = f"revived {one.tries} times within the hour"
                self.log.warn(
                    "Session {session_id} is left: {reason}",
                    session_id=one.session_id,
                    reason=reason,
                )
                self.record_event(
                    "revive-refused", session=one.session_id, reason=reason, actor="runner"
                )
                continue
            for left in reversed(range(TRIES - one.tries)):
                if isinstance(await self.revive(one.session_id, "runner"), Spawned):
                    count, pause = count + 1, FIRST
                    break
                if left:
                    await self._rest(pause)
                    pause = min(pause * 2, LONGEST)
        return count

    async def _rest(self, seconds: float) -> None:
        over: Deferred[None] = Deferred()
        self._later(seconds, lambda: over.callback(None))
        await over
