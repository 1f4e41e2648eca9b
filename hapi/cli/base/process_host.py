"""Run services in the foreground: until a signal, a retirement or a failure; leave in order; exit with the documented code."""

from __future__ import annotations

import signal
from collections.abc import Callable
from typing import Any

from attrs import define, field
from twisted.application.service import MultiService, Service
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from hapi.cli.base.errors import DONE, ERROR, known
from hapi.cli.base.output import warn
from hapi.net.common.clock import use_monotonic_time

PATIENCE = 15.0  # seconds for everything to leave; each step inside has less
SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


class LastFirst(MultiService):
    """Stops what was added last first, and the next only when that has left: the runner still tells the hub beside it."""

    log = Logger()

    def stopService(self) -> Deferred[None]:
        Service.stopService(self)
        return Deferred.fromCoroutine(self._stop_each())

    async def _stop_each(self) -> None:
        for service in reversed(list(self)):
            try:
                await maybeDeferred(service.stopService)
            except Exception:
                self.log.failure("{service} did not leave in order", service=type(service).__name__)


@define(eq=False)
class Serving:
    """Holds the reactor of a program of ours, and the exit code it is going to end with."""

    _reactor: Any
    services: MultiService = field(factory=LastFirst)
    on_hangup: Callable[[], object] | None = (
        None  # what SIGHUP means; None: leave, the terminal is gone
    )
    exit_code: int = DONE
    leaving: bool = False
    log = Logger()

    def run(self, start: Callable[[], object]) -> int:
        """Call `start` on the running reactor and serve until `leave`. What `start` raises or errs with ends it."""
        use_monotonic_time(self._reactor)
        self._reactor.callWhenRunning(self._begin, start)
        self._reactor.run()
        return self.exit_code

    def leave(self, exit_code: int = DONE) -> None:
        """Stop the services in order, then the reactor. The first caller's code stands."""
        if self.leaving:
            return
        self.leaving, self.exit_code = True, exit_code
        left = (
            maybeDeferred(self.services.stopService)
            if self.services.running
            else maybeDeferred(lambda: None)
        )
        left.addTimeout(PATIENCE, self._reactor)
        left.addErrback(lambda failure: self.log.failure("Not everything left in order", failure))
        left.addBoth(lambda _: self._reactor.stop())

    def fail(self, failure: Failure) -> None:
        """Leave because of `failure`: a known one as its sentence, another with its traceback in the log."""
        found = known(failure.value)
        if found is None:
            self.log.failure("Cannot go on", failure)
            warn(
                f"internal error: {type(failure.value).__name__}: {failure.getErrorMessage()} (the traceback is in the log)"
            )
        else:
            self.log.info(
                "Leaving: {reason}", reason=found.sentence
            )  # on the terminal it stands below
            warn(found.sentence)
        self.leave(ERROR if found is None else found.exit_code)

    def _begin(self, start: Callable[[], object]) -> None:
        for (
            number
        ) in SIGNALS:  # in place of the reactor's own: what ends us is remembered as asked for
            signal.signal(number, self._signalled)
        maybeDeferred(start).addErrback(self.fail)

    def _signalled(self, number: int, _frame: object) -> None:
        self._reactor.callFromThread(self._asked, signal.Signals(number).name)

    def _asked(self, name: str) -> None:
        if name == "SIGHUP" and self.on_hangup is not None:
            self.on_hangup()
            return
        self.log.info("Leaving: {signal} arrived", signal=name)
        self.leave()
