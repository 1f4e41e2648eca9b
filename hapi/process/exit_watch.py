"""Watch for the exit of any process, child or not: its pidfd becomes readable.

By hand because psutil cannot watch a process without polling.
"""

from __future__ import annotations

import os
import select
from collections.abc import Callable

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorFDSet, IReactorTime
from twisted.python.failure import Failure

from hapi.one_shot import OneShotObserver
from hapi.process import identity as kernel
from hapi.process.exit_status import wait_status
from hapi.protocol.attempt import ProcessIdentity

POLL_INTERVAL = 0.5  # seconds between looks where there is no pidfd to be had


@define(eq=False, repr=False)
class _PidfdReader:
    """A reader of one pidfd; `ended` is called once."""

    pidfd: int
    ended: Callable[[], None]
    is_over: bool = False

    def fileno(self) -> int:
        return self.pidfd

    def logPrefix(self) -> str:
        return "process"

    def doRead(self) -> None:
        # The event may have been collected for a closed descriptor of the same number: poll again.
        poller = select.poll()
        poller.register(self.pidfd, select.POLLIN)
        if poller.poll(0):
            self._over()

    def connectionLost(self, reason: Failure) -> None:
        self._over()

    def _over(self) -> None:
        if not self.is_over:
            self.is_over = True
            self.ended()


@define(eq=False, repr=False)
class ExitWatcher:
    """Watches each process by one pidfd. Callers get its wait status, None if it is unknown."""

    _reactor: IReactorFDSet
    _clock: IReactorTime
    _awaited: dict[ProcessIdentity, OneShotObserver[int | None]] = field(factory=dict)

    def when_exited(self, identity: ProcessIdentity) -> Deferred[int | None]:
        once = self._awaited.get(identity)
        if once is None:
            once = self._awaited[identity] = OneShotObserver()
            self._watch(identity, once)
        return once.when_fired()

    def _watch(self, identity: ProcessIdentity, once: OneShotObserver[int | None]) -> None:
        try:
            pidfd = os.pidfd_open(identity.pid)
        except ProcessLookupError:
            self._gone(identity)
            return
        except OSError:  # no descriptors left, or an old kernel
            self._poll(identity)
            return
        # A process that the portable layer recorded is not the same by its identity, but may run.
        if kernel.is_same(pidfd, identity) is False and kernel.is_running(identity) is False:
            os.close(pidfd)
            self._gone(identity)
            return

        def ended() -> None:
            self._reactor.removeReader(watch)  # type: ignore[arg-type]
            status = wait_status(pidfd, identity.pid)
            os.close(pidfd)
            self._gone(identity, status)

        watch = _PidfdReader(pidfd, ended)
        self._reactor.addReader(watch)  # type: ignore[arg-type]

    def _poll(self, identity: ProcessIdentity) -> None:
        if kernel.is_running(identity) is False:
            self._gone(identity)
        else:
            self._clock.callLater(POLL_INTERVAL, self._poll, identity)

    def _gone(self, identity: ProcessIdentity, status: int | None = None) -> None:
        once = self._awaited.pop(identity, None)
        if once is not None:
            once.fire(status)
