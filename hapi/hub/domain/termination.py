"""End the process of a session: by its own means, or by the runner of its machine."""

from __future__ import annotations

from enum import Enum, auto
from typing import Any

from attrs import define
from twisted.logger import Logger

from hapi.deferreds import run_in_background
from hapi.hub.domain.entities import HubSession
from hapi.hub.domain.errors import CallFailed, TargetMissing, Unavailable
from hapi.hub.domain.registry import HubRegistry
from hapi.protocol import rpc_methods

KILL_TIMEOUT = 5.0  # seconds that a process has to answer that it ends
EXIT_TIMEOUT = 15.0  # seconds that a process may take to end after it has answered
STOP_TIMEOUT = 10.0  # seconds in which a runner ends a whole process tree


class ProcessEnd(Enum):
    """How the process of a session was ended."""

    BY_ITSELF = auto()  # it has answered that it ends
    BY_RUNNER = auto()  # it did not answer
    UNREACHABLE = auto()  # it has no connection; its runner knows no process, or is away as well


class RunnerStop(Enum):
    """What a runner did about a process that it was asked to end."""

    ENDED = auto()
    GONE = auto()  # it had ended before
    ALIVE = auto()  # it could not end it
    NOT_KNOWN = auto()
    NO_ANSWER = auto()
    AWAY = auto()  # it is not connected


def read_stop_answer(answer: Any) -> RunnerStop:
    """The answer to `stop-session`. `still_alive` is also said of a session that the runner does
    not know; `known` is our runner's own.
    """
    status = answer.get("status") if isinstance(answer, dict) else None
    if status == "stopped":
        return RunnerStop.ENDED
    if status == "already_gone":
        return RunnerStop.GONE
    if status == "still_alive":
        return RunnerStop.ALIVE if answer.get("known") is True else RunnerStop.NOT_KNOWN
    return RunnerStop.NO_ANSWER


@define(eq=False, repr=False)
class SessionTermination:
    registry: HubRegistry

    log = Logger()

    async def end(self, session: HubSession) -> ProcessEnd:
        """End the process of a session: by its own means, or else by the runner of its machine.
        Raises Unavailable if it runs on.
        """
        rpc = self.registry.rpc
        may_be_starting = self._may_be_starting(session)
        peer = rpc.server(session.id, rpc_methods.KILL_SESSION)
        try:
            await rpc.call(session.id, rpc_methods.KILL_SESSION, timeout=KILL_TIMEOUT)
        except TargetMissing:
            is_connected = False
        except CallFailed as error:
            is_connected = not error.gone
        else:
            self.registry.clock.callLater(EXIT_TIMEOUT, self._check_exit, session, peer)
            return ProcessEnd.BY_ITSELF
        # Its process may also be starting, and would report the session as running again (C17).
        match await self._stop_at_machine(session):
            case RunnerStop.ENDED if is_connected or not may_be_starting:
                return ProcessEnd.BY_RUNNER  # a hanging process loses its connection after a while
            case RunnerStop.GONE if is_connected:
                return ProcessEnd.BY_RUNNER
            case RunnerStop.ALIVE:
                raise self._still_running(session, "its runner could not end it")
            case RunnerStop.AWAY if is_connected:
                raise self._still_running(session, "the runner of its machine is not connected")
            case RunnerStop.NOT_KNOWN if is_connected:
                raise self._still_running(session, "the runner of its machine does not know it")
            case RunnerStop.NO_ANSWER if is_connected:
                raise self._still_running(session, "the runner of its machine does not answer")
        return ProcessEnd.UNREACHABLE

    def _may_be_starting(self, session: HubSession) -> bool:
        """Whether a process that has no connection is only on its way."""
        is_expected = self.registry.clock.seconds() < session.expected_until
        return session.id in self.registry.resuming or (is_expected and not session.active)

    def _check_exit(self, session: HubSession, peer: Any) -> None:
        """Have a process ended by its runner that has answered that it ends, and is still there."""
        if self.registry.rpc.server(session.id, rpc_methods.KILL_SESSION) is not peer:
            return
        self.log.warn(
            "The process of session {session_id} has not ended within {seconds:.0f} s; its runner "
            "is asked to end it",
            session_id=session.id,
            seconds=EXIT_TIMEOUT,
        )
        message = "The process of session {session_id} could not be ended"
        stopping = self._stop_at_machine(session)
        run_in_background(stopping, self.log, message, session_id=session.id)

    def _still_running(self, session: HubSession, why: str) -> Unavailable:
        metadata = session.public_metadata
        machine = self.registry.machines.get(metadata.get("machineId", ""))
        where = metadata.get("host", "its machine") if machine is None else machine.name
        pid = metadata.get("hostPid")
        process = f"process {pid}" if isinstance(pid, int) else "its process"
        return Unavailable(
            f"The session does not respond, and {why}. Start the runner on {where} (hapi runner "
            f"start) and archive the session again, or end {process} there.",
            "session_not_responding",
        )

    async def _stop_at_machine(self, session: HubSession) -> RunnerStop:
        """Have the runner of its machine end the session's process."""
        machine = self.registry.resuming.get(session.id) or session.public_metadata.get("machineId")
        if not isinstance(machine, str) or not self.registry.owns(session.namespace, machine):
            return RunnerStop.AWAY
        return await stop_at_machine(self.registry, machine, session.id)


async def stop_at_machine(registry: HubRegistry, machine_id: str, session_id: str) -> RunnerStop:
    """Have the runner of a machine end the process of a session."""
    log = SessionTermination.log
    try:
        answer = await registry.rpc.call(
            machine_id, rpc_methods.STOP_SESSION, {"sessionId": session_id}, STOP_TIMEOUT
        )
    except TargetMissing:
        return RunnerStop.AWAY
    except CallFailed as error:
        log.warn(
            "The runner did not stop {session_id}: {reason}",
            session_id=session_id,
            reason=str(error),
        )
        return RunnerStop.NO_ANSWER
    log.debug(
        "The runner's answer about {session_id}: {answer}", session_id=session_id, answer=answer
    )
    return read_stop_answer(answer)
