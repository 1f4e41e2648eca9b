"""What people are notified of: a permission request, an agent that waits for input, a session that
has ended or is silent in the middle of a turn. Pages in view are notified here; `on_notice` passes
the notices on to devices.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from pathlib import PurePosixPath
from typing import Any

from attrs import define, field, frozen
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger

from hapi.hub.domain.entities import HubSession
from hapi.hub.domain.registry import HubRegistry
from hapi.hub.store.rows import TurnEvent
from hapi.protocol import events as protocol_events
from hapi.protocol.agents import agent_named
from hapi.units import plural

PERMISSION_DELAY = 0.5  # seconds: a request answered meanwhile needs no notification
NEW_REQUEST = 1500  # ms: of an older one the hub has notified that served the session before
READY_COOLDOWN = 5.0  # seconds between two notifications that a session is ready
END_DELAY = 5.0  # seconds: a session that is resumed meanwhile has not ended
STUCK_AFTER = 600.0  # seconds without a record in the middle of a turn
# Archive reasons of sessions that people have ended or taken into a terminal.
BY_PERSON = frozenset({"User terminated", "Handed off to local terminal"})


class NoticeKind(StrEnum):
    """The values are words of the wire."""

    PERMISSION = "permission-request"
    READY = "ready"
    ENDED = "ended"
    STUCK = "stuck"


@frozen
class Notice:
    """Something that people are told of one session."""

    kind: NoticeKind
    session: HubSession
    title: str
    body: str
    request_id: str | None = None  # of a permission request
    request: Any = None  # the permission request as the session wrote it


@define(eq=False, repr=False)
class Notifications:
    registry: HubRegistry
    _seen_requests: dict[str, set[str]] = field(factory=dict)  # session id -> known requests
    _pending: dict[str, IDelayedCall] = field(factory=dict)
    _last_ready: dict[str, float] = field(factory=dict)
    _last_record: dict[str, float] = field(factory=dict)  # session id -> clock seconds
    _stuck: dict[str, int | None] = field(factory=dict)  # session id -> turn that was reported
    on_notice: list[Callable[[Notice], None]] = field(factory=list)
    # called with a session when one of its permission requests has been answered or withdrawn
    on_settled: list[Callable[[HubSession, frozenset[str]], None]] = field(factory=list)

    log = Logger()

    def state_changed(self, session: HubSession) -> None:
        """The agent state of a session was written: notify about new permission requests."""
        before, now = self._seen_requests.get(session.id, set()), set(session.requests)
        self._seen_requests[session.id] = now
        if settled := frozenset(before - now):
            for call in self.on_settled:
                self._call(call, session, settled)
        if now - before and session.id not in self._pending:
            self._pending[session.id] = self.registry.clock.callLater(
                PERMISSION_DELAY, self._notify_request, session
            )

    def _notify_request(self, session: HubSession) -> None:
        self._pending.pop(session.id, None)
        requests = session.requests
        if not requests or self.registry.sessions.get(session.id) is not session:
            return
        request_id, newest = max(
            requests.items(), key=lambda item: _as_number(item[1].get("createdAt"))
        )
        tool = newest.get("tool")
        where = (
            f"{session_label(session)} ({tool})"
            if isinstance(tool, str) and tool
            else session_label(session)
        )
        kind, title = NoticeKind.PERMISSION, "Permission Request"
        self._notify(Notice(kind, session, title, where, request_id, newest))

    def session_ready(self, session: HubSession) -> None:
        """Notify that the agent of a session waits for input."""
        now = self.registry.clock.seconds()
        if now - self._last_ready.get(session.id, float("-inf")) < READY_COOLDOWN:
            return
        self._last_ready[session.id] = now
        label = agent_named(session.flavor).label
        body = f"{label} is waiting in {session_label(session)}"
        self._notify(Notice(NoticeKind.READY, session, "Ready for input", body))

    def session_ended(self, session: HubSession) -> None:
        """The process of a session has ended: tell whoever is not looking, unless a person has
        ended it or it goes on at once.
        """
        self.registry.clock.callLater(END_DELAY, self._notify_end, session)

    def _notify_end(self, session: HubSession) -> None:
        is_gone = self.registry.sessions.get(session.id) is not session
        reason = session.public_metadata.get("archiveReason")
        if is_gone or session.active or reason in BY_PERSON:
            return
        text = f"{session_label(session)}: {reason}" if reason else session_label(session)
        self._pass_on(Notice(NoticeKind.ENDED, session, "Session ended", text))

    def stored(self, event: TurnEvent) -> None:
        """A turn of the store was committed: a record is a sign of life of its session."""
        if event.kind == protocol_events.MESSAGE_RECEIVED:
            self._last_record[event.fields["sessionId"]] = self.registry.clock.seconds()

    async def check_stuck(self) -> None:
        """Notify of sessions that have sent nothing for ten minutes in the middle of a turn."""
        now = self.registry.clock.seconds()
        for session in list(self.registry.sessions.values()):
            is_working = session.active and session.thinking and not session.requests
            if not is_working or not self.registry.judges(session.id):
                self._stuck.pop(session.id, None)
                self._last_record[session.id] = now
                continue
            since = self._last_record.setdefault(session.id, now)
            turn = session.turn_started_at
            if now - since >= STUCK_AFTER and self._stuck.get(session.id, -1) != turn:
                self._stuck[session.id] = turn
                silence = plural(int(now - since) // 60, "minute")
                body = f"{session_label(session)}: nothing for {silence}"
                self._pass_on(Notice(NoticeKind.STUCK, session, "Session is silent", body))

    def _notify(self, notice: Notice) -> None:
        """Notify the pages in view, and the devices."""
        session = notice.session
        data = {
            "title": notice.title,
            "body": notice.body,
            "sessionId": session.id,
            "url": f"/sessions/{session.id}",
        }
        self._pass_on(notice)
        self.registry.events.publish_notification(session.namespace, data)

    def _pass_on(self, notice: Notice) -> None:
        for call in self.on_notice:
            self._call(call, notice)

    def _call(self, call: Callable[..., None], *values: object) -> None:
        try:
            call(*values)
        except Exception:
            self.log.failure("A notification could not be passed on")

    def took_over(self, session_id: str) -> None:
        """Another hub has notified of this session so far, but not of what it has just heard."""
        session = self.registry.sessions.get(session_id)
        if session is not None:
            since = self.registry.now() - NEW_REQUEST
            self._seen_requests[session_id] = {
                name
                for name, request in session.requests.items()
                if _as_number(request.get("createdAt")) < since
            }
            self._last_record[session_id] = self.registry.clock.seconds()
            self.state_changed(session)

    def remembers(self, session_id: str) -> bool:
        kept = (self._seen_requests, self._pending, self._last_ready, self._last_record)
        return any(session_id in table for table in kept)

    def forget(self, session_id: str) -> None:
        """The session was deleted or merged into another: drop what is known of it."""
        self._seen_requests.pop(session_id, None)
        self._last_ready.pop(session_id, None)
        self._last_record.pop(session_id, None)
        self._stuck.pop(session_id, None)
        call = self._pending.pop(session_id, None)
        if call is not None and call.active():
            call.cancel()

    def stop(self) -> None:
        for session_id in list(self._pending):
            self.forget(session_id)


def session_label(session: HubSession) -> str:
    """What people call the session: its name, its summary, or the last part of its path."""
    name, summary, path = (
        session.public_metadata.get("name"),
        session.public_metadata.get("summary"),
        session.public_metadata.get("path"),
    )
    text = summary.get("text") if isinstance(summary, dict) else None
    return (
        name
        or (text if isinstance(text, str) and text else None)
        or PurePosixPath(path or "session").name
        or "session"
    )


def _as_number(value: object) -> float:
    return value if isinstance(value, (int, float)) and not isinstance(value, bool) else 0
