"""Merging of two rows that are one session."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from attrs import define, evolve
from twisted.logger import Logger

from hapi.hub.domain.entities import HubSession
from hapi.hub.domain.errors import NotFound
from hapi.hub.domain.registry import HubRegistry
from hapi.hub.store.rows import SessionRow
from hapi.protocol import events as protocol_events
from hapi.protocol.hub import agent_session_id

# Of the older row's metadata, what the newer one takes when it has none of its own.
INHERITED = (
    "name",
    "summary",
    "worktree",
    "forkedFrom",
    "preferredPermissionMode",
    "cursorSessionProtocol",
)


def merged_row(old: SessionRow, new: SessionRow, now: int) -> SessionRow:
    """The row `new` after `old` has been merged into it."""
    metadata, changed = merged_documents(old.metadata, new.metadata)
    state, state_changed = merged_state(old.agent_state, new.agent_state)
    return evolve(
        new,
        created_at=min(old.created_at, new.created_at),
        updated_at=now,
        metadata=metadata,
        metadata_version=new.metadata_version + changed,
        agent_state=state,
        agent_state_version=new.agent_state_version + state_changed,
        model=old.model if new.model is None else new.model,
        model_reasoning_effort=new.model_reasoning_effort or old.model_reasoning_effort,
        effort=new.effort or old.effort,
        service_tier=new.service_tier or old.service_tier,
        permission_mode=new.permission_mode or old.permission_mode,
        collaboration_mode=new.collaboration_mode or old.collaboration_mode,
        copilot_agent_mode=new.copilot_agent_mode or old.copilot_agent_mode,
        todos=old.todos if new.todos is None else new.todos,
        todos_updated_at=max(old.todos_updated_at, new.todos_updated_at),
        team_state=old.team_state if new.team_state is None else new.team_state,
        team_state_updated_at=max(old.team_state_updated_at, new.team_state_updated_at),
        pinned=old.pinned or new.pinned,
        global_pinned=old.global_pinned or new.global_pinned,
        seq=new.seq + changed + state_changed,
        epoch=max(old.epoch, new.epoch) + 1,
        has_content=old.has_content or new.has_content,
    )


def merged_documents(old: Any, new: Any) -> tuple[Any, bool]:
    """The merged metadata, and whether it differs from the newer one."""
    if not isinstance(old, dict) or not isinstance(new, dict):
        return new, False
    kept = {
        key: value for key, value in old.items() if key in INHERITED or key.endswith("SessionId")
    }
    merged = {**kept, **new}
    if "name" in old:  # a name that a person gave stands above one that a process made up
        merged["name"] = old["name"] if "name" not in new else new["name"]
    return merged, merged != new


def merged_state(old: Any, new: Any) -> tuple[Any, bool]:
    """The merged agent state, and whether it differs from the newer one. Open requests of the older
    row are dropped, completed ones kept.
    """
    if not isinstance(old, dict):
        return new, False
    before = old.get("completedRequests")
    if not isinstance(before, dict) or not before:
        return new, False
    state = new if isinstance(new, dict) else {}
    now = state.get("completedRequests")
    merged = {**state, "completedRequests": {**before, **(now if isinstance(now, dict) else {})}}
    return merged, merged != new


@define(eq=False, repr=False)
class Merging:
    """Makes one session of two."""

    registry: HubRegistry
    # Whether the machine with this id has an access token of its own.
    has_own_token: Callable[[object], bool] = lambda machine_id: False

    log = Logger()

    async def merge(self, old: HubSession, new: HubSession) -> None:
        """Move the messages and documents of `old` into `new` and delete `old`."""
        ids = {"old": old.id, "new": new.id}
        await self.registry.at_home(new.id, "merge", ids, lambda: self.merge_here(old, new))

    async def merge_here(self, old: HubSession, new: HubSession) -> None:
        """`merge` at the hub that serves `new`."""
        await self.registry.serialized(new, lambda: self._merge(old, new))

    async def _merge(self, old: HubSession, new: HubSession) -> None:
        def published(turn: Any, row: SessionRow) -> None:
            kinds, view = protocol_events, self.registry.view_of(new, row)
            turn.publish(new.namespace, kinds.MESSAGES_INVALIDATED, sessionId=new.id)
            turn.publish(old.namespace, kinds.SESSION_REMOVED, sessionId=old.id)
            turn.publish(new.namespace, kinds.SESSION_UPDATED, sessionId=new.id, data=view)

        async def merge() -> None:
            if (cluster := self.registry.cluster) is not None:
                await cluster.claim(old.id)  # no other hub changes it from now on
                if old.active:
                    return
            row = merged_row(old.row, new.row, self.registry.now())
            new.row = await self.registry.store.merge_session(old.id, new.id, row, published)
            new.has_queue = True
            self.registry.forget_session(old.id)

        await self.registry.serialized(old, merge)

    async def merge_duplicates(self, session: HubSession) -> None:
        """Merge inactive sessions with the same agent session id into `session`: they are one
        session.

        The caller holds the lock of `session`.
        """
        agent_id = agent_session_id(session.metadata)
        if agent_id is None or not session.active or session.flavor == "kimi":
            return
        for other in self.registry.sessions_of(session.namespace):
            same = other.flavor == session.flavor and agent_session_id(other.metadata) == agent_id
            if (
                same
                and other is not session
                and not other.active
                and other.id not in self.registry.resuming
                and self._may_merge(other, session)
            ):
                try:
                    await self._merge(other, session)
                except NotFound:
                    continue
                except Exception:
                    self.log.failure(
                        "Session {other} could not be merged into {session_id}",
                        other=other.id,
                        session_id=session.id,
                    )

    def _may_merge(self, other: HubSession, session: HubSession) -> bool:
        """Whether both are of one machine, or of machines without tokens of their own. A token that
        opens one machine must not bring messages from another one, or send them there.
        """
        machines = other.metadata.get("machineId"), session.metadata.get("machineId")
        return machines[0] == machines[1] or not any(map(self.has_own_token, machines))
