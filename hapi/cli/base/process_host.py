"""Run services in the foreground until a signal or a failure; shut down in order; exit codes."""

from __future__ import annotations

import signal
from collections.abc import Callable
from typing import Any

from attrs import define, field
from twisted.application.service import MultiService, Service
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from hapi.cli.base.errors import DONE, ERROR, known_failure
from hapi.cli.base.output import warn
from hapi.startup import use_monotonic_time

SHUTDOWN_TIMEOUT = 15.0  # seconds for all services; each step inside has less
SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


class ReverseOrderServices(MultiService):
    """Services that stop one after another, the last one first.

    A runner can thus still say goodbye to the hub beside it.
    """

    log = Logger()

    def stopService(self) -> Deferred[None]:
        Service.stopService(self)
        return Deferred.fromCoroutine(self._stop_each())

    async def _stop_each(self) -> None:
        for service in reversed(list(self)):
            try:
                await maybeDeferred(service.stopService)
            except Exception:
                self.log.failure(
                    "{service} did not shut down in order", service=type(service).__name__
                )


@define(eq=False)
class ProcessHost:
    """Runs the reactor of one of our programs, and knows the exit code it will end with."""

    _reactor: Any
    services: MultiService = field(factory=ReverseOrderServices)
    on_hangup: Callable[[], object] | None = None  # for SIGHUP; None: leave, the terminal is gone
    exit_code: int = DONE
    leaving: bool = False
    log = Logger()

    def run(self, start: Callable[[], object]) -> int:
        """Call `start` on the running reactor and serve until `leave`; the exit code.

        An error that `start` raises, or that its Deferred fails with, ends the program.
        """
        use_monotonic_time(self._reactor)
        self._reactor.callWhenRunning(self._begin, start)
        self._reactor.run()
        return self.exit_code

    def leave(self, exit_code: int = DONE) -> None:
        """Stop the services in order, then the reactor. The first caller's exit code is kept."""
        if self.leaving:
            return
        self.leaving, self.exit_code = True, exit_code
        stopped = maybeDeferred(
            self.services.stopService if self.services.running else lambda: None
        )
        stopped.addTimeout(SHUTDOWN_TIMEOUT, self._reactor)
        stopped.addErrback(
            lambda failure: self.log.failure("The services did not shut down in order", failure)
        )
        stopped.addBoth(lambda _: self._reactor.stop())

    def fail(self, failure: Failure) -> None:
        """Leave because of `failure`; an unexpected one is logged with its traceback."""
        found = known_failure(failure.value)
        if found is None:
            self.log.failure("The program cannot continue", failure)
            name = type(failure.value).__name__
            warn(
                f"internal error: {name}: {failure.getErrorMessage()} (the traceback is in the log)"
            )
        else:
            self.log.info("Leaving: {reason}", reason=found.sentence)
            warn(found.sentence)
        self.leave(ERROR if found is None else found.exit_code)

    def _begin(self, start: Callable[[], object]) -> None:
        for number in SIGNALS:  # instead of the reactor's handlers, which know no orderly end
            signal.signal(number, self._signalled)
        maybeDeferred(start).addErrback(self.fail)

    def _signalled(self, number: int, _frame: object) -> None:
        self._reactor.callFromThread(self._on_signal, signal.Signals(number).name)

    def _on_signal(self, name: str) -> None:
        if name == "SIGHUP" and self.on_hangup is not None:
            self.on_hangup()
            return
        self.log.info("Leaving: received {signal}", signal=name)
        self.leave()
