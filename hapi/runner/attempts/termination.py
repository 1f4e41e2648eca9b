"""End the process tree of a session, and keep who asked for it and why."""

from __future__ import annotations

from collections.abc import Callable

from attrs import define, field
from twisted.internet.defer import Deferred, TimeoutError
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from hapi.deferreds import run_in_background
from hapi.one_shot import OneShotObserver
from hapi.process import IProcesses
from hapi.protocol.attempt import StopOrder
from hapi.protocol.control import StopStatus
from hapi.runner.attempts.child import Child
from hapi.runner.attempts.holder_check import check_holder
from hapi.runner.storage.disk import Disk
from hapi.runner.storage.journal import RecordEvent, discard_event

END_RECORD_TIMEOUT = 5.0  # seconds until the end of a stopped process must be recorded
GRACE_PERIOD = 2.0  # seconds between SIGTERM and SIGKILL


@define(eq=False, repr=False)
class ChildTermination:
    """Ends children. Only tracked processes are ever signalled."""

    _clock: IReactorTime
    _processes: IProcesses
    _disk: Disk
    _now: Callable[[], float]  # epoch seconds
    _record_event: RecordEvent
    _terminations: dict[str, OneShotObserver[StopStatus]] = field(factory=dict)  # by attempt
    log = Logger()

    def is_ending(self, child: Child) -> bool:
        """Whether the session is being ended, by this runner or by another program."""
        return child.attempt in self._terminations or child.folder.stop is not None

    def terminate_in_background(self, child: Child, reason: str, actor: str, method: str) -> None:
        """As `terminate`, for a caller that does not wait."""
        ending = self.terminate(child, reason=reason, actor=actor, method=method)
        run_in_background(ending, self.log, "Ending {attempt} failed", attempt=child.attempt)

    async def terminate(
        self, child: Child, *, reason: str, actor: str, method: str, is_news: bool = True
    ) -> StopStatus:
        """End the whole process tree of `child`. Callers that come meanwhile share the answer."""
        termination = self._terminations.get(child.attempt)
        if termination is None:
            termination = self._terminations[child.attempt] = OneShotObserver()
            order = StopOrder(reason, actor, method, self._now())
            ending = Deferred.fromCoroutine(self._terminate(child, order, is_news))
            ending.addErrback(self._termination_failed, child)
            ending.addCallback(self._terminated, child)
        return await termination.when_fired()

    def _terminated(self, status: StopStatus, child: Child) -> None:
        self._terminations.pop(child.attempt).fire(status)  # a survivor may be tried again

    def _termination_failed(self, reason: Failure, child: Child) -> StopStatus:
        self.log.failure("Ending {attempt} failed", reason, attempt=child.attempt)
        return "still_alive"

    async def _terminate(self, child: Child, order: StopOrder, is_news: bool) -> StopStatus:
        await self._save_order(child, order)
        if is_news:
            self._record_event("stop-asked", child.ids, reason=order.reason, actor=order.actor)
        child.life.stop_requested()
        if child.identity is None:
            await child.launching.when_fired()
        if child.identity is None:
            return "stopped"
        check_holder(self._processes, child, self._record_event if is_news else discard_event)
        status: StopStatus = await self._processes.end_tree(
            child.identity, child.attempt, GRACE_PERIOD
        )
        if status == "still_alive":
            self._record_event("still-alive", child.ids, actor=order.actor)
        else:
            await self._wait_for_recorded_end(child)
        self._log_termination(child, status)
        return status

    async def _wait_for_recorded_end(self, child: Child) -> None:
        try:
            await child.gone.when_fired().addTimeout(END_RECORD_TIMEOUT, self._clock)
        except TimeoutError:
            self.log.warn(
                "Process {pid} has exited, but its exit was not recorded in time", pid=child.pid
            )

    def _log_termination(self, child: Child, status: StopStatus) -> None:
        unseen = " (processes that left the tree cannot be found without the holder)"
        self.log.info(
            "Session {session_id}: {status}{note}",
            session_id=child.session_id or child.attempt,
            status=status,
            note=unseen if child.holder_lost else "",
        )

    async def _save_order(self, child: Child, order: StopOrder) -> None:
        """Write the reason to the disk before the first signal. The first reason stands, and a
        full disk keeps no session alive."""
        try:
            await self._disk.do(lambda: self._write_order(child, order))
        except OSError as error:
            self.log.error(
                "The reason to stop {attempt} was not saved: {reason}",
                attempt=child.attempt,
                reason=str(error),
            )

    @staticmethod
    def _write_order(child: Child, order: StopOrder) -> None:
        if child.folder.stop is None:
            child.folder.stop = order
