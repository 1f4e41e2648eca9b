"""Merging of two rows that are one session. Pure."""

from __future__ import annotations

from typing import Any

from attrs import evolve

from hapi.hub.store.rows import SessionRow

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
