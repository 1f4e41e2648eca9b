"""Going on with a session in a terminal: which there are, and the hand-off of one that runs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
from attrs import define
from twisted.internet.task import deferLater

from hapi.hub.domain import content as contents
from hapi.hub.domain.damage import shown_model
from hapi.hub.domain.entities import HubSession
from hapi.hub.domain.errors import CallFailed, Conflict, TargetMissing, Unavailable
from hapi.hub.domain.registry import HubRegistry
from hapi.hub.domain.rpc import error_text
from hapi.hub.domain.termination import SessionTermination
from hapi.hub.domain.views import permission_mode
from hapi.protocol import rpc_methods
from hapi.protocol.agents import AGENTS
from hapi.protocol.hub import agent_session_id

MAX_RESUMABLE = 200  # sessions of a list, the newest
FIRST_RECORDS = 4  # of a conversation, among which its first prompt is
MAX_PROMPT_LENGTH = 500  # characters of the first prompt in a list
HANDOFF_TIMEOUT = 10.0  # seconds for the answer of the process
LEAVE_TIMEOUT, LEAVE_POLL_INTERVAL = 10.0, 0.05  # seconds for the process to be gone after it
# The sentence of npm's hub.
UNAVAILABLE = (
    "Resume session ID unavailable. Start a new session in this directory, or retry after the "
    "agent has initialized."
)


def resume_target(session: HubSession) -> dict[str, Any] | None:
    """What a program needs to go on with a session; None without an id of the agent's session."""
    metadata = session.public_metadata
    agent_id = agent_session_id(metadata)
    if agent_id is None or not metadata:
        return None
    row = session.row
    state = row.agent_state if isinstance(row.agent_state, dict) else {}
    target: dict[str, Any] = {
        "sessionId": session.id,
        "flavor": session.flavor,
        "directory": metadata["path"],
        "host": metadata["host"],
        "active": session.active,
        "thinking": session.thinking,
        "controlledByUser": state.get("controlledByUser") is True,
        "agentSessionId": agent_id,
        "model": shown_model(row.model),
        "effort": row.effort,
        "modelReasoningEffort": row.model_reasoning_effort,
    }
    if "machineId" in metadata:
        target["machineId"] = metadata["machineId"]
    if (mode := permission_mode(session)) is not None:
        target["permissionMode"] = mode
    return target


def as_npm_knows(target: dict[str, Any]) -> dict[str, Any] | None:
    """`target` with the values that npm's programs know; None for an agent that they do not."""
    agent = AGENTS.get(target["flavor"])
    if agent is None or not agent.form:
        return None
    known = dict(target)
    if not isinstance(known["model"], str):
        known["model"] = None
    if known.get("permissionMode") not in agent.permission_modes:
        known.pop("permissionMode", None)
    return known


@define(eq=False, repr=False)
class Handoff:
    registry: HubRegistry
    termination: SessionTermination

    async def resumable(
        self,
        namespace: str,
        machine_id: str | None,
        is_allowed: Callable[[HubSession], bool],
        with_all_agents: bool = False,
    ) -> list[dict[str, Any]]:
        """The sessions that can be gone on with, the newest first; `machine_id`: of one machine.

        npm's programs refuse the whole list for an agent or a mode that they do not know:
        `with_all_agents` is for ours.
        """
        found = []
        for session in self.registry.sessions_of(namespace):
            target = resume_target(session) if is_allowed(session) else None
            if target is not None and not with_all_agents:
                target = as_npm_knows(target)
            if target is not None and (not machine_id or target.get("machineId") == machine_id):
                found.append((session, target))
        found.sort(key=lambda each: each[0].row.updated_at, reverse=True)
        return [await self._entry(session, target) for session, target in found[:MAX_RESUMABLE]]

    async def _entry(self, session: HubSession, target: dict[str, Any]) -> dict[str, Any]:
        metadata = session.public_metadata
        entry = {**target, "updatedAt": session.row.updated_at}
        name, summary = metadata.get("name"), metadata.get("summary")
        text = summary.get("text") if isinstance(summary, dict) else None
        prompt = await self._first_prompt(session)
        named = {"name": name, "summary": text, "firstUserMessage": prompt}
        return entry | {key: each for key, each in named.items() if isinstance(each, str) and each}

    async def _first_prompt(self, session: HubSession) -> str | None:
        registry = self.registry
        rows = await registry.store.after_seq(session.id, 0, FIRST_RECORDS, registry.now())
        for row in rows:
            content = row.content
            if isinstance(content, msgspec.Raw):
                content = msgspec.json.decode(content)
            inner = content.get("content") if isinstance(content, dict) else None
            if contents.role(content) == "user" and isinstance(inner, dict):
                text = inner.get("text")
                if isinstance(text, str) and text.strip():
                    return text[:MAX_PROMPT_LENGTH]
        return None

    def target(self, session: HubSession, with_all_agents: bool = False) -> dict[str, Any]:
        """Raises Conflict."""
        found = resume_target(session)
        if found is None:
            raise Conflict(UNAVAILABLE, "resume_unavailable")
        return found if with_all_agents else as_npm_knows(found) or found

    async def hand_off(self, session: HubSession) -> None:
        """Have the process of a session leave it to another one, and wait until it is gone. Nothing
        is done about an inactive session. Raises RpcError, Conflict, Unavailable.
        """
        if not session.active:
            return
        try:
            answer = await self.registry.call_session(
                session, rpc_methods.HANDOFF_LOCAL, {}, HANDOFF_TIMEOUT
            )
        except TargetMissing:
            # Sessions of earlier versions do not know it, and can only be ended.
            await self.termination.end(session)
        except CallFailed as error:
            if not error.gone:  # it may leave before its answer does
                raise
        else:
            if (problem := error_text(answer)) is not None:
                raise Conflict(problem, "handoff_refused")
        await self._until_gone(session)

    async def _until_gone(self, session: HubSession) -> None:
        """Wait for the end of the process, which still has its say about the session until then.
        Raises Unavailable.
        """
        clock, rpc = self.registry.clock, self.registry.rpc
        deadline = clock.seconds() + LEAVE_TIMEOUT
        while session.active or rpc.serves(session.id, rpc_methods.KILL_SESSION):
            if clock.seconds() >= deadline:
                raise Unavailable("The session has not left its place yet; try again in a moment")
            await deferLater(clock, LEAVE_POLL_INTERVAL)
