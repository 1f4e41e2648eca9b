"""The machine's RPC methods, which the hub calls (runner.md §5.1)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Protocol

from twisted.internet.threads import deferToThread

from hapi.net.common.rpc import RpcTable
from hapi.pictures import SessionPictures, picture_answer
from hapi.protocol import rpc_methods
from hapi.protocol.agents import AGENTS
from hapi.protocol.control import HandoffBegan, Restart, RestartRefused
from hapi.protocol.offer.model_lists import model_list
from hapi.protocol.rpc_methods import MACHINE_MODELS
from hapi.protocol.spawn import (
    MalformedSpawn,
    SpawnRequest,
    SpawnResult,
    parse_spawn,
    rpc_spawn_answer,
)
from hapi.runner.config.options import RunnerOptions
from hapi.runner.spawn.agent_availability import AgentAvailability
from hapi.runner.workspace.browse import list_directory, path_exists
from hapi.runner.workspace.cursor import chat_store_status

HUB = "hub"
NOTHING_KNOWN = (
    "No session of {label} has run on this machine yet, so its models are not known here"
)
ANSWER_TIMEOUT = 28.0  # seconds; a hub waits 30 and would then learn nothing


class RunnerMethods(Protocol):
    """What the methods ask of the runner."""

    @property
    def options(self) -> RunnerOptions: ...
    @property
    def availability(self) -> AgentAvailability: ...
    async def spawn(
        self, request: SpawnRequest, asked_by: str, within: float | None = None
    ) -> SpawnResult: ...
    async def stop_session(self, name: str, actor: str) -> str: ...
    def knows_session(self, name: str) -> bool: ...
    async def restart(self, actor: str) -> Restart: ...
    def handoff_to(self, replacement: int) -> dict[str, Any]: ...


def register_methods(
    rpc: RpcTable,
    runner: RunnerMethods,
    inquire: Callable[[str], Awaitable[str | None]] | None = None,
) -> None:
    """Add the methods to `rpc` in the order in which the reference runner registers them.

    `inquire` asks an installed agent what it offers, and returns why it did not tell; see
    OfferInquiry.
    """
    options = runner.options

    async def spawn(params: Any) -> dict[str, Any]:
        try:
            request = parse_spawn(params)
        except MalformedSpawn as error:
            return {"error": str(error)}
        return rpc_spawn_answer(await runner.spawn(request, HUB, ANSWER_TIMEOUT))

    async def stop_session(params: Any) -> dict[str, Any]:
        name = params.get("sessionId") if isinstance(params, Mapping) else None
        if not isinstance(name, str) or not name:
            return {"error": "Session ID is required"}
        status = await runner.stop_session(name, HUB)
        # `still_alive` is also the answer about a session that the runner does not know.
        is_alive = status == "still_alive" and runner.knows_session(name)
        return {"status": status} | ({"known": True} if is_alive else {})

    async def stop_runner(params: Any) -> dict[str, Any]:
        match await runner.restart(HUB):
            case RestartRefused(reason):
                return {"error": f"The runner keeps running, because {reason}"}
            case HandoffBegan(replacement):
                return {"message": "The runner is being replaced", "replacement": replacement}
            case _:
                return {"message": "Runner stop request acknowledged"}

    def runner_handoff(params: Any) -> dict[str, Any]:
        replacement = params.get("replacement") if isinstance(params, Mapping) else None
        if not isinstance(replacement, int):
            return {"error": "`replacement` must be a process id"}
        return runner.handoff_to(replacement)

    def read_picture(params: Any) -> Any:
        """A picture of a session without a process, which is why the hub asks the machine."""
        given = params if isinstance(params, Mapping) else {}
        pictures = SessionPictures(options.home, str(given.get("sessionId")))
        return deferToThread(picture_answer, pictures, params)

    def agent_availability(params: Any) -> dict[str, Any]:
        return runner.availability.response(params)  # a reload replaces `availability`

    def models_of(agent: str) -> Callable[[Any], Awaitable[dict[str, Any]]]:
        async def answer(params: Any) -> dict[str, Any]:
            offer = runner.availability.offer(agent)
            problem = NOTHING_KNOWN.format(label=AGENTS[agent].label)
            if offer is None and inquire is not None:
                refused = runner.availability.refusal(agent)
                reason = refused.message if refused is not None else await inquire(agent)
                offer, problem = runner.availability.offer(agent), reason or problem
            if offer is None:
                return {"success": False, "error": problem}
            return model_list(AGENTS[agent], offer)

        return answer

    rpc.add("agent-availability", agent_availability)
    rpc.add("path-exists", lambda params: path_exists(options.roots, params))
    rpc.add("cursor-chat-store-status", lambda params: chat_store_status(options.roots, params))
    rpc.add("list-directory", lambda params: list_directory(options.roots, params))
    rpc.add("spawn-happy-session", spawn)
    rpc.add("stop-session", stop_session)
    rpc.add("stop-runner", stop_runner)
    rpc.add(rpc_methods.RUNNER_HANDOFF, runner_handoff)
    if options.uses_own_sessions:
        for path, method in MACHINE_MODELS.items():
            name = path.removesuffix("-models")
            if name in AGENTS:
                rpc.add(method, models_of(name))
    rpc.add(rpc_methods.READ_GENERATED_IMAGE, read_picture)
