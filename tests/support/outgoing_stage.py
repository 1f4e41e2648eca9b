"""The outgoing side of a hand-off with a stand-in for the replacement."""

from typing import Any

from attrs import define, field
from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock

from hapi.one_shot import OneShotObserver
from hapi.runner.handoff.channel import HandoffChannel
from hapi.runner.handoff.outcome import Failed
from hapi.runner.handoff.outgoing import HANDOFF_TIMEOUT, OutgoingHandoff
from hapi.runner.handoff.verification import ExpectedStatus
from tests.support.runner_stage import result_of

EXPECTED = ExpectedStatus(
    pid=7,
    version="2",
    digest="b",
    argv=("runner", "start-sync", "--workspace-root", "/w"),
    workspace_roots=("/w",),
    session_command=("s",),
    hub="http://hub",
    machine_id="m",
    identity="i",
    port=4711,
    online_as="i",
)


GOOD: dict[str, Any] = {
    "pid": 7,
    "version": "2",
    "build": {"version": "2", "digest": "b"},
    "argv": ["runner", "start-sync", "--workspace-root", "/w"],
    "workspaceRoots": ["/w"],
    "sessionCommand": ["s"],
    "hub": {"url": "http://hub", "phase": "connected", "reason": None},
    "machineId": "m",
    "identity": "i",
    "httpPort": 4711,
    "registered": True,
}


class Line(HandoffChannel):
    """A channel whose other end is the test."""

    def __init__(self) -> None:
        super().__init__()
        self.said: list[dict[str, Any]] = []

    def send(self, word: str, **more: Any) -> None:
        self.said.append({"word": word, **more})

    def hears(self, text: bytes) -> None:
        self.lineReceived(text)

    def close(self, reason: str = "the channel was closed") -> None:
        self._fail_waiting(reason)


@define(eq=False)
class Fake:
    pid: int = 7
    channel: Line = field(factory=Line)
    ended: OneShotObserver[str] = field(factory=OneShotObserver)
    output: None = None
    killed: int = 0
    terminated: int = 0

    def end(self):
        self.killed += 1
        self.channel.close()
        self.ended.fire("the replacement was ended by SIGKILL")
        return succeed(None)

    def explain(self, reason):
        return reason

    def terminate(self):
        self.terminated += 1

    def dies(self, how: str = "the replacement exited with code 1") -> None:
        self.channel._fail_waiting("it is gone")
        self.ended.fire(how)


@define(eq=False)
class Old:
    """The runner that is to be replaced."""

    answer: Any = None  # a status, or an exception
    quiet: Deferred[None] | None = None  # what is begun is finished when this fires
    log: list[str] = field(factory=list)
    other: int | None = None  # whose lock was reclaimed

    async def quiesce(self):
        self.log.append("quiet")
        if self.quiet is not None:
            await self.quiet

    def handover_data(self):
        return {"token": "t", "ages": [0.0]}

    async def ask(self):
        self.log.append("ask")
        if isinstance(self.answer, Exception):
            raise self.answer
        if isinstance(self.answer, Deferred):
            return await self.answer
        return self.answer

    def reclaim(self, other):
        self.other = other

    def resume(self):
        self.log.append(f"again after {self.other}")


class Try:
    """One hand-off; the test is the replacement."""

    def __init__(self, answer: Any = GOOD, start: Any = None, **old: Any) -> None:
        self.clock, self.new, self.old = Clock(), Fake(), Old(answer, **old)
        self.handoff = OutgoingHandoff(
            self.clock,
            start or (lambda: self.new),
            lambda pid: EXPECTED,
            self.old.ask,
            self.old.handover_data,
            [self.old],
            self.old.reclaim,
        )
        self.running = self.handoff.run()

    def send(self, word: str, **more: str) -> None:
        import json

        self.new.channel.hears(json.dumps({"word": word, **more}).encode())

    def wait(self, seconds: float = HANDOFF_TIMEOUT) -> None:
        self.clock.pump([0.5] * int(seconds / 0.5))

    def failed(self) -> str:
        """The reason, after all that a failed try must leave."""
        self.wait(0.5)
        outcome = result_of(self.running)
        assert isinstance(outcome, Failed), outcome
        assert self.new.killed == 1
        assert self.old.log[-1] == "again after 7"
        assert self.old.log.count("again after 7") == 1
        assert not self.clock.getDelayedCalls()
        return outcome.reason
