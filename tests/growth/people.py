"""People: prompts posted over REST, each with a local id, and spawns asked of runners."""

from __future__ import annotations

import uuid
from collections import Counter
from pathlib import Path
from random import Random
from typing import Any

from attrs import define, field
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.task import deferLater
from twisted.logger import Logger

from hapi.home import Home
from hapi.net.client.hub_client import HubClient
from hapi.net.common.rpc import RpcTable
from hapi.protocol.machine import RunnerFacts, runner_capabilities
from hapi.protocol.rpc_methods import AGENT_AVAILABILITY, PATH_EXISTS, SPAWN_SESSION
from hapi.runner.config.options import RunnerOptions
from hapi.runner.uplink.machine import Machine
from hapi.settings import HubAccess
from tests.growth.rest import NoAnswer, Rest
from tests.growth.sessions import SessionWorker

SPAWN_TIMEOUT = 20.0  # seconds that the person waits
RATE_LIMITED = 429


@define(eq=False)
class RunnerWorker:
    """A runner's own link to the hub. `spawned` counts the attempts for each directory."""

    reactor: Any
    access: HubAccess
    number: int
    home: Path
    http: Any
    spawned: Counter[str] = field(factory=Counter)
    machine: Machine = field(init=False)

    def start(self) -> RunnerWorker:
        self.home.mkdir(parents=True, exist_ok=True)
        options = RunnerOptions(
            Home(self.home), self.access, f"machine-{self.number}", environ={}, hostname="growth"
        )
        rpc = RpcTable(options.machine_id)
        rpc.add(SPAWN_SESSION, self._spawn)
        rpc.add(PATH_EXISTS, lambda params: {"exists": {}})
        rpc.add(AGENT_AVAILABILITY, lambda params: {"success": True, "agents": []})
        facts = RunnerFacts(
            pid=1,
            http_port=1,
            started_at=int(self.reactor.seconds() * 1000),
            capabilities=runner_capabilities(),
        )
        client = HubClient(self.reactor, self.access, self.http)
        self.machine = Machine(self.reactor, options, facts, rpc, client=client)
        self.machine.start()
        return self

    async def _spawn(self, params: Any) -> dict[str, Any]:
        self.spawned[params["directory"]] += 1
        await deferLater(self.reactor, 0.05)
        return {"type": "success", "sessionId": f"spawned-in-{params['directory']}"}

    @property
    def id(self) -> str:
        return f"machine-{self.number}"

    async def stop(self) -> None:
        await self.machine.leave("os-signal", 1.0)
        await self.machine.close()


@define(eq=False)
class People:
    """`posted` has the text of each prompt by its local id, once the hub has taken it."""

    reactor: Any
    rest: Rest
    sessions: list[SessionWorker]
    runners: list[RunnerWorker]
    seed: int
    posted: dict[str, str] = field(factory=dict)
    refused: list[str] = field(factory=list)
    spawns: Counter[str] = field(factory=Counter)  # what people were told
    promised: list[str] = field(factory=list)  # directories of spawns that were told to be done
    spawn_problems: Counter[str] = field(factory=Counter)
    log = Logger()

    def start(self, prompts: int, spawns: int, seconds: float) -> Deferred[Any]:
        """Fires when all is posted."""
        work = [self._prompts(prompts, seconds, which, 4) for which in range(4)]
        work += [self._spawns(spawns, seconds, which, 2) for which in range(2)]
        return gatherResults([Deferred.fromCoroutine(each) for each in work], consumeErrors=True)

    async def _prompts(self, count: int, seconds: float, which: int, people: int) -> None:
        random = Random(f"{self.seed} prompts {which}")
        began = self.reactor.seconds()
        for number in range(which, count, people):
            await self._until(began + seconds * number / count)
            session = random.choice([each for each in self.sessions if each.is_running])
            local_id = str(uuid.UUID(int=random.getrandbits(128)))
            text = f"prompt {number}"
            body = {"text": text, "localId": local_id}
            path = f"/api/sessions/{session.id}/messages"
            try:
                await self.rest.until_done("POST", path, body)
            except NoAnswer as problem:
                self.refused.append(f"{text}: {problem}")
            else:
                self.posted[local_id] = text

    async def _spawns(self, count: int, seconds: float, which: int, people: int) -> None:
        random = Random(f"{self.seed} spawns {which}")
        began = self.reactor.seconds()
        for number in range(which, count, people):
            await self._until(began + seconds * number / count)
            runner = random.choice(self.runners)
            directory = f"/growth/spawn-{number}"
            body = {"directory": directory, "agent": "codex"}
            path = f"/api/machines/{runner.id}/spawn"
            try:
                answer = await self.rest.once("POST", path, body, seconds=SPAWN_TIMEOUT)
            except NoAnswer as problem:
                self.spawns["failed"] += 1
                self.spawn_problems[str(problem.status or problem)[:100]] += 1
                continue
            if answer.get("type") == "success":
                self.spawns["done"] += 1
                self.promised.append(directory)
            else:
                self.spawns["refused"] += 1
                self.spawn_problems[str(answer.get("message"))[:100]] += 1

    async def _until(self, time: float) -> None:
        await deferLater(self.reactor, max(0.0, time - self.reactor.seconds()))
