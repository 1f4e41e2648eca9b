"""REST for people: machines, starting sessions on them, and what their runners know."""

from __future__ import annotations

from typing import Any

import msgspec

from hapi.hub.domain.lifecycle import Refusal
from hapi.hub.domain.rpc import SLOW_RPC_TIMEOUT, CallFailed, TargetMissing, error_text
from hapi.hub.domain.spawn import request_spawn, spawn_request
from hapi.hub.domain.views import machine_view
from hapi.hub.http.routing import RequestContext, Response, Routes
from hapi.protocol.agents import agent_named
from hapi.protocol.hub import FLAVORS, DisplayName, ListDirectory, PathsExist, Spawn

route = Routes()
OUTDATED = "The runner on this machine is outdated: update and restart it"


@route("GET", "/api/machines")
async def list_machines(context: RequestContext) -> dict[str, Any]:
    machines = [
        machine
        for machine in context.registry.machines.values()
        if machine.namespace == context.caller.namespace
    ]
    return {"machines": [machine_view(machine) for machine in machines if machine.active]}


@route("PATCH", "/api/machines/<machine_id>")
async def rename(context: RequestContext, machine_id: str) -> dict[str, Any]:
    machine = context.machine(machine_id)
    name = context.body(DisplayName, "Invalid body: displayName is required").display_name.strip()
    if len(name) > 64:
        raise Refusal(400, "Invalid body: displayName is too long")
    await context.hub.documents.name_machine(machine, name)
    return {"ok": True}


@route("POST", "/api/machines/<machine_id>/spawn")
async def spawn(context: RequestContext, machine_id: str) -> dict[str, Any]:
    machine = context.machine(machine_id)
    body = context.body(Spawn)
    if body.agent not in FLAVORS | machine.flavors:
        raise Refusal(400, "Invalid body")
    if agent_named(body.agent).remote_only and body.starting_mode not in (None, "remote"):
        raise Refusal(400, "Invalid body")
    if "agent-availability" not in machine.capabilities:
        return {"type": "error", "message": OUTDATED, "code": "runner_upgrade_required"}
    wanted = msgspec.to_builtins(body) | {"agent": body.agent}
    return await request_spawn(context.registry.rpc, machine, spawn_request(wanted))


async def _call_runner(
    context: RequestContext, machine_id: str, method: str, params: Any, timeout: float
) -> Any:
    try:
        return await context.registry.rpc.call(machine_id, method, params, timeout)
    except (TargetMissing, CallFailed) as error:
        raise Refusal(500, str(error)) from error


@route("POST", "/api/machines/<machine_id>/list-directory")
async def list_directory(context: RequestContext, machine_id: str) -> Any:
    machine = context.machine(machine_id)
    body = context.body(ListDirectory)
    return await _call_runner(
        context,
        machine.id,
        "list-directory",
        {"path": body.path, "includeHidden": body.include_hidden},
        30.0,
    )


@route("POST", "/api/machines/<machine_id>/paths/exists")
async def paths_exist(context: RequestContext, machine_id: str) -> Any:
    machine = context.machine(machine_id)
    paths = [path.strip() for path in context.body(PathsExist).paths if path.strip()]
    if not paths:
        return {"exists": {}}
    answer = await _call_runner(context, machine.id, "path-exists", {"paths": paths}, 30.0)
    if not isinstance(answer, dict) or not isinstance(answer.get("exists"), dict):
        raise Refusal(500, error_text(answer) or "Unexpected answer of the runner")
    return answer


@route("GET", "/api/machines/<machine_id>/agent-availability")
async def agent_availability(context: RequestContext, machine_id: str) -> Any:
    machine = context.machine(machine_id)
    if "agent-availability" not in machine.capabilities:
        raise Refusal(409, OUTDATED, "runner_upgrade_required")
    answer = await _call_runner(
        context, machine.id, "agent-availability", {"all": True}, 30.0
    )  # ours: agents the wire has no name for
    agents = answer.get("agents") if isinstance(answer, dict) else None
    if not isinstance(agents, list):
        raise Refusal(500, error_text(answer) or "Unexpected answer of the runner")
    return {
        "agents": [
            agent
            for agent in agents
            if isinstance(agent, dict) and isinstance(agent.get("agent"), str)
        ]
    }


@route("POST", "/api/machines/<machine_id>/restart-runner")
async def restart_runner(context: RequestContext, machine_id: str) -> Any:
    machine = context.machine(machine_id)
    if not machine.active:
        raise Refusal(503, "Machine is offline", "machine_offline")
    metadata = machine.row.metadata if isinstance(machine.row.metadata, dict) else {}
    if metadata.get("supervisedRestart") is not True:
        raise Refusal(
            502, "Nobody would start this runner again: it is not supervised", "restart_unsupported"
        )
    try:
        answer = await context.registry.rpc.call(machine.id, "stop-runner", {})
    except (TargetMissing, CallFailed) as error:
        raise Refusal(502, str(error), "restart_failed") from error
    if error_text(answer) is not None:
        raise Refusal(502, str(error_text(answer)), "restart_failed")
    message = answer.get("message") if isinstance(answer, dict) else None
    return {"message": message if isinstance(message, str) else "The runner restarts"}


# --- model lists -----------------------------------------------------------------------------------------------------


def _models(path: str, method: str, *names: str, timeout: float = SLOW_RPC_TIMEOUT) -> None:
    """A list that the runner makes; the query parameters `names` go along."""

    async def handle(context: RequestContext, machine_id: str) -> Any:
        machine = context.machine(machine_id)
        query = context.query
        params: dict[str, Any] = {name: query.get(name) for name in names}
        if "refresh" in params:
            params["refresh"] = query.get("refresh") in ("true", "1")
        try:
            return await context.registry.rpc.call(machine.id, method, params, timeout)
        except TargetMissing as error:
            return Response(
                503, {"success": False, "error": str(error), "code": "rpc_target_missing"}
            )
        except CallFailed as error:
            return Response(500, {"success": False, "error": str(error)})

    route("GET", f"/api/machines/<machine_id>/{path}")(handle)


_models("codex-models", "listCodexModels")
_models("cursor-models", "listCursorModels")
_models("agy-models", "listAgyModels", "refresh")
_models("pi-models", "listPiModelsForMachine")
_models("opencode-models", "listOpencodeModelsForCwd", "cwd", timeout=30.0)
_models("opencode-model-variants", "listOpencodeModelVariants", "cwd")
_models("grok-models", "listGrokModelsForCwd", "cwd", timeout=30.0)
_models("copilot-models", "listCopilotModelsForCwd", "cwd")
