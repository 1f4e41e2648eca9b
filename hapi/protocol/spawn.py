"""Starting a session: the request, its answers, and the session's command line and environment.

The wire's `spawn-happy-session` (runner.md §6). Pure: nothing here reads a disk or starts a
process.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Any, Literal

import msgspec
from attrs import frozen
from msgspec import Meta, Struct, field

from hapi.protocol.agents import DEFAULT_AGENT, PERMISSION_MODES, Agent, agent_named
from hapi.protocol.json import Malformed
from hapi.units import parse_idle_time

NO_ARGUMENTS = frozenset({"directory", "token"})  # texts that reach no command line
Name = Annotated[str, Meta(max_length=4096)]


class SpawnRequest(Struct, frozen=True, rename="camel", omit_defaults=True):
    """What a caller asks for (`spawn-happy-session`, POST /spawn-session). An empty string counts
    as absent."""

    directory: Annotated[str, Meta(min_length=1, max_length=16384)]
    agent: Name | None = None
    model: Name | None = None
    effort: Name | None = None
    model_reasoning_effort: Name | None = None
    service_tier: Name | None = None
    collaboration_mode: Name | None = None
    copilot_agent_mode: Name | None = None
    permission_mode: Name | None = None
    yolo: bool = False
    session_type: Literal["simple", "worktree"] = "simple"
    worktree_name: Name | None = None
    starting_mode: Literal["remote", "pty"] = "remote"
    resume_session_id: Name | None = None
    existing_session_id: Name | None = None
    session_id: Name | None = None
    fork_session: bool = False
    create_directory: bool = field(default=True, name="approvedNewDirectoryCreation")
    token: Annotated[str, Meta(max_length=1 << 20)] | None = None
    idle_agent: Name | None = None  # ours: `off` or a time such as `30m`

    @property
    def flavor(self) -> str:
        """The agent's name; the wire's default when none was given."""
        return self.agent or DEFAULT_AGENT

    @property
    def requested_id(self) -> str | None:
        """The hub session this start is for: spawns with the same one are the same spawn."""
        return self.existing_session_id or self.session_id or None


class RefusalCode(StrEnum):
    """Why a start was refused, for programs. npm's hub passes on the first two, ours all of
    them."""

    AGENT_UNAVAILABLE = "agent_unavailable"
    OUTSIDE_WORKSPACE_ROOTS = "outside_workspace_roots"
    UNKNOWN_MODE = "unknown_mode"  # the agent has no such permission mode
    SESSION_LIMIT = "session_limit"
    MEMORY_LIMIT = "memory_limit"
    QUEUE_FULL = "queue_full"
    DRAINING = "draining"
    STILL_STARTING = "still_starting"
    NOT_INTERRUPTED = "not_interrupted"  # a revival of a session that is not interrupted


@frozen
class Spawned:
    """The session announced itself under this id."""

    session_id: str


@frozen
class NeedsDirectory:
    """The directory is missing, and the caller did not allow its creation."""

    directory: str


@frozen
class SpawnRefused:
    """No session was started. `message` is for people, `code` for programs."""

    message: str
    code: str | None = None
    agent: str | None = None  # with the code agent_unavailable


SpawnResult = Spawned | NeedsDirectory | SpawnRefused


class MalformedSpawn(Malformed):
    """The request cannot be read; the message says where."""


def parse_spawn(params: object) -> SpawnRequest:
    """Read what a hub or a control caller sent. Raises MalformedSpawn.

    Only the literal true counts for `yolo` and `forkSession`, only the literal false for
    `approvedNewDirectoryCreation`; null and "" are the same as nothing at all.
    """
    if not isinstance(params, Mapping) or not params.get("directory"):
        raise MalformedSpawn("Directory is required")
    given = {key: value for key, value in params.items() if value is not None and value != ""}
    given["yolo"] = given.get("yolo") is True
    given["forkSession"] = given.get("forkSession") is True
    given["approvedNewDirectoryCreation"] = given.get("approvedNewDirectoryCreation") is not False
    try:
        request = msgspec.convert(given, SpawnRequest)
    except (msgspec.ValidationError, UnicodeEncodeError) as error:  # the latter for a bad key
        raise MalformedSpawn(str(error)) from error
    for name, value in given.items():
        if isinstance(value, str) and not _can_be_argument(value):
            raise MalformedSpawn(f"{name} contains a character that cannot be passed to a program")
    if request.idle_agent is not None:
        try:
            parse_idle_time(request.idle_agent)
        except ValueError as error:
            raise MalformedSpawn(f"idleAgent is {request.idle_agent!r}: {error}") from error
    if (problem := option_problem(given)) is not None:
        raise MalformedSpawn(problem)
    return request


def option_problem(params: Mapping[str, Any]) -> str | None:
    """Which value a program would read as an option, in words: a worktree that is named `--yolo`
    would allow everything. None if there is none.
    """
    for name, value in params.items():
        is_text = isinstance(value, str) and name not in NO_ARGUMENTS
        if is_text and value.strip().startswith("-"):
            return f"{name} must not begin with a hyphen: a program would read it as an option"
    return None


def _can_be_argument(text: str) -> bool:
    try:
        return b"\0" not in text.encode()
    except UnicodeEncodeError:
        return False


def rpc_spawn_answer(result: SpawnResult) -> dict[str, Any]:
    """The answer as `spawn-happy-session` gives it."""
    match result:
        case Spawned(session_id):
            return {"type": "success", "sessionId": session_id}
        case NeedsDirectory(directory):
            return {"type": "requestToApproveDirectoryCreation", "directory": directory}
        case SpawnRefused(message, code, agent):
            answer = {"type": "error", "errorMessage": message, "code": code, "agent": agent}
            return {key: value for key, value in answer.items() if value is not None}


# --- the command line


def session_arguments(
    request: SpawnRequest, linked_worktree: bool = False, own_session: bool = False
) -> list[str]:
    """The arguments after the program's name, in the order of the wire specification.

    `own_session`: the session is one of this package. It takes permission modes by the names that
    its agent has for them, and an idle time of its own, and goes on with its row whatever its
    agent: npm's makes another row for some, and leaves it to the hub to merge the two.
    `linked_worktree`: the directory is a git worktree already, so Cursor is not asked for another.
    """
    agent = agent_named(request.flavor)
    argv = [request.flavor]
    if request.resume_session_id:
        argv += [agent.resume_option, request.resume_session_id]
    if request.fork_session and (agent.forks or own_session):
        argv.append("--fork-session")
    if agent.has_starting_mode:
        argv += ["--hapi-starting-mode", request.starting_mode]
    argv += ["--started-by", "runner"]
    if request.requested_id and (own_session or _passes_id(agent, request)):
        argv += ["--existing-session-id", request.requested_id]
    settings = (
        ("effort", "--effort", request.effort),
        ("modelReasoningEffort", "--model-reasoning-effort", request.model_reasoning_effort),
        ("serviceTier", "--service-tier", request.service_tier),
        (
            "collaborationMode",
            "--collaboration-mode",
            _unless("default", request.collaboration_mode),
        ),
        (
            "copilotAgentMode",
            "--copilot-agent-mode",
            _unless("interactive", request.copilot_agent_mode),
        ),
    )
    if request.model:
        argv += ["--model", request.model]
    for setting, option, value in settings:
        if value and agent.passes(setting):
            argv += [option, value]
    if agent.permission_modes or own_session:
        argv += _permission(request, own_session)
    if request.idle_agent and own_session:
        argv += ["--idle-agent", request.idle_agent]
    if agent.makes_worktrees and request.session_type == "worktree" and not linked_worktree:
        argv += ["--cursor-worktree", *filter(None, [(request.worktree_name or "").strip()])]
    return argv


def _passes_id(agent: Agent, request: SpawnRequest) -> bool:
    return agent.existing_session == "always" or (
        agent.existing_session == "fork" and request.fork_session
    )


def _unless(default: str, value: str | None) -> str | None:
    return value if value != default else None


def _permission(request: SpawnRequest, own_session: bool) -> list[str]:
    mode = request.permission_mode
    if mode is not None and (own_session or mode in PERMISSION_MODES):
        return ["--permission-mode", mode]
    return ["--yolo"] if request.yolo else []


# --- the environment

RUNNER_ONLY_VARIABLES = frozenset(
    {"HAPI_RUNNER_HANDOFF_FROM_PID", "HAPI_ATTEMPT", "NOTIFY_SOCKET", "MAINPID"}
)
RUNNER_ONLY_PREFIXES = ("LISTEN_", "WATCHDOG_", "HAPI_WORKTREE_")
LOOPBACK = ("localhost", "127.0.0.1", "::1")


@frozen
class Worktree:
    """A git worktree made for one session."""

    base_path: str
    branch: str
    name: str
    path: str
    created_at: int  # epoch milliseconds

    def environment(self) -> dict[str, str]:
        return {
            "HAPI_WORKTREE_BASE_PATH": self.base_path,
            "HAPI_WORKTREE_BRANCH": self.branch,
            "HAPI_WORKTREE_NAME": self.name,
            "HAPI_WORKTREE_PATH": self.path,
            "HAPI_WORKTREE_CREATED_AT": str(self.created_at),
        }


def environment_for(
    request: SpawnRequest,
    inherited: Mapping[str, str],
    *,
    identity: Mapping[str, str],
    worktree: Worktree | None = None,
    codex_home: str | None = None,
) -> dict[str, str]:
    """The environment of the session: the runner's own, less what is meant for the runner alone.

    `identity` holds the variables that tell the session its home, hub and attempt. `codex_home` is
    the private directory that was made for a Codex session with a token.
    """
    found = {
        name: value
        for name, value in inherited.items()
        if name not in RUNNER_ONLY_VARIABLES and not name.startswith(RUNNER_ONLY_PREFIXES)
    }
    for name in ("NO_PROXY", "no_proxy"):
        found[name] = without_proxy(found.get(name, ""))
    found["DEV"] = "false"
    found.update(identity)
    if worktree is not None:
        found.update(worktree.environment())
    token_variable = agent_named(request.flavor).token_variable
    if request.token and token_variable is not None:
        found[token_variable] = request.token
    if codex_home is not None:
        found["CODEX_HOME"] = codex_home
    return found


def without_proxy(listed: str) -> str:
    """`listed` (a NO_PROXY value) with the loopback names added."""
    names = [name.strip() for name in listed.split(",") if name.strip()]
    return ",".join([*names, *(name for name in LOOPBACK if name not in names)])
