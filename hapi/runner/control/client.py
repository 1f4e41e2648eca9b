"""The client of the control API: over the runner's unix socket, else over its TCP port.

The port is used only once it is known to be the runner's. treq is loaded with the first request.
"""

from __future__ import annotations

import builtins
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
from attrs import define, field
from msgspec import to_builtins
from twisted.internet.defer import CancelledError, Deferred, TimeoutError
from twisted.internet.endpoints import TCP4ClientEndpoint, UNIXClientEndpoint
from twisted.internet.error import ConnectError, ConnectingCancelledError, ConnectionClosed
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.logger import Logger

from hapi.home import Home
from hapi.net.server.unix_port import reachable
from hapi.process.kernel import kernel
from hapi.runner.control.peer_credentials import listens_on
from hapi.runner.storage.state_file import RunnerState, StateFile

if TYPE_CHECKING:
    from treq.client import HTTPClient

    from hapi.protocol.control import ReplaceRunner

TIMEOUT = 10.0  # seconds, unless HAPI_RUNNER_HTTP_TIMEOUT (milliseconds) is set
RESTART_TIMEOUT = 40.0  # seconds; a trial start has 20
SPAWN_TIMEOUT = 60.0  # seconds: enough for a start lease, a worktree and a process tree to end
CONNECT_TIMEOUT = 5  # seconds
MAX_ANSWER = 64 << 20  # bytes
STOPPED_STATES = "Tt"  # states of proc(5)


class RunnerNotRunning(Exception):
    """No runner is running in this home."""


class ControlFailed(Exception):
    """The runner is running but did not do what was asked; the text says why."""

    def __init__(
        self, reason: str, status: int | None = None, body: Mapping[str, Any] | None = None
    ) -> None:
        super().__init__(reason)
        self.reason, self.status, self.body = reason, status, dict(body or {})


def stopped_runner_pid(home: Home) -> int | None:
    """The pid of the runner of `home` if its process is suspended (SIGSTOP) and cannot answer."""
    state = StateFile(home).read()
    stat = None if state is None else kernel().read_stat(state.pid)
    return stat.pid if stat is not None and stat.state in STOPPED_STATES else None


def http_client(reactor: Any, endpoint: IStreamClientEndpoint) -> HTTPClient:
    """A treq client whose requests all go to `endpoint`, whatever their URLs say."""
    from treq.client import HTTPClient
    from twisted.web.client import Agent
    from twisted.web.iweb import IAgentEndpointFactory
    from zope.interface import implementer

    @implementer(IAgentEndpointFactory)
    class FixedEndpoint:
        def endpointForURI(self, uri: Any) -> IStreamClientEndpoint:
            return endpoint

    return HTTPClient(Agent.usingEndpointFactory(reactor, FixedEndpoint()))


@define
class ControlClient:
    """The control API of the runner of `home`. Calls raise RunnerNotRunning or ControlFailed."""

    _reactor: Any
    _home: Home
    _environ: Mapping[str, str] = field(factory=lambda: os.environ)
    _connect: Callable[[Any, IStreamClientEndpoint], HTTPClient] = http_client
    log = Logger()

    async def status(self) -> dict[str, Any]:
        """What `/status` answers: pid, version, machineId, hub {url, phase, reason}, …"""
        try:
            return await self._call("/status", {})
        except ControlFailed as error:
            state = StateFile(self._home).read()
            if error.status != 404 or state is None:
                raise
            return await self._status_of_npm(state)

    async def _status_of_npm(self, state: RunnerState) -> dict[str, Any]:
        """The status of npm's runner, which has no `/status`, from its state file and its list."""
        return {
            "pid": state.pid,
            "version": f"npm {state.started_with_cli_version}",
            "machineId": state.started_with_machine_id,
            "hub": {
                "url": state.started_with_api_url,
                "phase": "unknown",
                "reason": "npm's runner does not report it",
            },
            "registered": None,
            "argv": list(state.started_with_argv),
            "children": len(await self.list()),
        }

    async def list(self) -> list[dict[str, Any]]:
        """The live sessions.

        Each has startedBy, happySessionId, pid, attempt, agent, directory, state, startedAt.
        """
        found = (await self._call("/list", {})).get("children")
        return found if isinstance(found, builtins.list) else []

    async def spawn(self, directory: str, **wanted: Any) -> dict[str, Any]:
        """Start a session; `wanted` are the wire's fields (agent, sessionType, worktreeName, …).

        The answer is {"success": true, "sessionId"} or, if the start is refused,
        {"success": false, "error" | "requiresUserApproval", …}.
        """
        try:
            return await self._call(
                "/spawn-session", {"directory": directory, **wanted}, SPAWN_TIMEOUT
            )
        except ControlFailed as error:
            if error.body.get("success") is False:
                return error.body
            raise

    async def stop_session(self, session_id: str) -> str:
        """`stopped`, `already_gone` or `still_alive`."""
        return str((await self._call("/stop-session", {"sessionId": session_id})).get("status"))

    async def stop(self) -> None:
        """Ask the runner to stop; it does so a moment after the answer."""
        await self._call("/stop", {})

    async def restart(self) -> None:
        """Ask the runner to exit, for its supervisor to start it again, after a trial start.

        ControlFailed says why it does not, with the status 404 for one that knows no such request.
        """
        await self._call("/restart", {}, RESTART_TIMEOUT)

    async def replace(self, asked: ReplaceRunner) -> int:
        """Begin a hand-off to another program; its pid. `status` tells the outcome.

        ControlFailed has the status 404 for a runner that knows no such request, and 409 when the
        hand-off cannot begin, with the pid of another one's `replacement` in its body.
        """
        return int((await self._call("/replace", to_builtins(asked)))["replacement"])

    async def trial_start_failed(self, reason: str, output: Path | None) -> None:
        """Have the runner keep why a trial start that a command made has failed.

        ControlFailed has the status 404 for a runner that knows no such request.
        """
        where = None if output is None else str(output)
        await self._call("/trial-start-failed", {"reason": reason, "output": where})

    async def drain(self, keep: bool = True, lease: float | None = None) -> dict[str, Any]:
        """Make the runner start no more sessions until `resume`.

        Without `keep` draining also ends when the runner stops, and with `lease` so many seconds
        after the last call. The answer has accepting, starting
        (a number), turns and unknown (session ids).
        """
        order: dict[str, Any] = {} if keep else {"keep": False}
        return await self._call("/drain", order | ({"leaseSeconds": lease} if lease else {}))

    async def resume(self) -> dict[str, Any]:
        """End draining; the answer is that of `drain`."""
        return await self._call("/resume", {})

    async def interrupted(self) -> builtins.list[dict[str, Any]]:
        """Sessions that can be resumed.

        Each has sessionId, attempt, agent, directory, resumeSessionId, endedAt, reason, tries.
        """
        found = (await self._call("/interrupted", {})).get("sessions")
        return found if isinstance(found, builtins.list) else []

    async def revive(self, session_id: str) -> dict[str, Any]:
        """Resume an interrupted session; the answer is that of `spawn`."""
        try:
            return await self._call("/revive", {"sessionId": session_id}, SPAWN_TIMEOUT)
        except ControlFailed as error:
            if error.body.get("success") is False:
                return error.body
            raise

    # --- inside

    async def _call(
        self, path: str, body: Mapping[str, Any], seconds: float | None = None
    ) -> dict[str, Any]:
        timeout = seconds or self._timeout()
        exchange = Deferred.fromCoroutine(self._exchange(path, msgspec.json.encode(body)))
        try:
            status, content = await exchange.addTimeout(timeout, self._reactor)
        except TimeoutError as error:
            reason = f"the runner did not answer {path} within {timeout:g} s"
            if (pid := stopped_runner_pid(self._home)) is not None:
                reason += f", because its process is suspended: resume it with `kill -CONT {pid}`"
            raise ControlFailed(reason) from error
        try:
            found = msgspec.json.decode(content)
        except (msgspec.DecodeError, UnicodeDecodeError):
            found = None
        if not isinstance(found, dict):
            raise ControlFailed(
                f"the runner answered {path} with HTTP {status} and no JSON object", status
            )
        if status not in (200, 202):
            reason = str(found.get("message") or found.get("error") or f"HTTP {status}")
            raise ControlFailed(reason, status, found)
        return found

    async def _exchange(self, path: str, content: bytes) -> tuple[int, bytes]:
        state = StateFile(self._home).read()
        try:
            with reachable(self._home.runner_socket) as name:
                unix = UNIXClientEndpoint(self._reactor, name, timeout=CONNECT_TIMEOUT)
                return await self._post(unix, 0, path, content, state)
        except (ConnectError, OSError) as error:
            self.log.debug("The runner's socket does not answer: {reason}", reason=str(error))
        if state is None:
            raise RunnerNotRunning(f"no runner is running in {self._home.path}")
        self._verify_port_owner(state)
        port = state.http_port
        tcp = TCP4ClientEndpoint(self._reactor, "127.0.0.1", port, timeout=CONNECT_TIMEOUT)
        try:
            return await self._post(tcp, port, path, content, state)
        except ConnectError as error:
            raise RunnerNotRunning(f"no runner is running in {self._home.path}") from error

    def _verify_port_owner(self, state: RunnerState) -> None:
        """Raise RunnerNotRunning if the port now belongs to another program."""
        if listens_on(state.pid, state.http_port) is False:
            import psutil  # here: the commands that find a runner do without it

            last = f"the last one, process {state.pid},"
            if psutil.pid_exists(state.pid):
                reason = f"{last} does not listen on its port {state.http_port}"
            else:
                reason = f"{last} has ended"
            raise RunnerNotRunning(f"no runner is running in {self._home.path} ({reason})")

    async def _post(
        self,
        endpoint: IStreamClientEndpoint,
        port: int,
        path: str,
        content: bytes,
        state: RunnerState | None,
    ) -> tuple[int, bytes]:
        from treq import collect
        from twisted.web.client import (
            RequestGenerationFailed,
            RequestTransmissionFailed,
            ResponseFailed,
        )

        headers = {"Content-Type": "application/json", "Host": f"127.0.0.1:{port}"}
        if state is not None and state.control_token:
            headers["Authorization"] = f"Bearer {state.control_token}"
        answer = bytearray()

        def receive(data: bytes) -> None:
            if len(answer) + len(data) > MAX_ANSWER:
                raise ControlFailed(f"the runner's answer to {path} is over {MAX_ANSWER} bytes")
            answer.extend(data)

        try:
            response = await self._connect(self._reactor, endpoint).post(
                f"http://127.0.0.1:{port or 80}{path}",
                data=content,
                headers=headers,
                allow_redirects=False,
                unbuffered=True,
            )
            await collect(response, receive)
            return response.code, bytes(answer)
        except ConnectingCancelledError as error:
            raise CancelledError from error
        except (ConnectError, CancelledError):
            raise
        except (
            RequestGenerationFailed,
            RequestTransmissionFailed,
            ResponseFailed,
            ConnectionClosed,
            OSError,
        ) as error:
            if any(reason.check(CancelledError) for reason in getattr(error, "reasons", ())):
                raise CancelledError from error  # the time-out
            raise ControlFailed(
                f"the connection to the runner was closed before its answer to {path}"
            ) from error

    def _timeout(self) -> float:
        try:
            value = float(self._environ.get("HAPI_RUNNER_HTTP_TIMEOUT", "")) / 1000
        except ValueError:
            return TIMEOUT
        return value if 0 < value < 1e6 else TIMEOUT
