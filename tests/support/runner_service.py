"""A runner service on a fake reactor."""

import json
import os

import msgspec
from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.testing import MemoryReactorClock

from hapi.net.client.hub_clock import HubClock
from hapi.net.common.rpc import RpcTable
from hapi.process import MemoryProcesses
from hapi.protocol.machine import RunnerFacts
from hapi.runner.service import RunnerService
from hapi.runner.uplink.duplicates import DuplicateRunners
from tests.support.runner_stage import options_for, result_of


class Link:
    connected = True

    def on_status(self, call):
        pass

    def stopService(self):
        self.connected = False


@define(eq=False)
class Machine:
    """A hub link that remembers what it is told; `dead`: nothing it does ever ends."""

    clock: object
    options: object
    facts: RunnerFacts
    rpc: RpcTable
    dead: bool = False
    registered: bool = False
    said: list = field(factory=list)
    link: Link = field(factory=Link)
    hub_clock: HubClock = field(factory=HubClock)
    duplicates: DuplicateRunners = field(init=False)
    on_registered: object = None
    on_not_registered: object = None

    def __attrs_post_init__(self):
        self.duplicates = DuplicateRunners(self.facts, "machine-1", "/home", lambda: None)

    def start(self):
        self.said.append("start")

    def status(self):
        return {"url": self.options.access.url, "phase": "connected", "reason": None}

    def retry_now(self):
        self.said.append("try now")

    def publish_spawn_error(self, error):
        self.said.append(error)

    def publish_capabilities(self, capabilities):
        if capabilities != self.facts.capabilities:
            self.said.append("other capabilities")
            self.facts = msgspec.structs.replace(self.facts, capabilities=capabilities)

    def republish(self):
        self.said.append("claimed again")

    async def leave(self, source, seconds):
        self.said.append(source)
        if self.dead:
            await Deferred()

    async def close(self):
        self.said.append("closed")
        if self.dead:
            await Deferred()


class Reactor(MemoryReactorClock):
    """listenTCP in memory with a port number of its own, timers on a clock, descriptors watched by
    nobody."""

    def listenTCP(self, port, factory, backlog=50, interface=""):
        super().listenTCP(port, factory, backlog, interface)
        return type(
            "Port",
            (),
            {"getHost": lambda _: type("A", (), {"port": 4711})(), "stopListening": lambda _: None},
        )()

    def stop(self):
        raise AssertionError("the reactor is the host's")


@define(eq=False)
class Run:
    home: object
    dead_hub: bool = False
    reactor: Reactor = field(factory=Reactor)
    processes: MemoryProcesses = field(init=False)
    steps: list = field(factory=list)
    retired: list = field(factory=list)
    machine: Machine | None = None
    service: RunnerService = field(init=False)
    more: dict = field(factory=dict)
    options: dict = field(factory=dict)  # that differ from those of `options_for`

    def __attrs_post_init__(self):
        self.processes = MemoryProcesses(("session",), self.reactor)
        self.processes.add("runner", "start-sync", pid=os.getpid())
        self.service = RunnerService(
            self.reactor,
            options_for(self.home, **self.options),
            self.processes,
            on_retired=self.retired.append,
            on_step=self.steps.append,
            machine=self._machine,
            **self.more,
        )

    def _machine(self, *args):
        self.machine = Machine(*args, dead=self.dead_hub)
        return self.machine

    def up(self):
        self.service.startService()
        for _ in range(40):
            self.reactor.advance(0.02)
        return self

    def stop(self):
        leaving = self.service.stopService()
        for _ in range(150):
            self.reactor.advance(0.01)
        result_of(leaving)

    @property
    def state(self):
        return json.loads(self.home.runner_state.read_text())
