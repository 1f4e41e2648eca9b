"""Calling the running runner: over its unix socket, else over its port once that is known to be the runner's."""

from __future__ import annotations

import builtins
import os
from collections.abc import Mapping
from io import BytesIO
from typing import Any

import msgspec
from attrs import define, field
from twisted.internet.defer import CancelledError, Deferred, TimeoutError
from twisted.internet.endpoints import TCP4ClientEndpoint, UNIXClientEndpoint
from twisted.internet.error import ConnectError, ConnectionClosed
from twisted.internet.protocol import Protocol, connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.client import (
    Agent,
    FileBodyProducer,
    RequestTransmissionFailed,
    ResponseDone,
    ResponseFailed,
)
from twisted.web.http_headers import Headers
from twisted.web.iweb import IAgentEndpointFactory
from zope.interface import implementer

from hapi.home import Home
from hapi.process.identity import read_stat
from hapi.runner.control.listeners import reachable
from hapi.runner.control.peer_credentials import PeerUnknown, holds_socket, listening_inode
from hapi.runner.storage.state_file import RunnerState, StateFile

TIMEOUT = 10.0  # seconds; HAPI_RUNNER_HTTP_TIMEOUT (milliseconds) says otherwise
STOPPED = "Tt"  # states in /proc/<pid>/stat
SPAWN_TIMEOUT = 60.0  # seconds: a start lease, a worktree and a tree to be ended fit in


class RunnerNotRunning(Exception):
    """No runner answers for this home."""


class ControlFailed(Exception):
    """The runner is there, but did not do it; the text says why."""

    def __init__(
        self, reason: str, status: int | None = None, body: Mapping[str, Any] | None = None
    ) -> None:
        super().__init__(reason)
        self.reason, self.status, self.body = reason, status, dict(body or {})


def stopped_runner_pid(home: Home) -> int | None:
    """The pid of the runner of `home` if its process is stopped (SIGSTOP): it answers nobody then."""
    state = StateFile(home).read()
    stat = None if state is None else read_stat(state.pid)
    return stat.pid if stat is not None and stat.state in STOPPED else None


@implementer(IAgentEndpointFactory)
@define
class _Only:
    """Whatever the URL, this endpoint."""

    _endpoint: Any

    def endpointForURI(self, uri: Any) -> Any:
        return self._endpoint


class _Collector(Protocol):
    """The body of an answer; errs when the connection ends in the middle."""

    def __init__(self) -> None:
        self.done: Deferred[bytes] = Deferred()
        self._received = bytearray()

    def dataReceived(self, data: bytes) -> None:
        self._received += data

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if not self.done.called:
            self.done.callback(bytes(self._received)) if reason.check(
                ResponseDone
            ) else self.done.errback(reason)


@define
class ControlClient:
    """The control API of the runner of `home`. Each call raises RunnerNotRunning or ControlFailed."""

    _reactor: Any
    _home: Home
    _environ: Mapping[str, str] = field(factory=lambda: os.environ)
    log = Logger()

    async def status(self) -> dict[str, Any]:
        """What the runner says of itself: pid, version, machineId, hub {url, phase, reason}, registered, workspaceRoots, …"""
        try:
            return await self._call("/status", {})
        except ControlFailed as error:
            state = StateFile(self._home).read()
            if error.status != 404 or state is None:
                raise
            return await self._status_of_npm(state)

    async def _status_of_npm(self, state: RunnerState) -> dict[str, Any]:
        """npm's runner has no `/status`; what its state file and its list say is as much as can be known."""
        return {
            "pid": state.pid,
            "version": f"npm {state.started_with_cli_version}",
            "machineId": state.started_with_machine_id,
            "hub": {
                "url": state.started_with_api_url,
                "phase": "unknown",
                "reason": "a runner of the npm make does not tell",
            },
            "registered": None,
            "argv": list(state.started_with_argv),
            "children": len(await self.list()),
        }

    async def list(self) -> list[dict[str, Any]]:
        """The live sessions: startedBy, happySessionId, pid, attempt, agent, directory, state, startedAt."""
        found = (await self._call("/list", {})).get("children")
        return found if isinstance(found, builtins.list) else []

    async def spawn(self, directory: str, **wanted: Any) -> dict[str, Any]:
        """Start a session; `wanted` are the wire's fields (agent, sessionType, worktreeName, …).

        {"success": true, "sessionId"} or, refused, {"success": false, "error" | "requiresUserApproval", …}.
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
        """Ask the runner to leave; it does so a moment after the answer."""
        await self._call("/stop", {})

    async def drain(self, keep: bool = True) -> dict[str, Any]:
        """Have it start no more sessions: accepting, starting (a number), turns and unknown (session ids).

        Without `keep` that ends with the runner, else with `resume` alone.
        """
        return await self._call("/drain", {} if keep else {"keep": False})

    async def resume(self) -> dict[str, Any]:
        """The end of draining; answers as `drain`."""
        return await self._call("/resume", {})

    async def interrupted(self) -> builtins.list[dict[str, Any]]:
        """Sessions that can be brought back: sessionId, attempt, agent, directory, resumeSessionId, endedAt, reason, tries."""
        found = (await self._call("/interrupted", {})).get("sessions")
        return found if isinstance(found, builtins.list) else []

    async def revive(self, session_id: str) -> dict[str, Any]:
        """Bring one of them back; answers as `spawn`."""
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
        exchange = Deferred.fromCoroutine(self._exchange(path, msgspec.json.encode(body)))
        try:
            status, content = await exchange.addTimeout(seconds or self._timeout(), self._reactor)
        except TimeoutError as error:
            pid = stopped_runner_pid(self._home)
            whose = (
                ""
                if pid is None
                else f" (its process {pid} is stopped: `kill -CONT {pid}` lets it go on)"
            )
            raise ControlFailed(
                f"the runner gave no answer to {path} within {seconds or self._timeout():g} s{whose}"
            ) from error
        try:
            found = msgspec.json.decode(content)
        except (msgspec.DecodeError, UnicodeDecodeError):
            found = None
        if not isinstance(found, dict):
            raise ControlFailed(
                f"the runner answered {path} with HTTP {status} and no JSON object", status
            )
        if status != 200:
            raise ControlFailed(
                str(found.get("message") or found.get("error") or f"HTTP {status}"), status, found
            )
        return found

    async def _exchange(self, path: str, content: bytes) -> tuple[int, bytes]:
        state = StateFile(self._home).read()
        try:
            with reachable(self._home.runner_socket) as name:
                return await self._post(
                    UNIXClientEndpoint(self._reactor, name, timeout=5), 0, path, content, state
                )
        except (ConnectError, OSError) as error:
            self.log.debug("The runner's socket does not answer: {reason}", reason=str(error))
        if state is None:
            raise RunnerNotRunning(f"no runner is running in {self._home.path}")
        self._prove(state)
        try:
            endpoint = TCP4ClientEndpoint(self._reactor, "127.0.0.1", state.http_port, timeout=5)
            return await self._post(endpoint, state.http_port, path, content, state)
        except ConnectError as error:
            raise RunnerNotRunning(f"no runner is running in {self._home.path}") from error

    def _prove(self, state: RunnerState) -> None:
        """The port in the file may be another program's by now: nothing is sent before it is seen to be the runner's."""
        try:
            inode = listening_inode(state.http_port)
        except PeerUnknown:
            return  # not to be found out on this system
        if inode is None:
            raise RunnerNotRunning(
                f"no runner is running in {self._home.path} (nothing listens on its port {state.http_port})"
            )
        if holds_socket(state.pid, inode) is False:
            raise RunnerNotRunning(
                f"no runner is running in {self._home.path} (port {state.http_port} belongs to another program)"
            )

    async def _post(
        self, endpoint: Any, port: int, path: str, content: bytes, state: RunnerState | None
    ) -> tuple[int, bytes]:
        headers = {b"content-type": [b"application/json"], b"host": [f"127.0.0.1:{port}".encode()]}
        if state is not None and state.control_token:
            headers[b"authorization"] = [f"Bearer {state.control_token}".encode()]
        agent = Agent.usingEndpointFactory(self._reactor, _Only(endpoint))
        body = FileBodyProducer(BytesIO(content))
        try:
            response = await agent.request(
                b"POST", f"http://127.0.0.1:{port or 80}{path}".encode(), Headers(headers), body
            )
            collector = _Collector()
            response.deliverBody(collector)
            return response.code, await collector.done
        except (ConnectError, CancelledError):
            raise
        except (RequestTransmissionFailed, ResponseFailed, ConnectionClosed, OSError) as error:
            if any(reason.check(CancelledError) for reason in getattr(error, "reasons", ())):
                raise CancelledError from error  # the time is over
            raise ControlFailed(
                f"the connection to the runner ended before its answer to {path}"
            ) from error

    def _timeout(self) -> float:
        try:
            value = float(self._environ.get("HAPI_RUNNER_HTTP_TIMEOUT", "")) / 1000
        except ValueError:
            return TIMEOUT
        return value if 0 < value < 1e6 else TIMEOUT
