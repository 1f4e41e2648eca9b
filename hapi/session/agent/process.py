"""The agent's process: JSON-RPC on its standard streams; ended with its whole process tree."""

from __future__ import annotations

import os
import shutil
import signal
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, cast
from uuid import uuid4

from attrs import define, field
from twisted.internet.error import ProcessDone, ProcessExitedAlready
from twisted.internet.interfaces import IDelayedCall, IPushProducer
from twisted.internet.protocol import ProcessProtocol
from twisted.logger import Logger
from twisted.python.failure import Failure

from hapi.deferreds import run_in_background
from hapi.one_shot import OneShotObserver
from hapi.session.agent.jsonrpc_peer import JsonRpcPeer, LineTooLong
from hapi.session.agent.noise import AgentNoise
from hapi.units import plural

MAX_STDERR_TAIL = 16384  # bytes of standard error that explain an end
CLEAR_TIMEOUT = 3.0  # seconds to find and end what an agent has left running
DRAIN_TIMEOUT = 0.1  # seconds for what an ended process has left in its pipes
CLOSED_OUTPUT_TIMEOUT = 2.0  # seconds it may go on after it has closed its output
END_TIMEOUT = 0.5  # seconds the agent has to end by itself before its tree is killed
RECORD_INTERVAL = 5.0  # seconds between two looks at what runs below an agent that works
# In the environment of one start of an agent, and so of all that it starts.
MARK = "HAPI_AGENT_START"


@define(eq=False, repr=False)
class AgentProcess(ProcessProtocol):
    """One start of an agent. `errors` gets what it writes to standard error, as it comes.

    When its process has ended, by itself or not, what it has started is ended as well.
    """

    _reactor: Any
    label: str
    _errors: Callable[[bytes], object] = field(default=lambda data: None)
    peer: JsonRpcPeer = field(init=False)
    exited: OneShotObserver[str] = field(
        factory=OneShotObserver
    )  # in words: "exited with code 1: …"
    noise: AgentNoise = field(factory=AgentNoise)  # what it said on stdout besides messages
    exit_code: int | None = None
    pid: int | None = None
    _tail: bytes = b""
    _noise_before: str = ""  # of earlier starts
    _drained: IDelayedCall | None = None
    _output_timer: IDelayedCall | None = None
    _fault: str | None = None  # in words: why it was ended by us
    _identity: Any = None
    _mark: str = field(factory=lambda: f"{MARK}={uuid4()}")
    _descendants: list[Any] = field(factory=list)  # seen below it while it lived
    _recorded_at: float = 0.0  # seconds of the clock: the last look, or the start
    _is_cleared: OneShotObserver[None] = field(factory=OneShotObserver)
    log = Logger()

    def __attrs_post_init__(self) -> None:
        self.peer = JsonRpcPeer(self._reactor, self._write)
        self.peer.on_noise = self.noise.add
        self.peer.queue.on_backlog = self._backlog_changed

    def start(
        self, argv: tuple[str, ...], cwd: str, environment: Mapping[str, str], own_group: bool
    ) -> AgentProcess:
        """Start the process. `own_group`: keep the terminal's Ctrl+C from it. Raises OSError."""
        command = (*_detached(), *argv) if own_group else argv
        self._noise_before = self.noise.text
        name, _, value = self._mark.partition("=")
        environment = {**environment, name: value}
        self._reactor.spawnProcess(
            self, command[0], command, environment, cwd, childFDs={0: "w", 1: "r", 2: "r"}
        )
        return self

    @property
    def running(self) -> bool:
        return self.pid is not None and not self.exited.has_fired

    async def has_background_commands(self, since: float) -> bool:
        """Whether a command that the agent started after `since` (epoch seconds) still runs."""
        if not self.running or self._identity is None:
            return False
        from hapi.session.agent.tree import has_background_commands  # before a rest only

        return await has_background_commands(self._reactor, self._identity, since)

    def last_words(self) -> str | None:
        """The last line that it wrote besides messages; first of all one about a login."""
        from hapi.session.agent.exit_reason import last_words

        return last_words(self._tail.decode(errors="replace"), self.noise.since(self._noise_before))

    async def end(self, timeout: float = END_TIMEOUT) -> None:
        """Close its input and end it with everything below it, within about `timeout` seconds.

        If it has ended already, wait until what it has left running is ended.
        """
        if self.running:
            await self._end_tree(timeout)
        if self._identity is not None and not self.running:
            await self._is_cleared.when_fired().addTimeout(
                CLEAR_TIMEOUT, self._reactor, lambda _, seconds: None
            )

    async def _end_tree(self, timeout: float) -> None:
        assert self.transport is not None
        self.transport.closeStdin()
        if self._identity is None:  # without /proc only the process itself can be ended
            await self._end_alone(timeout)
            return
        from hapi.session.agent.tree import end_agent  # only at the end

        if not await end_agent(self._reactor, self._identity, timeout):
            self.log.warn(
                "{label} (process {pid}) could not be ended", label=self.label, pid=self.pid
            )
        await self.exited.when_fired().addTimeout(
            DRAIN_TIMEOUT * 2, self._reactor, lambda _, seconds: None
        )

    async def _end_alone(self, timeout: float) -> None:
        for name in ("TERM", "KILL"):
            with suppress(ProcessExitedAlready):
                assert self.transport is not None
                self.transport.signalProcess(name)
            await self.exited.when_fired().addTimeout(
                timeout, self._reactor, lambda _, seconds: None
            )

    def _record_descendants(self) -> None:
        """While the agent works: what it has started may outlive it, and hide its origin."""
        now = self._reactor.seconds()
        if self._identity is None or now - self._recorded_at < RECORD_INTERVAL:
            return
        from hapi.process.kernel import kernel
        from hapi.session.agent.tree import descendants_of

        self._recorded_at = now
        seen = descendants_of(self._identity)
        gone = [each for each in self._descendants if each not in seen]
        self._descendants = seen + [each for each in gone if kernel().is_running(each)]

    async def _clear(self) -> None:
        """End what the agent has left running."""
        from hapi.session.agent.tree import end_left_behind

        try:
            left = await end_left_behind(
                self._reactor, self._identity, self._descendants, self._mark, END_TIMEOUT
            )
            if left:
                self.log.info(
                    "{label} left {processes} running, which HAPI has ended",
                    label=self.label,
                    processes=plural(len(left), "process"),
                    count=len(left),
                )
        finally:
            self._is_cleared.fire(None)

    # --- ProcessProtocol
    def connectionMade(self) -> None:
        assert self.transport is not None
        self.pid, self._recorded_at = self.transport.pid, self._reactor.seconds()
        from hapi.process.kernel import kernel

        self._identity = kernel().identify(self.pid) if self.pid is not None else None

    def outReceived(self, data: bytes) -> None:
        self._record_descendants()
        try:
            self.peer.received(data)
        except LineTooLong as problem:
            self.log.error(
                "{label} sent {reason} and is ended", label=self.label, reason=str(problem)
            )
            self._fault = f"sent {problem} and was ended"
            self._end_soon()

    def outConnectionLost(self) -> None:
        """The agent closed its output: it usually exits next. If it stays, it cannot answer any
        more."""
        if self.running:
            self._output_timer = self._reactor.callLater(
                CLOSED_OUTPUT_TIMEOUT, self._output_closed_timeout
            )

    def _output_closed_timeout(self) -> None:
        if self.running:
            self.log.error("{label} closed its output and is ended", label=self.label)
            self._fault = "closed its output and was ended"
            self._end_soon()

    def _end_soon(self) -> None:
        run_in_background(self.end(), self.log, "The agent could not be ended")

    def _backlog_changed(self, is_full: bool) -> None:
        """The agent says more than can be handled: it has to wait, as with any full pipe."""
        if self.running:
            pipes = cast(IPushProducer, self.transport)
            (pipes.pauseProducing if is_full else pipes.resumeProducing)()

    def errReceived(self, data: bytes) -> None:
        self._tail = (self._tail + data)[-MAX_STDERR_TAIL:]
        self._errors(data)

    def processExited(self, reason: Failure) -> None:
        """Its output may still be in the pipes, and a child of it may hold them open."""
        cast(IPushProducer, self.transport).resumeProducing()  # what is left in the pipes
        self._drained = self._reactor.callLater(DRAIN_TIMEOUT, self._conclude, reason)
        if self._identity is not None:
            run_in_background(self._clear(), self.log, "What the agent left could not be ended")

    def processEnded(self, reason: Failure) -> None:
        if self._drained is not None and self._drained.active():
            self._drained.cancel()
        self._conclude(reason)

    def _conclude(self, reason: Failure) -> None:
        if self._output_timer is not None and self._output_timer.active():
            self._output_timer.cancel()
        if self.exited.has_fired:
            return
        how = reason.value
        self.exit_code = 0 if isinstance(how, ProcessDone) else getattr(how, "exitCode", None)
        number = getattr(how, "signal", None)
        words = f"was ended by signal {number}" if number else f"exited with code {self.exit_code}"
        from hapi.session.agent.exit_reason import exit_reason  # only at an end

        said = self._tail.decode(errors="replace")
        reason_given = (
            None  # somebody else ended it: what it wrote before has nothing to do with that
            if number in (signal.SIGKILL, signal.SIGTERM)
            else exit_reason(said, self.noise.since(self._noise_before), self.exit_code)
        )
        words = self._fault or words
        words += f": {reason_given}" if reason_given else ""
        self.exited.fire(words)
        self.peer.closed(f"{self.label} {words}")

    def _write(self, data: bytes) -> None:
        if self.transport is not None and self.running:
            self.transport.write(data)


def _detached() -> tuple[str, ...]:
    """The prefix that makes a command lead a session of its own and keep its pid."""
    if program := shutil.which("setsid"):
        return (program,)
    return (
        sys.executable,
        "-P",
        "-c",
        "import os, sys; os.setsid(); os.execvp(sys.argv[1], sys.argv[1:])",
    )


def environment_of_agent(
    environ: Mapping[str, str], session_id: str, more: Mapping[str, str]
) -> dict[str, str]:
    """The agent's environment: ours without the access token, with the session's id."""
    kept = {
        name: value
        for name, value in environ.items()
        if name not in ("CLI_API_TOKEN", "HAPI_EXTRA_HEADERS_JSON")
    }
    return {**kept, **more, "HAPI_SESSION_ID": session_id, "PWD": more.get("PWD", os.getcwd())}
