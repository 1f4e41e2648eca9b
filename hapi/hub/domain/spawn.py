"""Starting sessions through the runner of a machine: the request, and the meaning of its answer."""

from __future__ import annotations

import json
from typing import Any

from hapi.hub.domain.entities import HubMachine
from hapi.hub.domain.errors import CallFailed, HomeUnreachable, MachineConnecting, TargetMissing
from hapi.hub.domain.registry import HubRegistry
from hapi.hub.domain.rpc import error_text
from hapi.protocol.rpc_methods import SPAWN_SESSION
from hapi.protocol.spawn import RefusalCode, option_problem

PASSED_CODES = frozenset(RefusalCode) - {RefusalCode.NOT_INTERRUPTED}
SPAWN_FIELDS = (
    "directory",
    "agent",
    "model",
    "effort",
    "modelReasoningEffort",
    "yolo",
    "sessionType",
    "worktreeName",
    "permissionMode",
    "serviceTier",
    "collaborationMode",
    "copilotAgentMode",
    "startingMode",
    "idleAgent",
)
RESUMED_SETTINGS = {
    "model": "model",
    "effort": "effort",
    "modelReasoningEffort": "model_reasoning_effort",
    "serviceTier": "service_tier",
    "collaborationMode": "collaboration_mode",
    "copilotAgentMode": "copilot_agent_mode",
}


def spawn_request(
    wanted: dict[str, Any], resume: str | None = None, existing: str | None = None
) -> dict[str, Any]:
    """The parameters of the RPC, without those that were not requested."""
    request: dict[str, Any] = {"type": "spawn-in-directory"}
    request |= {name: wanted[name] for name in SPAWN_FIELDS if wanted.get(name) is not None}
    if resume is not None:
        request["resumeSessionId"] = resume
    if existing is not None:
        request |= {"existingSessionId": existing, "sessionId": existing}
    return {**request, "forkSession": False}


def spawn_body(result: Any) -> dict[str, Any]:
    """The body of `POST …/spawn` for a runner's answer."""
    kind = result.get("type") if isinstance(result, dict) else None
    if kind == "success" and isinstance(result.get("sessionId"), str):
        return {"type": "success", "sessionId": result["sessionId"]}
    if kind == "error" and isinstance(result.get("errorMessage"), str):
        extra = {key: result[key] for key in ("code", "agent") if isinstance(result.get(key), str)}
        if extra.get("code") not in PASSED_CODES:
            extra = {}
        return {"type": "error", "message": result["errorMessage"], **extra}
    if kind == "requestToApproveDirectoryCreation":
        return {
            "type": "error",
            "message": f"Directory creation requires approval: {result.get('directory')}",
        }
    error = error_text(result)
    if error is not None:
        return {"type": "error", "message": error}
    return {"type": "error", "message": f"Unexpected spawn result: {json.dumps(result)[:500]}"}


async def request_spawn(
    registry: HubRegistry, machine: HubMachine, request: dict[str, Any]
) -> dict[str, Any]:
    """Ask the runner of the machine to start a session. Failed calls are returned as a body as
    well.
    """
    try:
        return await request_spawn_now(registry, machine, request)
    except MachineConnecting as error:
        return {"type": "error", "message": str(error)}


async def request_spawn_now(
    registry: HubRegistry, machine: HubMachine, request: dict[str, Any]
) -> dict[str, Any]:
    """As `request_spawn`. Raises MachineConnecting; nothing was started then."""
    if (problem := option_problem(request)) is not None:  # npm's runner passes it on
        return {"type": "error", "message": problem}
    try:
        return spawn_body(await registry.call_machine(machine, SPAWN_SESSION, request))
    except HomeUnreachable as error:
        raise MachineConnecting(machine.name) from error
    except TargetMissing:
        message = (
            f"The machine {machine.name} is not connected; "
            "start its runner there: hapi runner start"
        )
    except CallFailed as error:
        message = (
            f"The machine {machine.name} lost its connection during the start"
            if error.gone
            else str(error)
        )
    return {"type": "error", "message": message}
