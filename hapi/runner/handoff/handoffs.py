"""The hand-offs that this runner begins, one at a time, and what follows from their outcome."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from attrs import define, field
from twisted.logger import Logger

from hapi.process import IProcesses
from hapi.redaction import Secrets
from hapi.runner.handoff.descriptors import HandoverDescriptors, StartCommand
from hapi.runner.handoff.interfaces import HandoffRunner
from hapi.runner.supervision.supervisor import Supervision, notify

if TYPE_CHECKING:
    from hapi.runner.handoff.outcome import Outcome
    from hapi.runner.handoff.outgoing import OutgoingHandoff
    from hapi.runner.handoff.replacement import IReplacement
    from hapi.runner.handoff.verification import ExpectedStatus


class RecordFailure(Protocol):
    """Keeps why a replacement does not run."""

    def __call__(self, event: str, reason: str, output: Path | None, **facts: Any) -> None: ...


@define(eq=False, repr=False)
class Handoffs:
    """Starts replacements, and ends this runner when one has taken over.

    `is_leaving`: this runner was asked to stop, so a hand-off that fails is no failure.
    """

    _clock: Any
    _processes: IProcesses
    _runner: HandoffRunner
    _supervision: Supervision
    _record_failure: RecordFailure
    _make_replacement: Callable[[HandoverDescriptors], IReplacement] | None = None
    _query_status: Callable[[], Awaitable[Mapping[str, Any]]] | None = None
    handed_over_to: int | None = None
    is_leaving: bool = False
    _outgoing: OutgoingHandoff | None = None
    _peers: set[int] = field(factory=set)
    log = Logger()

    def add_peer(self, pid: int) -> None:
        """That process is the other runner of a hand-off."""
        self._peers.add(pid)

    def is_peer(self, pid: int) -> bool:
        """Whether that process is, or was, the other runner of a hand-off."""
        return pid in self._peers

    @property
    def in_progress(self) -> bool:
        """Whether a hand-off is going on, in which the files may belong to another runner."""
        return self._outgoing is not None

    @property
    def replacement(self) -> IReplacement | None:
        """The replacement that is coming up, or that has taken over."""
        return None if self._outgoing is None else self._outgoing.replacement

    def begin(
        self,
        start: StartCommand | None,
        expect: Callable[[int], ExpectedStatus],
        ages: Callable[[], list[float]],
        *,
        moves_output: bool,
    ) -> OutgoingHandoff:
        """Begin a hand-off to `start`, to be told the `ages` of earlier ones.

        `moves_output`: in the end what the replacement prints goes where ours goes.
        """
        from hapi.runner.handoff.outgoing import OutgoingHandoff

        runner = self._runner
        lock = runner.lock
        outgoing = self._outgoing = OutgoingHandoff(
            self._clock,
            start=lambda: self._start_replacement(start, moves_output),
            expect=expect,
            query_status=self._query_status or self._query_control_port,
            handover_data=lambda: {"token": runner.endpoints.token, "ages": ages()},
            participants=runner.quiescables,
            reclaim_lock=lambda pid: lock.reclaim(pid) if lock is not None else None,
        )
        outcome = outgoing.run()
        if outgoing.replacement is not None:
            self.add_peer(outgoing.replacement.pid)
        outcome.addCallback(self._finished, moves_output)
        outcome.addErrback(lambda reason: self.log.failure("The hand-off did not finish", reason))
        return outgoing

    async def abandon(self) -> None:
        """End a replacement that is coming up."""
        if self._outgoing is not None:
            await self._outgoing.abandon()

    def stop_replacement(self) -> None:
        """Pass on a signal that arrives after the hand-off: the replacement is meant."""
        if self.handed_over_to is not None and self.replacement is not None:
            self.replacement.terminate()

    def _start_replacement(self, start: StartCommand | None, moves_output: bool) -> IReplacement:
        from hapi.runner.handoff.program import ProgramNotStarted
        from hapi.runner.handoff.replacement import start_replacement

        lock, listeners = self._runner.lock, self._runner.endpoints.listeners
        if lock is None or listeners is None or start is None:
            raise ProgramNotStarted("the control port is closed")
        descriptors = HandoverDescriptors(lock.descriptor, *listeners.descriptors())
        if self._make_replacement is not None:
            return self._make_replacement(descriptors)
        options, hidden = self._runner.options, Secrets()
        hidden.add(options.access.token)
        return start_replacement(
            self._clock,
            self._processes,
            start,
            descriptors,
            options.home,
            hidden,
            moves_output=moves_output,
        )

    async def _query_control_port(self) -> Mapping[str, Any]:
        from hapi.runner.control.client import ControlClient

        options = self._runner.options
        return await ControlClient(self._clock, options.home, options.environ).status()

    def _finished(self, outcome: Outcome, moves_output: bool) -> None:
        from hapi.runner.handoff.outcome import Failed, HandedOver, Stopped
        from hapi.runner.handoff.program import remove_if_empty
        from hapi.runner.handoff.streams import forward_output

        record = self._runner.record_event
        replacement = self.replacement
        output = replacement.output if replacement is not None else None
        pids: dict[str, Any] = {
            "pid": os.getpid(),
            "replacement": replacement.pid if replacement is not None else None,
        }
        if not isinstance(outcome, HandedOver):
            self._outgoing = None
        match outcome:
            case HandedOver(pid):
                record("handoff-done", **pids)
                if output is not None and moves_output:
                    forward_output(output)
                self.log.info("Process {pid} has taken over", pid=pid)
                if self._supervision.mode == "notify" and not notify(
                    self._runner.options.environ, f"MAINPID={pid}"
                ):
                    self.log.warn(
                        "systemd could not be notified that process {pid} is the main process now",
                        pid=pid,
                    )
                self.handed_over_to = pid
                self._runner.retire("hapi-cli", 0)
            case Failed(_) if self.is_leaving:
                if output is not None:
                    remove_if_empty(output)
                record("handoff-stopped", reason="the outgoing runner was asked to stop", **pids)
            case Failed(reason):
                if output is not None and remove_if_empty(output):
                    output = None
                self._record_failure("handoff-failed", reason, output, **pids)
            case Stopped(reason):
                if output is not None and moves_output:
                    forward_output(output)
                record("handoff-stopped", reason=reason, **pids)
                self.log.info(
                    "Leaving: the replacement was asked to stop ({reason})", reason=reason
                )
                self._runner.retire("hapi-cli", 0)
