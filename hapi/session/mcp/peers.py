"""The person's other sessions, as the tools for peers see them: through the hub's REST API."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from typing import Any, Protocol
from urllib.parse import quote

from attrs import define, field
from twisted.internet.task import deferLater

from hapi.session.hub.message_text import spoken_text

MAX_SNIPPET = 500  # characters of a message that `inspect_peer` shows
# Two agents that answer one another would otherwise go on until somebody notices.
MAX_PINGS, PING_PERIOD = 20, 600.0  # messages to other sessions within so many seconds
ACTIVE_TIMEOUT, ACTIVE_POLL_INTERVAL = 60.0, 1.0  # seconds for a resumed session to be active


class PeerProblem(Exception):
    """A peer cannot be found or messaged; the text is for the model."""


class Web(Protocol):
    """The part of `HubClient` that is used."""

    async def web_request(
        self, method: str, path: str, body: Mapping[str, Any] | None = None
    ) -> dict[str, Any]: ...


@define(eq=False, repr=False)
class PeerSessions:
    """The sessions of the namespace besides the session `own_id`. `client` makes a hub client."""

    _reactor: Any
    own_id: str
    _client: Callable[[], Web]
    _pings: deque[float] = field(factory=deque)

    async def list_lines(self, limit: int) -> str:
        """One line for each session, the latest first."""
        sessions = await self._sessions(f"?limit={limit + 2}&order=updatedAt")  # as npm asks
        others = [one for one in sessions if one.get("id") != self.own_id][:limit]
        return "\n".join(_line(one) for one in others) or "There are no other sessions"

    async def inspect(self, prefix: str, limit: int) -> str:
        """What a session is about, and its latest texts."""
        client = self._client()
        peer = await self._find(prefix)
        path = _path(peer)
        session = _object(await client.web_request("GET", path), "session")
        answer = await client.web_request("GET", f"{path}/messages?limit={limit}")
        metadata = _object(session, "metadata")
        facts = {
            "sessionId": session.get("id"),
            "path": metadata.get("path"),
            "name": _title(session),
            "flavor": metadata.get("flavor"),
            "active": _flag(session, "active"),
            "thinking": _flag(session, "thinking"),
            "lifecycle": metadata.get("lifecycleState"),
            "updatedAt": session.get("updatedAt"),
        }
        messages = answer.get("messages")
        texts = [
            line
            for message in (messages if isinstance(messages, list) else ())
            if (line := _snippet(message)) is not None
        ]
        lines = [f"{name}: {value}" for name, value in facts.items() if value is not None]
        return "\n".join([*lines, f"messages (texts of the newest {limit}): {len(texts)}", *texts])

    async def ping(self, prefix: str, message: str) -> str:
        """Send `message` to a session; one that has ended is resumed first."""
        client, now = self._client(), self._reactor.seconds()
        peer = await self._find(prefix)
        while self._pings and now - self._pings[0] > PING_PERIOD:
            self._pings.popleft()
        if len(self._pings) >= MAX_PINGS:
            raise PeerProblem(
                f"{MAX_PINGS} messages were sent to other sessions within "
                f"{PING_PERIOD / 60:g} minutes; wait before you send more"
            )
        self._pings.append(now)
        if peer.get("active") is not True:
            resumed = await client.web_request("POST", f"{_path(peer)}/resume", {})
            peer = {**peer, "id": resumed.get("sessionId") or peer["id"]}
            await self._wait_until_active(client, peer)
        await client.web_request("POST", f"{_path(peer)}/messages", {"text": message})
        return f"The message was delivered to {peer['id']}"

    async def _wait_until_active(self, client: Web, peer: Mapping[str, Any]) -> None:
        deadline = self._reactor.seconds() + ACTIVE_TIMEOUT
        while True:
            session = _object(await client.web_request("GET", _path(peer)), "session")
            if session.get("active") is True:
                return
            if self._reactor.seconds() >= deadline:
                raise PeerProblem(
                    f"{peer['id']} was resumed but is not active after {ACTIVE_TIMEOUT:g} s"
                )
            await deferLater(self._reactor, ACTIVE_POLL_INTERVAL)

    async def _find(self, prefix: str) -> dict[str, Any]:
        """The one other session whose id begins with `prefix`. Raises PeerProblem."""
        found = [
            one for one in await self._sessions("") if str(one.get("id")).startswith(prefix.strip())
        ]
        if [one["id"] for one in found] == [self.own_id]:
            raise PeerProblem("That is this session itself")
        found = [one for one in found if one["id"] != self.own_id]
        if not found:
            raise PeerProblem(f"no session matching prefix '{prefix}'")
        if len(found) > 1:
            listed = "\n".join(_line(one) for one in found[:10])
            raise PeerProblem(f"{len(found)} sessions match the prefix '{prefix}':\n{listed}")
        return found[0]

    async def _sessions(self, query: str) -> list[dict[str, Any]]:
        answer = await self._client().web_request("GET", f"/api/sessions{query}")
        sessions = answer.get("sessions")
        return [
            one
            for one in (sessions if isinstance(sessions, list) else ())
            if isinstance(one, dict) and isinstance(one.get("id"), str)
        ]


def _path(session: Mapping[str, Any]) -> str:
    return f"/api/sessions/{quote(str(session['id']), safe='')}"


def _object(value: Mapping[str, Any], name: str) -> dict[str, Any]:
    found: Any = value.get(name)
    return dict(found) if isinstance(found, dict) else {}


def _flag(session: Mapping[str, Any], name: str) -> str:
    return "true" if session.get(name) is True else "false"


def _title(session: Mapping[str, Any]) -> str:
    metadata = _object(session, "metadata")
    title = metadata.get("name") or _object(metadata, "summary").get("text")
    return " ".join(str(title or metadata.get("path") or "").split())


def _line(session: Mapping[str, Any]) -> str:
    flavor = _object(session, "metadata").get("flavor")
    active = _flag(session, "active")
    return f"{session['id']}  active={active}  flavor={flavor}  {_title(session)}"


def _snippet(message: Any) -> str | None:
    """The line for a message of a conversation; None for what is not text."""
    said = spoken_text(message)
    if said is None:
        return None
    role, text = said
    plain = " ".join(text.split())
    return f"[{role}] {plain if len(plain) <= MAX_SNIPPET else plain[:MAX_SNIPPET] + '…'}"
