"""Stand-ins for the hub's REST side and for the link to it."""

import json

from twisted.internet.defer import Deferred, succeed

from hapi.net.client.link import LinkStatus
from hapi.net.common.errors import AckTimeout


class Link:
    """What the machine says, and what the hub answers: a function of (event, message), or None for
    silence."""

    def __init__(self, clock):
        self.clock, self.connected, self.started = clock, False, False
        self.said, self.alive, self.events, self.connects = [], [], {}, []
        self.answer = lambda event, message: {
            "result": "success",
            "version": message["expectedVersion"] + 1,
            **{key: value for key, value in message.items() if key in ("runnerState", "metadata")},
        }

    @property
    def status(self):
        return LinkStatus("connected" if self.connected else "connecting", None, 0.0)

    def on_connect(self, call):
        self.connects.append(call)

    def on_event(self, name, handle):
        self.events[name] = handle

    def startService(self):
        self.started = True

    def stopService(self):
        self.connected = False

    async def leave(self):
        self.stopService()

    def connect(self):
        self.connected = True
        for call in self.connects:
            call()

    def emit(self, event, message, keep=True):
        assert not keep
        self.alive.append((event, message))

    def call(self, event, message, timeout=10.0):
        json.dumps(message)
        self.said.append((event, message))
        answer = self.answer(event, message)
        if answer is None:
            silent = Deferred()
            timer = self.clock.callLater(timeout, lambda: silent.errback(AckTimeout(event)))
            return silent.addBoth(
                lambda result: (timer.cancel() if timer.active() else None, result)[1]
            )
        return succeed(answer)

    def states(self):
        return [
            message["runnerState"]
            for event, message in self.said
            if event == "machine-update-state"
        ]


class Hub:
    """Registers machines; `refusals` come first."""

    def __init__(self, **stored):
        self.refusals, self.bodies = [], []
        self.machine = {
            "runnerState": None,
            "runnerStateVersion": 1,
            "metadata": None,
            "metadataVersion": 1,
            **stored,
        }

    async def register_machine(self, body):
        self.bodies.append(json.loads(json.dumps(body)))
        if self.refusals:
            raise self.refusals.pop(0)
        return {"metadata": body["metadata"], "runnerState": body["runnerState"], **self.machine}
