"""The outgoing side of a hand-off: replace this runner by a newly started one, or keep serving.

`OutgoingHandoff.run` is the hand-off, one step after the other. Whether it failed is decided in one
place, `outcome_of_failure`, and one errback, `_roll_back`, then ends the replacement and resumes
this runner (faults.md §3). The states are in `progress.py`, the messages in `channel.py`:

    outgoing runner                          replacement
    start it with lock and listeners   ──▶
                                       ◀──   ready: it is loaded and has proven that it holds the
                                       lock
    quiesce: finish what has begun,
    accept nothing new
    take over                          ──▶   adopts sessions, writes its pid, accepts, registers
    verify its answer to `/status`
    confirm                            ──▶
                                       ◀──   confirmed: from here on the files are its own
    retire, touching no file
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Protocol

from attrs import define, field
from twisted.internet.defer import (
    CancelledError,
    Deferred,
    FailureGroup,
    TimeoutError,
    execute,
    race,
    succeed,
)
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure

from hapi.runner.handoff.channel import (
    CONFIRM,
    CONFIRMED,
    READY,
    STARTUP_FAILED,
    STOPPED,
    TAKE_OVER,
    ChannelClosed,
)
from hapi.runner.handoff.outcome import (
    HandedOver,
    HandoffFailed,
    Outcome,
    ReplacementStopped,
    outcome_of_failure,
)
from hapi.runner.handoff.program import ProgramNotStarted
from hapi.runner.handoff.progress import HandoffProgress, HandoffStates, progress_of
from hapi.runner.handoff.replacement import IReplacement
from hapi.runner.handoff.verification import (
    ExpectedStatus,
    Mismatch,
    NotReady,
    Verified,
    verify_replacement,
)

HANDOFF_TIMEOUT = 30.0  # seconds for the whole hand-off
STATUS_POLL_INTERVAL = 0.05  # seconds between two requests for the replacement's status
LAST_MESSAGE_TIMEOUT = 0.2  # seconds for what a replacement sent before it ended


class IQuiescable(Protocol):
    """A part of the runner that pauses for a hand-off. Both methods may be called repeatedly."""

    async def quiesce(self) -> None:
        """Finish what has begun and accept nothing new."""

    def resume(self) -> None:
        """Continue as before. Does nothing in a part that has been closed meanwhile."""


@define(eq=False, repr=False)
class OutgoingHandoff:
    """One attempt to hand this runner's home over to a replacement.

    `participants` quiesce in their order and resume in reverse. `reclaim_lock` writes this runner's
    pid back over that of the replacement.
    """

    _clock: IReactorTime
    _start: Callable[[], IReplacement]
    _expect: Callable[[int], ExpectedStatus]  # pid → the status that this process must answer with
    _query_status: Callable[[], Awaitable[Mapping[str, Any]]]  # asks the control port
    _handover_data: Callable[[], Mapping[str, Any]]  # what the replacement must know
    _participants: Sequence[IQuiescable]
    _reclaim_lock: Callable[[int], object]
    timeout: float = field(factory=lambda: HANDOFF_TIMEOUT)
    replacement: IReplacement | None = None
    _states: HandoffStates = field(init=False)
    _progress: HandoffProgress = field(init=False)
    _deadline: float = 0.0
    _unfinished: str = ""  # what the step in progress has not achieved, for the reason of a timeout
    _is_loading: bool = False
    log = Logger()

    def __attrs_post_init__(self) -> None:
        self._states = HandoffStates(self._end_replacement_and_resume)
        self._progress = progress_of(self._states)

    def run(self) -> Deferred[Outcome]:
        """Hand over, or keep serving. Fires with the outcome and never errs."""
        chain: Deferred[Any] = execute(self._start_replacement)
        chain.addCallback(self._await_ready)
        chain.addCallback(self._quiesce)
        chain.addCallback(self._let_take_over)
        chain.addCallback(self._verify)
        chain.addCallback(self._confirm)
        chain.addCallbacks(self._retire, self._roll_back)
        return chain

    def abandon(self) -> Deferred[None]:
        """This runner stops: end the replacement first, unless it owns the home already."""
        self._progress.roll_back()
        if self._states.rolling_back is None:
            return succeed(None)
        return self._states.rolled_back.when_fired().addErrback(self._wait_no_longer)

    def _wait_no_longer(self, reason: Failure) -> None:
        """The caller of `abandon` gave up: resume without having seen the replacement end."""
        reason.trap(CancelledError)
        if self._states.rolling_back is not None:
            self._states.rolling_back.cancel()

    # --- the steps; each gets the replacement and passes it on

    def _start_replacement(self) -> IReplacement:
        self._deadline = self._clock.seconds() + self.timeout
        replacement = self.replacement = self._start()
        self._progress.started()
        self.log.info("Process {pid} was started to replace this runner", pid=replacement.pid)
        return replacement

    def _await_ready(self, replacement: IReplacement) -> Deferred[IReplacement]:
        self._unfinished, self._is_loading = "did not come up", True
        ready = self._bounded(replacement, self._receive(replacement, READY))
        return ready.addCallback(self._enter, self._progress.ready)

    def _quiesce(self, replacement: IReplacement) -> Deferred[IReplacement]:
        self._is_loading = False
        self._unfinished = "could not take over, since this runner was still busy"
        quiesced = self._bounded(replacement, self._quiesce_participants())
        return quiesced.addCallback(self._enter, self._progress.quiesced)

    def _let_take_over(self, replacement: IReplacement) -> IReplacement:
        replacement.channel.send(TAKE_OVER, **self._handover_data())
        return replacement

    def _verify(self, replacement: IReplacement) -> Deferred[IReplacement]:
        self._unfinished = "did not answer on the control socket"
        verified = self._bounded(replacement, self._await_verified(replacement))
        return verified.addCallback(self._enter, self._progress.verified)

    def _confirm(self, replacement: IReplacement) -> Deferred[IReplacement]:
        self._unfinished = "did not take over"
        replacement.channel.send(CONFIRM)
        confirmed = self._bounded(replacement, self._receive(replacement, CONFIRMED))
        return confirmed.addCallback(self._enter, self._progress.confirmed)

    def _retire(self, replacement: IReplacement) -> Outcome:
        return HandedOver(replacement.pid)

    def _roll_back(self, reason: Failure) -> Outcome | Deferred[Outcome]:
        outcome = outcome_of_failure(reason)
        if reason.check(HandoffFailed, ProgramNotStarted, ReplacementStopped) is None:
            self.log.failure("The hand-off failed with an unexpected error", reason)
        self._progress.roll_back()
        if self._states.rolling_back is None:
            return outcome  # nothing had been started
        return self._states.rolled_back.when_fired().addCallback(lambda _: outcome)

    # --- within the steps

    def _enter(self, replacement: IReplacement, enter: Callable[[], None]) -> IReplacement:
        enter()
        return replacement

    def _bounded(self, replacement: IReplacement, step: Awaitable[None]) -> Deferred[IReplacement]:
        """`step`, unless the time is over or the replacement ends before it is done."""
        return Deferred.fromCoroutine(self._race(replacement, step))

    async def _race(self, replacement: IReplacement, step: Awaitable[None]) -> IReplacement:
        finished = Deferred.fromCoroutine(step).addCallbacks(  # type: ignore[arg-type]
            lambda _: None, lambda reason: reason.value
        )
        overdue: Deferred[None] = deferLater(
            self._clock, max(self._deadline - self._clock.seconds(), 0.0)
        )
        contest: list[Deferred[Any]] = [finished, replacement.ended.when_fired(), overdue]
        first, result = await race(contest)
        if first == 2:
            late = self._timed_out()
            raise HandoffFailed(replacement.explain(str(late))) if self._is_loading else late
        if first == 1:
            raise await self._failure_of_ended(replacement, result)
        if isinstance(result, ChannelClosed):
            raise await self._failure_of_ended(replacement, str(result))
        if result is not None:
            raise result
        return replacement

    async def _receive(self, replacement: IReplacement, expected: str) -> None:
        message = await replacement.channel.receive()
        if message["word"] != expected:
            raise _failure_in(message)

    async def _quiesce_participants(self) -> None:
        for participant in self._participants:
            await participant.quiesce()

    async def _await_verified(self, replacement: IReplacement) -> None:
        expected = self._expect(replacement.pid)
        while True:
            try:
                status = await self._query_status()
            except Exception as error:
                if self._states.rolling_back is not None:
                    raise  # rolled back meanwhile; a cancelled request may err in any way
                if self._clock.seconds() < self._deadline:
                    self._unfinished = f"did not answer on the control socket: {error}"
            else:
                match verify_replacement(expected, status):
                    case Verified():
                        return
                    case Mismatch(reason):
                        raise HandoffFailed(reason)
                    case NotReady(reason):
                        self._unfinished = f"was not ready: {reason}"
            if self._clock.seconds() >= self._deadline:
                raise self._timed_out()
            await deferLater(self._clock, STATUS_POLL_INTERVAL)

    def _timed_out(self) -> HandoffFailed:
        return HandoffFailed(f"the replacement {self._unfinished} within {self.timeout:g} s")

    async def _failure_of_ended(self, replacement: IReplacement, how: str) -> Exception:
        """The failure of a replacement that ended: its last message, otherwise how it ended."""
        try:
            message = await replacement.channel.receive().addTimeout(
                LAST_MESSAGE_TIMEOUT, self._clock
            )
        except (ChannelClosed, TimeoutError):
            ended = replacement.ended.when_fired().addTimeout(LAST_MESSAGE_TIMEOUT, self._clock)
            return HandoffFailed(replacement.explain(await ended.addErrback(lambda _: how)))
        return _failure_in(message)

    async def _end_replacement_and_resume(self) -> None:
        """The body of the state `rolling back`."""
        assert self.replacement is not None
        pid = self.replacement.pid
        try:
            await self.replacement.end()
        except (CancelledError, FailureGroup):  # a runner that stops waits a bounded time
            self.log.warn("Process {pid} was killed but has not been seen to end", pid=pid)
        except Exception:
            self.log.failure("The replacement could not be ended")
        for step in (
            lambda: self._reclaim_lock(pid),
            *(participant.resume for participant in reversed(self._participants)),
        ):
            try:
                step()
            except Exception:
                self.log.failure("A part of the runner could not resume")
        self._progress.resumed()


def _failure_in(message: Mapping[str, Any]) -> Exception:
    """What a message means that came instead of the expected one."""
    reason = str(message.get("reason") or "")
    if message["word"] == STOPPED:
        return ReplacementStopped(reason)
    if message["word"] == STARTUP_FAILED:
        return HandoffFailed(f"the replacement could not start: {reason}")
    return HandoffFailed(f"the replacement sent {message['word']!r} at the wrong time")
