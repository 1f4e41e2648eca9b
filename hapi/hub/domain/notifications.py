"""Short notes to people who are looking at a page: a permission is wanted, an agent waits."""

from __future__ import annotations

from pathlib import PurePosixPath

from attrs import define, field
from twisted.internet.interfaces import IDelayedCall

from hapi.agents import BUILT_IN
from hapi.hub.domain.entities import Session
from hapi.hub.domain.registry import Engine

PAUSE = 0.5  # seconds: a request answered meanwhile needs no note
COOLDOWN = 5.0  # seconds between two notes that a session is ready


@define(eq=False)
class Toasts:
    engine: Engine
    _known: dict[str, set[str]] = field(factory=dict)  # session id -> requests seen
    _waiting: dict[str, IDelayedCall] = field(factory=dict)
    _told: dict[str, float] = field(factory=dict)

    def state_changed(self, session: Session) -> None:
        """A session's agent state was written: note requests that are new."""
        before, now = self._known.get(session.id, set()), set(session.requests)
        self._known[session.id] = now
        if now - before and session.id not in self._waiting:
            self._waiting[session.id] = self.engine.clock.callLater(
                PAUSE, self._tell_request, session
            )

    def _tell_request(self, session: Session) -> None:
        self._waiting.pop(session.id, None)
        requests = session.requests
        if not requests or self.engine.sessions.get(session.id) is not session:
            return
        newest = max(requests.values(), key=lambda request: _number(request.get("createdAt")))
        tool = newest.get("tool")
        where = f"{place(session)} ({tool})" if isinstance(tool, str) and tool else place(session)
        self._toast(session, "Permission Request", where)

    def ready(self, session: Session) -> None:
        """A session waits for input."""
        now = self.engine.clock.seconds()
        if now - self._told.get(session.id, float("-inf")) < COOLDOWN:
            return
        self._told[session.id] = now
        agent = BUILT_IN.get(session.flavor)
        label = session.flavor.capitalize() if agent is None else agent.label
        self._toast(session, "Ready for input", f"{label} is waiting in {place(session)}")

    def _toast(self, session: Session, title: str, body: str) -> None:
        data = {
            "title": title,
            "body": body,
            "sessionId": session.id,
            "url": f"/sessions/{session.id}",
        }
        self.engine.events.toast(session.namespace, data)

    def forget(self, session_id: str) -> None:
        self._known.pop(session_id, None)
        self._told.pop(session_id, None)
        call = self._waiting.pop(session_id, None)
        if call is not None and call.active():
            call.cancel()

    def stop(self) -> None:
        for session_id in list(self._waiting):
            self.forget(session_id)


def place(session: Session) -> str:
    """What people call the session: its name, its summary, or the last part of its directory."""
    name, summary, path = (
        session.shown.get("name"),
        session.shown.get("summary"),
        session.shown.get("path"),
    )
    text = summary.get("text") if isinstance(summary, dict) else None
    return (
        name
        or (text if isinstance(text, str) and text else None)
        or PurePosixPath(path or "session").name
        or "session"
    )


def _number(value: object) -> float:
    return value if isinstance(value, (int, float)) and not isinstance(value, bool) else 0
