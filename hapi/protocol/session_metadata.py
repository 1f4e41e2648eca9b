"""The metadata of a session's row (session.md 7). Pure and quick to load: it is sent first."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from attrs import frozen

from hapi.redaction import escape_control

COMPATIBLE_VERSION = "0.30.7"  # the npm release whose session process this one is taken for

Json = dict[str, Any]


@frozen
class SessionFacts:
    """What a session process knows of itself when it starts."""

    path: str
    host: str
    os: str  # linux, darwin
    machine_id: str
    home_dir: str
    hapi_home: str
    library: str  # where the program is
    pid: int
    started_by: Literal["runner", "terminal"]
    flavor: str
    now: int
    worktree: Mapping[str, Any] | None = None
    terminal: bool = False  # whether people may open a shell

    def machine(self) -> Json:
        """The body of `POST /cli/machines`; its keys are merged into a row made by a runner."""
        metadata = {
            "host": self.host,
            "platform": self.os,
            "happyCliVersion": COMPATIBLE_VERSION,
            "homeDir": self.home_dir,
            "happyHomeDir": self.hapi_home,
            "happyLibDir": self.library,
        }
        return {"id": self.machine_id, "metadata": metadata, "runnerState": None}

    def metadata(self) -> Json:
        """A new session's metadata."""
        found = {
            "path": self.path,
            "host": self.host,
            "version": COMPATIBLE_VERSION,
            "os": self.os,
            "machineId": self.machine_id,
            "homeDir": self.home_dir,
            "happyHomeDir": self.hapi_home,
            "happyLibDir": self.library,
            "happyToolsDir": self.library,
            "startedFromRunner": self.started_by == "runner",
            "hostPid": self.pid,
            "startedBy": self.started_by,
            "lifecycleState": "running",
            "lifecycleStateSince": self.now,
            "flavor": self.flavor,
            "capabilities": {"terminal": True, "terminalAttach": True} if self.terminal else {},
        }
        return found | ({"worktree": dict(self.worktree)} if self.worktree else {})


REST_KEY = "agentRest"  # {"since": milliseconds} while the agent of a session rests


def agent_memory(state: Literal["opening", "kept", "new"], since: int) -> Json:
    """`agentMemory` of the metadata: whether the agent went on with its memory of the conversation
    (`kept`) or began anew (`new`), once it is known, when the process of ms `since` continued it.
    """
    return {"state": state, "since": since}


_KEPT = (
    "name",
    "summary",
    "cursorSessionProtocol",
    "preferredPermissionMode",
    "tools",
    "slashCommands",
    "worktree",
    "forkedFrom",
    "permissionRules",
    "usage",
)
_KEPT_PREFIXES = ("conversationHistory", "pi")


def take_over_metadata(fresh: Mapping[str, Any], stored: Any) -> Json:
    """The metadata for a row of another process: ours, and what belongs to the conversation."""
    before = stored if isinstance(stored, Mapping) else {}
    kept = {
        key: value
        for key, value in before.items()
        if key in _KEPT
        or key.startswith(_KEPT_PREFIXES)
        or (key.endswith("SessionId") and key != "supersededBySessionId")
    }
    return {**fresh, **kept}


def without_rest(stored: Any) -> Json:
    """The metadata of a session whose agent runs, or whose process has ended."""
    found = stored if isinstance(stored, Mapping) else {}
    return {key: value for key, value in found.items() if key != REST_KEY}


def worktree_of(environ: Mapping[str, str]) -> Json | None:
    """The worktree that the runner made for this session."""
    base, branch, name = (
        environ.get(f"HAPI_WORKTREE_{part}") for part in ("BASE_PATH", "BRANCH", "NAME")
    )
    if not base or not branch or not name:
        return None
    found: Json = {"basePath": base, "branch": branch, "name": name}
    if path := environ.get("HAPI_WORKTREE_PATH"):
        found["worktreePath"] = path
    if (created := environ.get("HAPI_WORKTREE_CREATED_AT", "")).isdigit():
        found["createdAt"] = int(created)
    return found


def archived_metadata(metadata: Mapping[str, Any], reason: str, now: int) -> Json:
    """The metadata of an archived session.

    `reason` may contain text of an agent: control characters are escaped, because terminals show
    it.
    """
    return {
        **without_rest(metadata),
        "lifecycleState": "archived",
        "lifecycleStateSince": now,
        "archivedBy": "cli",
        "archiveReason": escape_control(reason),
    }
