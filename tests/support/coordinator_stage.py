"""A whole runner service that hands over to a stand-in."""

import json

from attrs import define, field
from twisted.internet.defer import CancelledError, Deferred, fail, succeed

from hapi.process import MemoryProcesses
from hapi.protocol.spawn import parse_spawn
from hapi.runner.handoff.coordinator import HandoffCoordinator
from hapi.runner.handoff.descriptors import StartCommand
from hapi.runner.handoff.trial import TrialFailed
from hapi.runner.handoff.upgrade import CONFIRM_DELAY, BuildWatch
from hapi.runner.supervision.supervisor import Supervision
from tests.support.handoff_stage import NEW, Disk
from tests.support.outgoing_stage import Fake
from tests.support.runner_service import Reactor as PlainReactor
from tests.support.runner_service import Run

OTHER = 7  # pid of the replacement


class Port:
    reading = True

    def getHost(self):
        return type("A", (), {"port": 4711})()

    def stopListening(self):
        return None

    def stopReading(self):
        self.reading = False

    def startReading(self):
        self.reading = True

    def fileno(self):
        return 99


class Reactor(PlainReactor):
    def listenTCP(self, port, factory, backlog=50, interface=""):
        self.port = Port()
        return self.port


@define(eq=False)
class FakeTrial:
    """A trial start that comes up when the test says so."""

    build: object
    outcome: Deferred = field(factory=Deferred)
    cancelled: bool = False

    async def run(self):
        try:
            await self.outcome
        except CancelledError:
            self.cancelled = True
            raise

    def comes_up(self):
        self.outcome.callback(None)

    def fails(self, reason="the trial start exited with code 1: SyntaxError", output=None):
        self.outcome.errback(TrialFailed(reason, output))


@define(eq=False)
class Scene:
    """A runner that is up and registered, its disk, and the replacements that it starts."""

    home: object
    supervision: Supervision = field(factory=Supervision)
    disk: Disk = field(factory=Disk)
    reactor: Reactor = field(factory=Reactor)
    replacements: list = field(factory=list)
    trials: list = field(factory=list)
    answer: object = None
    run: Run = field(init=False)

    def __attrs_post_init__(self):
        self.run = Run(self.home, reactor=self.reactor, more={"handoff": self.make_coordinator})
        self.run.up()
        self.run.machine.registered = True
        self.run.machine.on_registered()
        self.run.machine.said.clear()
        self.service.sessions.availability._reason = lambda agent: None

    def make_coordinator(self, runner):
        return HandoffCoordinator(
            self.reactor,
            MemoryProcesses((), self.reactor),
            runner,
            self.supervision,
            StartCommand(("runner",), "/", {}),
            watch=BuildWatch(self.reactor, self.disk),
            make_replacement=self.make,
            query_status=lambda: self.answer or fail(ConnectionError("nobody")),
            make_trial=self.make_trial,
        )

    @property
    def coordinator(self):
        return self.service.handoff

    @property
    def service(self):
        return self.run.service

    def make_trial(self, build):
        self.trials.append(FakeTrial(build))
        return self.trials[-1]

    def make(self, descriptors):
        self.replacements.append(Fake(OTHER))
        return self.replacements[-1]

    def upgrade(self):
        """Another build is there, and was seen twice."""
        self.disk.now = NEW
        self.service.handoff.check_for_upgrade()
        self.advance(CONFIRM_DELAY + 0.1)

    def advance(self, seconds):
        self.reactor.pump([0.02] * int(seconds / 0.02 + 1))

    def send(self, word, **more):
        self.replacements[-1].channel.lineReceived(json.dumps({"word": word, **more}).encode())

    def will_answer(self, **other):
        status = dict(self.service.status())
        hub = {**status["hub"], "phase": "connected"}
        build = {"version": NEW.version, "digest": NEW.digest}
        self.answer = succeed(
            {
                **status,
                "pid": OTHER,
                "version": NEW.version,
                "build": build,
                "hub": hub,
                "registered": True,
                **other,
            }
        )

    def files(self):
        return [
            path.exists()
            for path in (self.home.npm_lock, self.home.runner_state, self.home.runner_socket)
        ]

    def handoff(self):
        return self.service.status()["handoff"]

    def spawn(self):
        request = parse_spawn({"directory": str(self.home.path), "agent": "claude"})
        return Deferred.fromCoroutine(self.service.spawn(request, "hub"))
