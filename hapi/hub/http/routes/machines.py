"""REST for people: machines, starting sessions on them, and what their runners know."""

# mypy: disable-error-code="untyped-decorator"

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import msgspec
from attrs import define
from klein import Klein

from hapi.hub.access.rate_limits import Cost
from hapi.hub.domain.documents import Documents
from hapi.hub.domain.entities import HubMachine
from hapi.hub.domain.errors import (
    CallFailed,
    Conflict,
    InvalidRequest,
    OperationFailed,
    RestartFailed,
    RpcError,
    TargetMissing,
    Unavailable,
    field_issues,
)
from hapi.hub.domain.rpc import RPC_TIMEOUT, SLOW_RPC_TIMEOUT, error_text
from hapi.hub.domain.runner_restart import restart_runner as request_restart
from hapi.hub.domain.spawn import request_spawn, spawn_request
from hapi.hub.domain.views import machine_view
from hapi.hub.http.openapi.operation import Flag, Parameter, operation
from hapi.hub.http.responses import Response
from hapi.hub.http.routing import INVALID_BODY, OK, RequestContext, Routes, api, limited
from hapi.hub.http.scopes import ASKING_MODES
from hapi.protocol import rpc_methods
from hapi.protocol.agents import agent_catalog, agent_named
from hapi.protocol.hub import FLAVORS
from hapi.protocol.rest.bodies import DisplayName, ListDirectory, PathsExist, Spawn
from hapi.protocol.rest.files import RpcReply
from hapi.protocol.rest.machines import (
    AgentCatalog,
    AvailabilityReply,
    MachineList,
    PathsReply,
    RestartReply,
    SpawnReply,
)
from hapi.protocol.rest.outcome import Done
from hapi.protocol.token import Scope
from hapi.units import parse_idle_time

MAX_NAME_LENGTH = 64  # characters
REFRESH = Flag("refresh", "Ask the agent anew.")
CWD = Parameter("cwd", "The directory in which the agent would work.")
OUTDATED = "The runner on this machine is outdated: update and restart it"
UNEXPECTED = "Unexpected answer of the runner"
_MODEL_PATHS = ",".join(f'"{path}"' for path in rpc_methods.MACHINE_MODELS)
_MODEL_PARAMETERS: Mapping[str, Parameter] = {  # the query parameter that goes along
    "agy-models": REFRESH,
    "opencode-models": CWD,
    "opencode-model-variants": CWD,
    "grok-models": CWD,
    "copilot-models": CWD,
}
_QUICK_MODELS = frozenset({"opencode-models", "grok-models"})


@define(eq=False, repr=False)
class MachineRoutes(Routes):
    documents: Documents

    app: ClassVar[Klein] = Klein()

    @app.route("/api/agents", methods=["GET"])
    @api
    @operation(AgentCatalog)
    async def list_agents(self, context: RequestContext) -> dict[str, Any]:
        """List the built-in agents."""
        return agent_catalog()

    @app.route("/api/machines", methods=["GET"])
    @api
    @operation(MachineList)
    async def list_machines(self, context: RequestContext) -> dict[str, Any]:
        """List the connected machines."""
        machines = [
            machine
            for machine in context.registry.machines.values()
            if machine.namespace == context.namespace and machine.active
        ]
        return {"machines": [machine_view(machine) for machine in machines]}

    @app.route("/api/machines/<machine_id>", methods=["PATCH"])
    @api
    @operation(Done, body=DisplayName, errors=(Conflict,))
    async def rename(self, context: RequestContext, machine_id: str) -> dict[str, Any]:
        """Rename a machine."""
        machine = context.machine(machine_id)
        body = context.body(DisplayName, "Invalid body: displayName is required")
        name = body.display_name.strip()
        if len(name) > MAX_NAME_LENGTH:
            raise InvalidRequest(
                f"{INVALID_BODY}: displayName is too long (at most {MAX_NAME_LENGTH} characters)"
            )
        await self.documents.name_machine(machine, name)
        return OK

    @app.route("/api/machines/<machine_id>/spawn", methods=["POST"])
    @api
    @limited(Cost.SPAWN)
    @operation(SpawnReply, body=Spawn)
    async def spawn(self, context: RequestContext, machine_id: str) -> dict[str, Any]:
        """Start a session on a machine."""
        machine = context.machine(machine_id)
        body = context.body(Spawn)
        modes = {body.permission_mode, body.collaboration_mode, body.copilot_agent_mode}
        if body.yolo or not modes <= ASKING_MODES:
            context.require(Scope.APPROVE)
        known = FLAVORS | machine.flavors
        if body.agent not in known:
            reason = f"Unknown agent; this machine knows {', '.join(sorted(known))}"
            raise InvalidRequest(INVALID_BODY, issues=field_issues("agent", reason))
        if agent_named(body.agent).remote_only and body.starting_mode not in (None, "remote"):
            reason = f"{body.agent} has the starting mode remote only"
            raise InvalidRequest(INVALID_BODY, issues=field_issues("startingMode", reason))
        if body.idle_agent:
            try:
                parse_idle_time(body.idle_agent)
            except ValueError as error:
                raise InvalidRequest(f"Invalid body: idleAgent: {error}") from error
        if rpc_methods.AGENT_AVAILABILITY not in machine.capabilities:
            return {"type": "error", "message": OUTDATED, "code": "runner_upgrade_required"}
        wanted = msgspec.to_builtins(body) | {"agent": body.agent}
        return await request_spawn(context.registry, machine, spawn_request(wanted))

    async def _call(
        self, context: RequestContext, machine: HubMachine, method: str, params: Any
    ) -> Any:
        try:
            return await context.registry.call_machine(machine, method, params)
        except RpcError as error:
            raise OperationFailed(str(error)) from error

    @app.route("/api/machines/<machine_id>/list-directory", methods=["POST"])
    @api
    @limited(Cost.RPC)
    @operation(RpcReply, body=ListDirectory, errors=(OperationFailed,))
    async def list_directory(self, context: RequestContext, machine_id: str) -> Any:
        """List a directory of a machine."""
        machine = context.machine(machine_id)
        body = context.body(ListDirectory)
        params = {"path": body.path, "includeHidden": body.include_hidden}
        return await self._call(context, machine, rpc_methods.LIST_MACHINE_DIRECTORY, params)

    @app.route("/api/machines/<machine_id>/paths/exists", methods=["POST"])
    @api
    @limited(Cost.RPC)
    @operation(PathsReply, body=PathsExist, errors=(OperationFailed,))
    async def paths_exist(self, context: RequestContext, machine_id: str) -> Any:
        """Tell which directories exist on a machine."""
        machine = context.machine(machine_id)
        paths = [path.strip() for path in context.body(PathsExist).paths if path.strip()]
        if not paths:
            return {"exists": {}}
        params = {"paths": paths}
        answer = await self._call(context, machine, rpc_methods.PATH_EXISTS, params)
        if not isinstance(answer, dict) or not isinstance(answer.get("exists"), dict):
            raise OperationFailed(error_text(answer) or UNEXPECTED)
        return answer

    @app.route("/api/machines/<machine_id>/agent-availability", methods=["GET"])
    @api
    @limited(Cost.RPC)
    @operation(AvailabilityReply, errors=(Conflict, OperationFailed))
    async def agent_availability(self, context: RequestContext, machine_id: str) -> Any:
        """Tell which agents a machine has."""
        machine = context.machine(machine_id)
        method = rpc_methods.AGENT_AVAILABILITY
        if method not in machine.capabilities:
            raise Conflict(OUTDATED, "runner_upgrade_required")
        # `all` is our own: the answer then includes agents that the npm programs do not know.
        answer = await self._call(context, machine, method, {"all": True})
        agents = answer.get("agents") if isinstance(answer, dict) else None
        if not isinstance(agents, list):
            raise OperationFailed(error_text(answer) or UNEXPECTED)
        return {
            "agents": [
                agent
                for agent in agents
                if isinstance(agent, dict) and isinstance(agent.get("agent"), str)
            ]
        }

    @app.route("/api/machines/<machine_id>/restart-runner", methods=["POST"])
    @api
    @operation(RestartReply, errors=(Unavailable, RestartFailed))
    async def restart_runner(self, context: RequestContext, machine_id: str) -> Any:
        """Restart the runner of a machine."""
        machine = context.machine(machine_id)
        if not machine.active:
            raise Unavailable("Machine is offline", "machine_offline")
        return {"message": await request_restart(context.registry, machine)}

    @app.route(f"/api/machines/<machine_id>/<any({_MODEL_PATHS}):path>", methods=["GET"])
    @api
    @limited(Cost.RPC)
    @operation(
        RpcReply,
        query=(REFRESH, CWD),
        replies={500: RpcReply, 503: RpcReply},
    )
    async def list_models(self, context: RequestContext, machine_id: str, path: str) -> Any:
        """List the models of an agent on a machine."""
        machine = context.machine(machine_id)
        params: dict[str, Any] = {}
        match _MODEL_PARAMETERS.get(path):
            case Flag() as flag:
                params[flag.name] = flag.read(context.query)
            case Parameter(name=name):
                params[name] = context.query.get(name)
        timeout = RPC_TIMEOUT if path in _QUICK_MODELS else SLOW_RPC_TIMEOUT
        try:
            return await context.registry.call_machine(
                machine, rpc_methods.MACHINE_MODELS[path], params, timeout
            )
        except TargetMissing as error:
            return Response(
                503, {"success": False, "error": str(error), "code": "rpc_target_missing"}
            )
        except CallFailed as error:
            return Response(500, {"success": False, "error": str(error)})
