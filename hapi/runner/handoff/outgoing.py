"""The old side of a hand-off: start the replacement, make room for it, look whether it is what it should be, and only then go.

    old                                     new
    start it with lock and listeners   →
                                       ←    ready      it has loaded, and proved that it holds the lock
    fall quiet: finish what is begun,
    accept nobody new
    go                                 →               adopts, writes its pid, accepts, registers
    ask the control socket who it is
    yours                              →
                                       ←    mine       from here on the files are its own
    retire, touching nothing

Whatever else happens within `patience` ends the replacement, and the old runner serves on as before (faults.md §3).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Protocol

from attrs import define, field, frozen
from twisted.internet.defer import CancelledError, Deferred, FailureGroup, TimeoutError, race
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger

from hapi.runner.handoff.channel import ChannelClosed
from hapi.runner.handoff.replacement import IReplacement, ReplacementNotStarted

PATIENCE = 30.0  # seconds for all of it
GLANCE = 0.05  # seconds between looks at the new one


@frozen
class Expected:
    """What the replacement must answer when it is asked who it is; the values of its `status`."""

    pid: int
    version: str
    digest: str
    argv: tuple[str, ...]
    workspace_roots: tuple[str, ...]
    session_command: tuple[str, ...]
    hub: str
    machine_id: str
    identity: str  # of hub, token and headers, see handoff.identity_digest
    port: int


@frozen
class Good:
    """It may have the home."""


@frozen
class NotYet:
    """It is the right one and not ready."""

    reason: str


@frozen
class Wrong:
    """It is not what we would have started: waiting will not help."""

    reason: str


def judge(expected: Expected, status: Mapping[str, Any]) -> Good | NotYet | Wrong:
    """Compare an answer to `/status` with what is expected (faults.md H04)."""
    hub = status.get("hub")
    build = status.get("build")
    seen = {
        "process id": (expected.pid, status.get("pid")),
        "version": (expected.version, status.get("version")),
        "build": (expected.digest, build.get("digest") if isinstance(build, Mapping) else None),
        "arguments": (expected.argv, _words(status.get("argv"))),
        "workspace roots": (expected.workspace_roots, _words(status.get("workspaceRoots"))),
        "session command": (expected.session_command, _words(status.get("sessionCommand"))),
        "hub": (expected.hub, hub.get("url") if isinstance(hub, Mapping) else None),
        "machine id": (expected.machine_id, status.get("machineId")),
        "identity at the hub": (expected.identity, status.get("identity")),
        "control port": (expected.port, status.get("httpPort")),
    }
    wrong = [name for name, (wanted, found) in seen.items() if wanted != found]
    if wrong:
        return Wrong(f"it came up with another {' and '.join(wrong)}")
    if status.get("registered") is not True:
        return NotYet("it is not registered at the hub")
    if not isinstance(hub, Mapping) or hub.get("phase") != "connected":
        return NotYet("its link to the hub does not stand")
    return Good()


def _words(value: Any) -> tuple[Any, ...] | None:
    return tuple(value) if isinstance(value, list | tuple) else None


@frozen
class Done:
    """The replacement has the home; we retire."""

    pid: int


@frozen
class Failed:
    """We serve on."""

    reason: str


@frozen
class Stopped:
    """Somebody asked the replacement to stop, and meant the runner."""

    reason: str


Outcome = Done | Failed | Stopped


class Predecessor(Protocol):
    """What the hand-off asks of the runner that is to be replaced."""

    async def quiesce(self) -> None:
        """Finish what is begun and accept nobody new."""

    def handover_data(self) -> Mapping[str, Any]:
        """What the replacement must know."""

    async def ask(self) -> Mapping[str, Any]:
        """Ask the control socket for its status; raises anything while nobody answers."""

    def resume(self, other: int) -> None:
        """Be as before: our pid and state on the disk, accepting. `other` may have written its own pid."""


class _End(Exception):
    """The hand-off is over in this way."""

    def __init__(self, outcome: Outcome) -> None:
        super().__init__(outcome)
        self.outcome = outcome


@define(eq=False)
class OutgoingHandoff:
    """One try. `run` gives its outcome and never raises; `abandon` ends it because we are leaving."""

    _clock: IReactorTime
    _runner: Predecessor
    _start: Callable[[], IReplacement]
    _expect: Callable[[int], Expected]  # pid → what it must be
    patience: float = field(factory=lambda: PATIENCE)
    replacement: IReplacement | None = None
    handed_over: bool = False
    _over: bool = False  # the replacement is being ended, or was
    _deadline: float = 0.0
    _doing: str = ""
    log = Logger()

    async def run(self) -> Outcome:
        self._deadline = self._clock.seconds() + self.patience
        try:
            self.replacement = self._start()
        except ReplacementNotStarted as error:
            return Failed(str(error))
        except Exception as error:
            self.log.failure("The replacement could not be started")
            return Failed(f"it could not be started: {error}")
        replacement = self.replacement
        self.log.info("Process {pid} is to replace us", pid=replacement.pid)
        try:
            outcome = await self._persuade(replacement)
        except _End as end:
            outcome = end.outcome
        except Exception as error:
            self.log.failure("The hand-off broke")
            outcome = Failed(f"the hand-off broke: {error}")
        if not isinstance(outcome, Done):
            await self._take_back(replacement)
        return outcome

    async def _persuade(self, replacement: IReplacement) -> Outcome:
        self._doing = "did not come up"
        await self._hear(replacement, "ready")
        self._doing = "could not be made room for"
        await self._within(replacement, self._runner.quiesce())
        replacement.channel.send("go", **self._runner.handover_data())
        self._doing = "did not answer on the control socket"
        await self._within(replacement, self._await_answer(replacement))
        self._doing = "did not take over"
        replacement.channel.send("yours")
        await self._hear(replacement, "mine")
        self.handed_over = True
        return Done(replacement.pid)

    async def _await_answer(self, replacement: IReplacement) -> None:
        expected = self._expect(replacement.pid)
        while True:
            try:
                status = await self._runner.ask()
            except Exception as error:
                if self._over:
                    raise  # nobody waits for us any more: what was cancelled may come as any error
                if self._clock.seconds() < self._deadline:
                    self._doing = f"did not answer on the control socket: {error}"
            else:
                match judge(expected, status):
                    case Good():
                        return
                    case Wrong(reason):
                        raise _End(Failed(reason))
                    case NotYet(reason):
                        self._doing = f"was not ready: {reason}"
            if self._clock.seconds() >= self._deadline:
                raise self._late()
            await deferLater(self._clock, GLANCE)

    def _late(self) -> _End:
        return _End(Failed(f"it {self._doing} within {self.patience:g} s"))

    async def _hear(self, replacement: IReplacement, word: str) -> None:
        async def wait() -> None:
            message = await replacement.channel.receive()
            if message["word"] != word:
                raise _End(_unexpected(message))

        await self._within(replacement, wait())

    async def _within(self, replacement: IReplacement, step: Awaitable[None]) -> None:
        """Do `step` until it is done, our patience is over, or the replacement has ended."""
        doing = Deferred.fromCoroutine(step).addCallbacks(  # type: ignore[arg-type]
            lambda _: None, lambda reason: reason.value
        )
        overdue: Deferred[None] = deferLater(
            self._clock, max(self._deadline - self._clock.seconds(), 0.0)
        )
        contest: list[Deferred[Any]] = [doing, replacement.ended.when_fired(), overdue]
        first, result = await race(contest)
        if first == 2:
            raise self._late()
        if first == 1:
            raise _End(await self._last_words(replacement, result))
        if isinstance(result, ChannelClosed):
            raise _End(await self._last_words(replacement, str(result)))
        if result is not None:
            raise result

    async def _last_words(self, replacement: IReplacement, how: str) -> Outcome:
        """It ended: how, and what it said before."""
        try:
            message = await replacement.channel.receive().addTimeout(0.2, self._clock)
        except (ChannelClosed, TimeoutError):
            ended = (
                replacement.ended.when_fired()
                .addTimeout(0.2, self._clock)
                .addErrback(lambda _: how)
            )
            return Failed(await ended)
        return _unexpected(message)

    async def _take_back(self, replacement: IReplacement) -> None:
        if self._over:
            return
        self._over = True
        try:
            await replacement.end()
        except (CancelledError, FailureGroup):  # whoever leaves waits so long and no longer
            self.log.warn(
                "Process {pid} was killed, and has not been seen to end", pid=replacement.pid
            )
        except Exception:
            self.log.failure("The replacement could not be ended")
        self._runner.resume(replacement.pid)

    async def abandon(self) -> None:
        """We are asked to stop: the replacement goes first, and what it wrote is ours again, to be removed in order."""
        if self.replacement is not None and not self.handed_over:
            await self._take_back(self.replacement)


def _unexpected(message: Mapping[str, Any]) -> Outcome:
    reason = str(message.get("reason") or "")
    if message["word"] == "leaving":
        return Stopped(reason)
    if message["word"] == "failed":
        return Failed(f"it could not start: {reason}")
    return Failed(f"it said {message['word']!r} when it should not")
