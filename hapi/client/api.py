"""A client of a hub's REST API for programs on Twisted. It works with every hub, npm's too."""

from __future__ import annotations

import uuid
from typing import Any, Literal
from urllib.parse import quote

import msgspec

from hapi.client.entities import (
    Machine,
    Message,
    ResumableSession,
    ResumeTarget,
    Session,
    SessionSummary,
    Spawned,
)
from hapi.client.events import EventStream
from hapi.client.transport import Transport
from hapi.protocol.rest.bodies import Approve, CreateShareLink, Deny, Spawn
from hapi.settings import HubAccess

Approval = Literal["approved", "approved_for_session"]
Denial = Literal["denied", "abort"]


class _Any(msgspec.Struct):
    """A reply of which nothing is needed."""


class _Sessions(msgspec.Struct):
    sessions: list[SessionSummary]


class _Session(msgspec.Struct):
    session: Session


class _Machines(msgspec.Struct):
    machines: list[Machine]


class _Messages(msgspec.Struct):
    messages: list[Message]


class _ShareLinks(msgspec.Struct):
    links: list[dict[str, Any]]


class _Resumable(msgspec.Struct):
    sessions: list[ResumableSession]


class _Target(msgspec.Struct):
    target: ResumeTarget


class _Reopened(msgspec.Struct, rename="camel"):
    session_id: str


class _Invoked(msgspec.Struct, rename="camel"):
    local_id: str
    invoked_at: int


class _QueuedState(msgspec.Struct, rename="camel"):
    queued_local_ids: list[str] = []
    indeterminate_local_ids: list[str] = []
    invoked_local_messages: list[_Invoked] = []


def _id(text: str) -> str:
    """`text` as one segment of a path."""
    return quote(text, safe="")


class ApiClient:
    """Sessions and machines of one hub, as the owner of an access token sees them.

    Every method raises HubError (`hapi.client.errors`, one class for each kind of refusal) or
    HubUnreachable. Logging in, and logging in again when the web token has expired, is done by the
    client.
    """

    def __init__(self, reactor: Any, access: HubAccess, http: Any = None) -> None:
        """`http`: a client like `treq.client.HTTPClient`; by default one is made."""
        self._transport = Transport(reactor, access, http)

    @property
    def clock(self) -> Any:
        """The reactor of the client."""
        return self._transport.reactor

    # --- machines
    async def machines(self) -> list[Machine]:
        """The connected machines."""
        return (await self._transport.request("GET", "/api/machines", _Machines)).machines

    async def spawn(
        self, machine_id: str, directory: str, agent: str = "claude", **settings: Any
    ) -> Spawned:
        """Start a session. `settings`: further fields of `hapi.protocol.rest.bodies.Spawn`, such as
        `model` and `permission_mode`.
        """
        body = Spawn(directory=directory, agent=agent, **settings)
        path = f"/api/machines/{_id(machine_id)}/spawn"
        return await self._transport.request("POST", path, Spawned, body)

    # --- sessions
    async def sessions(
        self, limit: int | None = None, order: str | None = None
    ) -> list[SessionSummary]:
        """The sessions in the order of the page: those that wait for somebody first; or with the
        order `updatedAt` those that changed last.
        """
        query = {"limit": limit, "order": order}
        found = await self._transport.request("GET", "/api/sessions", _Sessions, query=query)
        return found.sessions

    async def session(self, session_id: str) -> Session:
        path = f"/api/sessions/{_id(session_id)}"
        return (await self._transport.request("GET", path, _Session)).session

    async def rename(self, session_id: str, name: str) -> None:
        path = f"/api/sessions/{_id(session_id)}"
        await self._transport.request("PATCH", path, _Any, {"name": name})

    async def stop(self, session_id: str) -> None:
        """Stop the turn; the session goes on."""
        await self._post(session_id, "abort")

    async def archive(self, session_id: str) -> None:
        """End the process of a session; its messages are kept."""
        await self._post(session_id, "archive")

    async def reopen(self, session_id: str) -> str:
        """Start an archived session again; the result is its id, which may be another one."""
        path = f"/api/sessions/{_id(session_id)}/reopen"
        return (await self._transport.request("POST", path, _Reopened, {})).session_id

    async def resume(self, session_id: str) -> str:
        """Start a session again whose process has ended; the result is its id, which may be another
        one. A session that runs is left alone.
        """
        path = f"/api/sessions/{_id(session_id)}/resume"
        return (await self._transport.request("POST", path, _Reopened, {})).session_id

    # --- going on in a terminal
    async def resumable(self, machine_id: str) -> list[ResumableSession]:
        """The sessions of a machine that a terminal can go on with, the newest first."""
        path = f"/cli/sessions/resumable?machineId={_id(machine_id)}&all=true"
        return (await self._transport.program_request("GET", path, _Resumable)).sessions

    async def resume_target(self, session_id: str) -> ResumeTarget:
        """What a program needs to go on with a session. Raises Conflict with the code
        `resume_unavailable` if its agent has none yet.
        """
        path = f"/cli/sessions/{_id(session_id)}/resume-target?all=true"
        return (await self._transport.program_request("GET", path, _Target)).target

    async def hand_off(self, session_id: str) -> None:
        """Have the process of a session leave it, so that another one can go on with it."""
        path = f"/cli/sessions/{_id(session_id)}/handoff-local"
        await self._transport.program_request("POST", path, _Any, {})

    async def delete(self, session_id: str) -> None:
        """Delete an inactive session with its messages."""
        await self._transport.request("DELETE", f"/api/sessions/{_id(session_id)}", _Any)

    # --- messages
    async def messages(
        self, session_id: str, limit: int = 50, before: Message | None = None
    ) -> list[Message]:
        """The newest messages, or those before `before`, oldest first; `limit` is at most 200.
        Prompts that wait are among the newest in any case.
        """
        path = f"/api/sessions/{_id(session_id)}/messages"
        query: dict[str, Any] = {"limit": limit}
        if before is not None:
            query |= {"beforeAt": before.position[0], "beforeSeq": before.seq}
        return (await self._transport.request("GET", path, _Messages, query=query)).messages

    async def invoked_at(self, session_id: str, local_id: str) -> int | None:
        """When the session took a prompt, in ms; None while it is queued. Raises LookupError if
        there is no such prompt (any more).
        """
        path = f"/api/sessions/{_id(session_id)}/messages/queued-state"
        body = {"localIds": [local_id]}
        found = await self._transport.request("POST", path, _QueuedState, body)
        for each in found.invoked_local_messages:
            if each.local_id == local_id:
                return each.invoked_at
        if local_id in (*found.queued_local_ids, *found.indeterminate_local_ids):
            return None
        raise LookupError(local_id)

    async def send(self, session_id: str, text: str, local_id: str | None = None) -> str:
        """Send a prompt. The result is its local id: a second call with the same one adds nothing,
        so that a prompt can be sent again when it is not known whether it arrived.
        """
        local_id = local_id or str(uuid.uuid4())
        await self._post(session_id, "messages", {"text": text, "localId": local_id})
        return local_id

    async def search(
        self,
        query: str,
        limit: int = 20,
        session_id: str | None = None,
        cursor: int | None = None,
    ) -> dict[str, Any]:
        """Messages that a query finds, the newest first: the reply of `GET /api/search`."""
        given = {"q": query, "limit": limit, "sessionId": session_id, "cursor": cursor}
        return await self._transport.request("GET", "/api/search", dict[str, Any], query=given)

    async def export(self, session_id: str, as_markdown: bool = False) -> bytes:
        """A whole conversation, as JSON or Markdown."""
        path = f"/api/sessions/{_id(session_id)}/export{'/markdown' if as_markdown else ''}"
        return await self._transport.content("GET", path, query={"force": "true"})

    # --- share links
    async def share(
        self,
        session_id: str,
        expires_in: int | None = None,
        includes_later: bool = False,
        includes_tools: bool = False,
        includes_thoughts: bool = False,
    ) -> dict[str, Any]:
        """Make a link under which anybody may read a conversation; `expires_in` in ms. `url` of the
        result is its address, which is told this once.
        """
        body = CreateShareLink(expires_in, includes_later, includes_tools, includes_thoughts)
        path = f"/api/sessions/{_id(session_id)}/share-links"
        link = await self._transport.request("POST", path, dict[str, Any], body)
        return {**link, "url": self._transport.access.url.rstrip("/") + str(link["path"])}

    async def share_links(self, session_id: str) -> list[dict[str, Any]]:
        """The share links of a conversation that are in force, without their addresses."""
        path = f"/api/sessions/{_id(session_id)}/share-links"
        found = await self._transport.request("GET", path, _ShareLinks)
        return found.links

    async def revoke_share_link(self, session_id: str, link_id: str) -> None:
        path = f"/api/sessions/{_id(session_id)}/share-links/{_id(link_id)}"
        await self._transport.request("DELETE", path, _Any)

    # --- permission requests
    async def approve(
        self,
        session_id: str,
        request_id: str,
        decision: Approval = "approved",
        option_id: str | None = None,
        answers: dict[str, Any] | None = None,
    ) -> None:
        """Approve a permission request, or answer a question with `answers`."""
        body = Approve(decision=decision, option_id=option_id, answers=answers)
        await self._post(session_id, f"permissions/{_id(request_id)}/approve", body)

    async def deny(
        self,
        session_id: str,
        request_id: str,
        decision: Denial = "denied",
        reason: str | None = None,
    ) -> None:
        """Deny a permission request. `abort` stops the turn as well; `reason` is what the agent
        gets as its next prompt.
        """
        body = Deny(decision=decision, reason=reason)
        await self._post(session_id, f"permissions/{_id(request_id)}/deny", body)

    # --- events
    def events(self, session_id: str | None = None) -> EventStream:
        """The events of one session, or of all sessions and machines, as they happen."""
        query = {"all": "true"} if session_id is None else {"sessionId": session_id}
        return EventStream(self._transport, query)

    async def _post(self, session_id: str, action: str, body: Any = None) -> None:
        path = f"/api/sessions/{_id(session_id)}/{action}"
        await self._transport.request("POST", path, _Any, {} if body is None else body)
