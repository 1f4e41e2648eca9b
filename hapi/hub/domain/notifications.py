"""Notifications to people who have a page in view: a permission request, an agent that waits for
input.
"""

from __future__ import annotations

from pathlib import PurePosixPath

from attrs import define, field
from twisted.internet.interfaces import IDelayedCall

from hapi.hub.domain.entities import HubSession
from hapi.hub.domain.registry import HubRegistry
from hapi.protocol.agents import agent_named

PERMISSION_DELAY = 0.5  # seconds: a request answered meanwhile needs no notification
READY_COOLDOWN = 5.0  # seconds between two notifications that a session is ready


@define(eq=False)
class Notifications:
    registry: HubRegistry
    _seen_requests: dict[str, set[str]] = field(factory=dict)  # session id -> known requests
    _pending: dict[str, IDelayedCall] = field(factory=dict)
    _last_ready: dict[str, float] = field(factory=dict)

    def state_changed(self, session: HubSession) -> None:
        """The agent state of a session was written: notify about new permission requests."""
        before, now = self._seen_requests.get(session.id, set()), set(session.requests)
        self._seen_requests[session.id] = now
        if now - before and session.id not in self._pending:
            self._pending[session.id] = self.registry.clock.callLater(
                PERMISSION_DELAY, self._notify_request, session
            )

    def _notify_request(self, session: HubSession) -> None:
        self._pending.pop(session.id, None)
        requests = session.requests
        if not requests or self.registry.sessions.get(session.id) is not session:
            return
        newest = max(requests.values(), key=lambda request: _as_number(request.get("createdAt")))
        tool = newest.get("tool")
        where = (
            f"{session_label(session)} ({tool})"
            if isinstance(tool, str) and tool
            else session_label(session)
        )
        self._notify(session, "Permission Request", where)

    def session_ready(self, session: HubSession) -> None:
        """Notify that the agent of a session waits for input."""
        now = self.registry.clock.seconds()
        if now - self._last_ready.get(session.id, float("-inf")) < READY_COOLDOWN:
            return
        self._last_ready[session.id] = now
        label = agent_named(session.flavor).label
        self._notify(session, "Ready for input", f"{label} is waiting in {session_label(session)}")

    def _notify(self, session: HubSession, title: str, body: str) -> None:
        data = {
            "title": title,
            "body": body,
            "sessionId": session.id,
            "url": f"/sessions/{session.id}",
        }
        self.registry.events.publish_notification(session.namespace, data)

    def remembers(self, session_id: str) -> bool:
        kept = (self._seen_requests, self._pending, self._last_ready)
        return any(session_id in table for table in kept)

    def forget(self, session_id: str) -> None:
        """The session was deleted or merged into another: drop what is known of it."""
        self._seen_requests.pop(session_id, None)
        self._last_ready.pop(session_id, None)
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
