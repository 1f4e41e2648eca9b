"""Notices exits of processes without pidfds: by kqueue where there is one, else by polling."""

from __future__ import annotations

import select
from typing import Any

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from hapi.one_shot import OneShotObserver
from hapi.process import portable
from hapi.process.exit_watch import ExitWatcher
from hapi.protocol.attempt import ProcessIdentity

_kqueue: Any = select  # the kqueue names are missing where mypy runs
FIRST_INTERVAL, MAX_INTERVAL = 0.02, 0.5  # seconds between two polls of one process; doubling
KQUEUE_INTERVAL = 30.0  # seconds between polls of a process that kqueue reports
MAX_EVENTS = 64  # taken from the kernel at once


@define(eq=False, repr=False)
class PollingExitWatcher(ExitWatcher):
    """Polls each process that is waited for: often at first, and again for each new caller.

    The exit status is never known: only the parent of a process learns it.
    """

    _polls: dict[ProcessIdentity, IDelayedCall] = field(init=False, factory=dict)

    def when_exited(self, identity: ProcessIdentity) -> Deferred[int | None]:
        exited = super().when_exited(identity)
        if identity in self._awaited:
            self._schedule(identity, FIRST_INTERVAL)
        return exited

    def _watch(self, identity: ProcessIdentity, once: OneShotObserver[int | None]) -> None:
        if portable.is_running(identity) is False:
            self._gone(identity)

    def _schedule(self, identity: ProcessIdentity, seconds: float) -> None:
        earlier = self._polls.pop(identity, None)
        if earlier is not None and earlier.active():
            earlier.cancel()
        self._polls[identity] = self._clock.callLater(seconds, self._poll_again, identity, seconds)

    def _poll_again(self, identity: ProcessIdentity, seconds: float) -> None:
        if portable.is_running(identity) is False:
            self._gone(identity)
        else:
            self._schedule(identity, self._next_interval(identity, seconds))

    def _next_interval(self, identity: ProcessIdentity, seconds: float) -> float:
        return min(seconds * 2, MAX_INTERVAL)

    def _gone(self, identity: ProcessIdentity, status: int | None = None) -> None:
        poll = self._polls.pop(identity, None)
        if poll is not None and poll.active():
            poll.cancel()
        super()._gone(identity, status)


@define(eq=False, repr=False)
class KqueueExitWatcher(PollingExitWatcher):
    """One kqueue reports exits (EVFILT_PROC, NOTE_EXIT); rare polls find what it might miss."""

    _queue: Any = field(init=False, default=None)
    _by_pid: dict[int, ProcessIdentity] = field(init=False, factory=dict)
    log = Logger()

    def _watch(self, identity: ProcessIdentity, once: OneShotObserver[int | None]) -> None:
        try:
            self._add(identity)
        except ProcessLookupError:
            self._gone(identity)
            return
        except OSError as error:  # no descriptor is free
            self.log.warn(
                "The exit of process {pid} is polled: {reason}",
                pid=identity.pid,
                reason=str(error),
            )
        super()._watch(identity, once)  # the pid may have been another's when it was added

    def _add(self, identity: ProcessIdentity) -> None:
        if self._queue is None:
            self._queue = _kqueue.kqueue()
            self._reactor.addReader(self)  # type: ignore[arg-type]
        event = _kqueue.kevent(
            identity.pid,
            filter=_kqueue.KQ_FILTER_PROC,
            flags=_kqueue.KQ_EV_ADD | _kqueue.KQ_EV_ONESHOT,
            fflags=_kqueue.KQ_NOTE_EXIT,
        )
        self._queue.control([event], 0)
        self._by_pid[identity.pid] = identity

    def _next_interval(self, identity: ProcessIdentity, seconds: float) -> float:
        is_reported = self._by_pid.get(identity.pid) == identity
        return KQUEUE_INTERVAL if is_reported else super()._next_interval(identity, seconds)

    def _gone(self, identity: ProcessIdentity, status: int | None = None) -> None:
        if self._by_pid.get(identity.pid) == identity:
            del self._by_pid[identity.pid]
        super()._gone(identity, status)

    # --- IReadDescriptor

    def fileno(self) -> int:
        return int(self._queue.fileno())

    def logPrefix(self) -> str:
        return "kqueue"

    def doRead(self) -> None:
        for event in self._queue.control(None, MAX_EVENTS, 0):
            identity = self._by_pid.get(event.ident)
            if identity is not None:
                self._gone(identity)

    def connectionLost(self, reason: Failure) -> None:
        """The reactor stops; the processes go on."""
        queue, self._queue = self._queue, None
        if queue is not None:
            queue.close()


def portable_exit_watcher(reactor: Any) -> ExitWatcher:
    kind = KqueueExitWatcher if hasattr(select, "kqueue") else PollingExitWatcher
    return kind(reactor, reactor)
