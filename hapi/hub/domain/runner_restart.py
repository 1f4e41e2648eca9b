"""Restart the runner of a machine from the hub."""

from __future__ import annotations

from typing import Any

from twisted.internet.task import deferLater

from hapi.hub.domain.entities import HubMachine
from hapi.hub.domain.errors import CallFailed, RestartFailed, RpcError, TargetMissing
from hapi.hub.domain.registry import HubRegistry
from hapi.hub.domain.rpc import error_text
from hapi.protocol import rpc_methods

HANDOFF_TIMEOUT = 45.0  # seconds; a hand-off has 30, and ends its replacement if it fails
POLL_INTERVAL = 0.5  # seconds
LOOK = "`hapi runner status` on the machine shows whether one runs"
AWAY = f"The runner is not connected to the hub at the moment. {LOOK}"
LOST = f"The connection to the runner was lost before it answered. {LOOK}"


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
    state = machine.row.runner_state
    outgoing = state.get("pid") if isinstance(state, dict) else None
    try:
        answer = await registry.call_machine(machine, rpc_methods.STOP_RUNNER, {})
    except TargetMissing as error:
        raise RestartFailed(AWAY, "restart_failed") from error
    except CallFailed as error:
        raise RestartFailed(LOST if error.gone else str(error), "restart_failed") from error
    except RpcError as error:
        raise RestartFailed(str(error), "restart_failed") from error
    if (problem := error_text(answer)) is not None:
        raise RestartFailed(problem, "restart_failed")
    told = answer if isinstance(answer, dict) else {}
    replacement, message = told.get("replacement"), told.get("message")
    if isinstance(replacement, int):
        await _await_handoff(registry, machine, outgoing, replacement)
        return "The runner has been restarted"
    return message if isinstance(message, str) else "The runner restarts"


async def _await_handoff(
    registry: HubRegistry, machine: HubMachine, outgoing: Any, replacement: int
) -> None:
    """Wait until the process `replacement` serves instead of `outgoing`.

    `outgoing` is the pid in the state of the runner that was asked, if it has one. Raises
    RestartFailed if another process serves, or none within HANDOFF_TIMEOUT.
    """
    clock = registry.clock
    deadline = clock.seconds() + HANDOFF_TIMEOUT
    while True:
        told = await _handoff(registry, machine, replacement, deadline - clock.seconds())
        if told.get("underWay") is False:
            if (serving := told.get("pid")) == replacement:
                return
            if outgoing is not None and serving != outgoing:
                raise RestartFailed(
                    f"Process {serving} is the machine's runner now. It was started while process "
                    f"{replacement} was about to replace the runner",
                    "restart_failed",
                )
            reason = error_text(told) or "the hand-off was stopped"
            raise RestartFailed(f"The runner keeps running, because {reason}", "restart_failed")
        if clock.seconds() + POLL_INTERVAL >= deadline:
            timeout = f"{HANDOFF_TIMEOUT:.0f} s"
            raise RestartFailed(
                f"Process {replacement} has not replaced the runner after {timeout}"
                if told
                else f"No runner of the machine has told within {timeout} whether process "
                f"{replacement} has replaced it. {LOOK}",
                "restart_failed",
            )
        await deferLater(clock, POLL_INTERVAL)


async def _handoff(
    registry: HubRegistry, machine: HubMachine, replacement: int, timeout: float
) -> dict[str, Any]:
    """What the runner of the machine tells of the hand-off; {} while the connection changes.

    `timeout`: seconds that the runner has to answer.
    """
    asked = {"replacement": replacement}
    try:
        answer = await registry.rpc.call(machine.id, rpc_methods.RUNNER_HANDOFF, asked, timeout)
    except RpcError:
        return {}
    return answer if isinstance(answer, dict) else {}
