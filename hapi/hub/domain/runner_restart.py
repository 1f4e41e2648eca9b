"""Restart the runner of a machine from the hub."""

from __future__ import annotations

from typing import Any

from twisted.internet.task import deferLater

from hapi.hub.domain.entities import HubMachine
from hapi.hub.domain.errors import RestartFailed, RpcError
from hapi.hub.domain.registry import HubRegistry
from hapi.hub.domain.rpc import error_text
from hapi.protocol import rpc_methods

HANDOFF_TIMEOUT = 45.0  # seconds; a hand-off has 30, and ends its replacement if it fails
POLL_INTERVAL = 0.5  # seconds


async def restart_runner(registry: HubRegistry, machine: HubMachine) -> str:
    """Have the installed version run on `machine`; what has happened, as a sentence.

    A supervised runner is started again by its supervisor a moment after this has returned. One of
    ours that is not supervised serves until its replacement has taken over, which this waits for.
    Raises RestartFailed.
    """
    metadata = machine.row.metadata if isinstance(machine.row.metadata, dict) else {}
    is_supervised = metadata.get("supervisedRestart") is True
    if not is_supervised and rpc_methods.RUNNER_HANDOFF not in machine.capabilities:
        raise RestartFailed(
            "The runner is not supervised, so nothing would start it again", "restart_unsupported"
        )
    try:
        answer = await registry.rpc.call(machine.id, rpc_methods.STOP_RUNNER, {})
    except RpcError as error:
        raise RestartFailed(str(error), "restart_failed") from error
    if (problem := error_text(answer)) is not None:
        raise RestartFailed(problem, "restart_failed")
    told = answer if isinstance(answer, dict) else {}
    replacement, message = told.get("replacement"), told.get("message")
    if isinstance(replacement, int):
        await _await_handoff(registry, machine, replacement)
        return "The runner has been restarted"
    return message if isinstance(message, str) else "The runner restarts"


async def _await_handoff(registry: HubRegistry, machine: HubMachine, replacement: int) -> None:
    """Wait until the process `replacement` serves. Raises RestartFailed if another one does."""
    clock = registry.clock
    deadline = clock.seconds() + HANDOFF_TIMEOUT
    while True:
        told = await _handoff(registry, machine, replacement)
        if told.get("underWay") is False:
            if told.get("pid") == replacement:
                return
            reason = error_text(told) or "the hand-off was stopped"
            raise RestartFailed(f"The runner keeps running, because {reason}", "restart_failed")
        if clock.seconds() >= deadline:
            raise RestartFailed(
                f"Process {replacement} has not replaced the runner after {HANDOFF_TIMEOUT:.0f} s",
                "restart_failed",
            )
        await deferLater(clock, POLL_INTERVAL)


async def _handoff(registry: HubRegistry, machine: HubMachine, replacement: int) -> dict[str, Any]:
    """What the runner of the machine tells of the hand-off; {} while the connection changes."""
    asked = {"replacement": replacement}
    try:
        answer = await registry.rpc.call(machine.id, rpc_methods.RUNNER_HANDOFF, asked)
    except RpcError:
        return {}
    return answer if isinstance(answer, dict) else {}
