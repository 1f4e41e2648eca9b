"""A session process whose agent is the test: it puts on the wire what it is told to, on a thread of
its own."""

from __future__ import annotations

import asyncio
import json
import threading
import time
import uuid
from collections.abc import Callable, Coroutine
from typing import Any

import aiohttp
import socketio

PATIENCE = 10.0  # seconds for anything the hub is asked
CAPABILITIES = ["agent-availability", "cursor-chat-store-status", "stop-runner"]


def now() -> int:
    return int(time.time() * 1000)


class ScriptedSession:
    """One session row at `hub` (http://…) with a live socket; `consume` decides whether prompts are
    taken at once."""

    def __init__(
        self,
        hub: str,
        token: str,
        *,
        flavor: str = "opencode",
        consume: bool = True,
        session: str | None = None,  # take over this row
        connect: bool = True,  # False: the row alone
        **metadata: Any,
    ) -> None:
        self.hub, self.token, self.consume = hub, token, consume
        self.metadata = {
            "path": "/home/dev/shop",
            "host": "devbox",
            "flavor": flavor,
            "lifecycleState": "running",
            **metadata,
        }
        self.id = session or ""
        self._connects = connect
        self.thinking = False
        self.permission_mode = "default"
        self.state: dict[str, Any] = {
            "controlledByUser": False,
            "startingMode": "remote",
            "requests": {},
            "completedRequests": {},
        }
        self.prompts: list[dict[str, Any]] = []  # message objects, each once
        self.calls: list[tuple[str, Any]] = []  # (method, params) of the hub's calls
        self.cancel_answer = {"removed": True}
        self.answers: dict[
            str, Any
        ] = {}  # what calls give, by name; a function gets the parameters
        self.pause: Callable[[], object] = lambda: time.sleep(
            0.02
        )  # between two looks; a browser's test lets the browser go on
        self._versions = {"metadata": 1, "agentState": 1}
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._run(self._open())

    # --- what a test says ---

    def record(self, **data: Any) -> None:
        """A `codex` record."""
        self._say(
            {
                "role": "agent",
                "content": {"type": "codex", "data": data},
                "meta": {"sentFrom": "cli"},
            }
        )

    def claude(self, **data: Any) -> None:
        self._say(
            {
                "role": "agent",
                "content": {"type": "output", "data": {"uuid": str(uuid.uuid4()), **data}},
                "meta": {"sentFrom": "cli"},
            }
        )

    def event(self, **data: Any) -> None:
        self._say(
            {"role": "agent", "content": {"type": "event", "id": str(uuid.uuid4()), "data": data}}
        )

    def serve(self, *names: str) -> None:
        """Register methods, whose answers are in `answers`."""
        for name in names:
            call = {"method": f"{self.id}:{name}"}
            self._run(self._io.emit("rpc-register", call, namespace="/cli"))

    def raw(self, message: Any) -> None:
        self._say(message)

    def think(self, thinking: bool) -> None:
        self.thinking = thinking
        self._run(self._alive())

    def ask(self, request: str, tool: str, arguments: Any, **more: Any) -> None:
        self.state["requests"][request] = {
            "tool": tool,
            "arguments": arguments,
            "createdAt": now(),
            **more,
        }
        self._run(self._write("agentState", self.state))

    def answered(self, request: str, status: str = "approved", **more: Any) -> None:
        asked = self.state["requests"].pop(request)
        self.state["completedRequests"][request] = {
            **asked,
            "completedAt": now(),
            "status": status,
            **more,
        }
        self._run(self._write("agentState", self.state))

    def describe(self, **metadata: Any) -> None:
        self.metadata.update(metadata)
        self._run(self._write("metadata", self.metadata))

    def take(self, *local_ids: str) -> None:
        """Hand the waiting prompts to the agent."""
        self._run(
            self._io.emit(
                "messages-consumed", {"sid": self.id, "localIds": list(local_ids)}, namespace="/cli"
            )
        )

    def until(self, look: Callable[[], Any], what: str) -> Any:
        """What `look` gives, as soon as that is true."""
        deadline = time.monotonic() + 2 * PATIENCE
        while not (seen := look()):
            if time.monotonic() > deadline:
                raise TimeoutError(f"{what} did not come; the hub's calls were {self.calls}")
            self.pause()
        return seen

    def wait_for_call(self, method: str) -> Any:
        """The parameters of the hub's latest call of `method`."""
        return self.until(
            lambda: next(([given] for name, given in reversed(self.calls) if name == method), None),
            f"a call of {method}",
        )[0]

    def again(self) -> None:
        """Wait until the socket is back after a restart of the hub."""
        self.until(
            lambda: self._io.connected and "/cli" in self._io.namespaces, "the session's socket"
        )

    def end(self, reason: str = "terminated", archived: bool = True) -> None:
        self._beating.cancel()
        self._run(
            self._io.emit(
                "session-end", {"sid": self.id, "time": now(), "reason": reason}, namespace="/cli"
            )
        )
        if archived:
            self.describe(
                lifecycleState="archived",
                lifecycleStateSince=now(),
                archivedBy="cli",
                archiveReason="User terminated",
            )
        self.close()

    def close(self) -> None:
        if not self._loop.is_running():
            return
        if not self._connects:
            self._loop.call_soon_threadsafe(self._loop.stop)
            return
        self._beating.cancel()
        self._run(self._leave())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(PATIENCE)

    # --- the wire ---

    def _run(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(PATIENCE)

    def _say(self, message: Any) -> None:
        self._run(self._io.emit("message", {"sid": self.id, "message": message}, namespace="/cli"))
        self._run(self._io.call("ping", namespace="/cli"))  # the hub has handled it

    async def _open(self) -> None:
        async with aiohttp.ClientSession(headers={"Authorization": f"Bearer {self.token}"}) as http:
            if not self.id:
                body = {
                    "tag": str(uuid.uuid4()),
                    "metadata": self.metadata,
                    "agentState": self.state,
                }
                async with http.post(f"{self.hub}/cli/sessions", json=body) as answer:
                    assert answer.status == 200, await answer.text()
                    self.id = (await answer.json())["session"]["id"]
            async with http.get(f"{self.hub}/cli/sessions/{self.id}") as answer:
                row = (await answer.json())["session"]
                self._versions = {
                    "metadata": row["metadataVersion"],
                    "agentState": row["agentStateVersion"],
                }
        if not self._connects:
            return
        self._io = socketio.AsyncClient(reconnection_delay=0.2, reconnection_delay_max=0.5)
        self._io.on("connect", self._connected, namespace="/cli")
        self._io.on("update", self._update, namespace="/cli")
        self._io.on("rpc-request", self._call, namespace="/cli")
        auth = {"token": self.token, "clientType": "session-scoped", "sessionId": self.id}
        await self._io.connect(self.hub, namespaces=["/cli"], auth=auth, transports=["websocket"])
        await self._connected()
        await self._write("agentState", self.state)
        self._beating = asyncio.ensure_future(self._beat())

    async def _connected(self) -> None:
        for name in ("permission", "abort", "switch", "killSession", "set-session-config"):
            await self._io.emit("rpc-register", {"method": f"{self.id}:{name}"}, namespace="/cli")
        await self._alive()

    async def _leave(self) -> None:
        await self._io.disconnect()

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(1)  # the beat of a keep-alive
            if self._io.connected:
                await self._alive()

    async def _alive(self) -> None:
        alive = {
            "sid": self.id,
            "time": now(),
            "thinking": self.thinking,
            "mode": "remote",
            "permissionMode": self.permission_mode,
        }
        await self._io.emit("session-alive", alive, namespace="/cli")

    async def _write(self, field: str, value: Any) -> None:
        event = "update-metadata" if field == "metadata" else "update-state"
        for _ in range(10):
            ack = await self._io.call(
                event,
                {"sid": self.id, "expectedVersion": self._versions[field], field: value},
                namespace="/cli",
            )
            self._versions[field] = ack.get("version", self._versions[field])
            if ack["result"] == "success":
                return
        raise AssertionError(f"{event} was never accepted")

    async def _update(self, update: dict[str, Any]) -> Any:
        body = update["body"]
        if body["t"] == "cancel-queued-message":
            return {
                "removed": False,
                "inFlight": False,
                "indeterminate": False,
                "consumed": False,
                **self.cancel_answer,
            }
        if body["t"] == "new-message":
            message = body["message"]
            if message["content"]["role"] == "user" and message["id"] not in {
                known["id"] for known in self.prompts
            }:
                self.prompts.append(message)
                if self.consume and message["localId"]:
                    await self._io.emit(
                        "messages-consumed",
                        {"sid": self.id, "localIds": [message["localId"]]},
                        namespace="/cli",
                    )
        return None

    async def _call(self, request: dict[str, Any]) -> str:
        method = request["method"].split(":", 1)[1]
        params = json.loads(request["params"])
        self.calls.append((method, params))
        if method == "set-session-config" and method not in self.answers:
            self.permission_mode = params.get("permissionMode", self.permission_mode)
            return json.dumps({"applied": params})
        return json.dumps(await self._answer(method, params))

    async def _answer(self, method: str, params: Any) -> Any:
        answer = self.answers.get(method)
        return await asyncio.to_thread(answer, params) if callable(answer) else answer


class ScriptedMachine(ScriptedSession):
    """A machine whose runner is the test: `answers` holds what its calls give, by name."""

    def __init__(self, hub: str, token: str, *, machine: str = "", **metadata: Any) -> None:
        self.machine_id = machine or str(uuid.uuid4())
        super().__init__(hub, token, **{"homeDir": "/home/dev", **metadata})

    def serve(self, *names: str) -> None:
        for name in names:
            call = {"method": f"{self.machine_id}:{name}"}
            self._run(self._io.emit("rpc-register", call, namespace="/cli"))

    async def _open(self) -> None:
        self.answers = {
            "agent-availability": {"agents": [{"agent": "demo", "available": True}]},
            "path-exists": lambda params: {
                "exists": {path: path == "/home/dev/shop" for path in params["paths"]}
            },
            "list-directory": {
                "success": True,
                "entries": [{"name": "shop", "type": "directory", "isGitRepo": True}],
            },
            "spawn-happy-session": {"type": "error", "errorMessage": "not scripted"},
            "stop-session": {"status": "stopped"},
        }
        given = {
            name: value
            for name, value in self.metadata.items()
            if name not in ("path", "flavor", "lifecycleState")
        }
        metadata = {
            "platform": "linux",
            "happyCliVersion": "0.30.7",
            "capabilities": CAPABILITIES,
            **given,
        }
        state = {"status": "running", "pid": 1, "httpPort": 1, "startedAt": now()}
        async with aiohttp.ClientSession(headers={"Authorization": f"Bearer {self.token}"}) as http:
            body = {"id": self.machine_id, "metadata": metadata, "runnerState": state}
            async with http.post(f"{self.hub}/cli/machines", json=body) as answer:
                assert answer.status == 200, await answer.text()
        self._io = socketio.AsyncClient()
        self._io.on("rpc-request", self._call, namespace="/cli")
        auth = {"token": self.token, "clientType": "machine-scoped", "machineId": self.machine_id}
        await self._io.connect(self.hub, namespaces=["/cli"], auth=auth, transports=["websocket"])
        for name in self.answers:
            await self._io.emit(
                "rpc-register", {"method": f"{self.machine_id}:{name}"}, namespace="/cli"
            )
        await self._alive()
        self._beating = asyncio.ensure_future(self._beat())

    async def _alive(self) -> None:
        health = {
            "collectedAt": now(),
            "cpuCount": 8,
            "load1m": 0.5,
            "cpuPercent": 12,
            "memoryPercent": 34,
            "uptimeSeconds": 7200,
        }
        await self._io.emit(
            "machine-alive",
            {"machineId": self.machine_id, "time": now(), "health": health},
            namespace="/cli",
        )

    async def _call(self, request: dict[str, Any]) -> str:
        method, params = request["method"].split(":", 1)[1], json.loads(request["params"])
        self.calls.append((method, params))
        return json.dumps(await self._answer(method, params))
