"""The process that a program of ours runs in: its signals, its exit code, and its orderly end.

`ForegroundHost` runs the reactor itself; the command line uses it. `TwistdHost` leaves that to
twistd; `hapi.runner.tap` and `hapi.hub.tap` use it.
"""

from __future__ import annotations

import atexit
import os
import signal
import sys
from collections.abc import Callable, Mapping
from typing import Any

from attrs import define, field
from twisted.application.service import MultiService, Service
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from hapi.redaction import escape_control
from hapi.startup import use_monotonic_time

SHUTDOWN_TIMEOUT = 15.0  # seconds for all services; each step inside has less


@define(eq=False, repr=False)
class ProcessHost:
    """Ends the process on SIGTERM and SIGINT, and knows the exit code it will end with.

    `on_hangup` is called for SIGHUP; without it SIGHUP ends the process as well. `on_impatience`:
    for a further SIGTERM or SIGINT while the process leaves.
    """

    _reactor: Any
    on_hangup: Callable[[], object] | None = None
    on_impatience: Callable[[], object] = lambda: None
    exit_code: int | None = None  # None: not leaving
    log = Logger()

    @property
    def leaving(self) -> bool:
        return self.exit_code is not None

    def leave(self, exit_code: int = 0) -> None:
        """Shut the process down cleanly. The first caller's exit code is kept."""
        if self.exit_code is None:
            self.exit_code = exit_code
            self._stop()

    def _stop(self) -> None:
        raise NotImplementedError

    def handle(self, *signals: signal.Signals) -> None:
        """Install the handlers, in place of the reactor's, which know no orderly end."""
        for number in signals:
            signal.signal(number, self._signalled)

    def _signalled(self, number: int, _frame: object) -> None:
        self._reactor.callFromThread(self._on_signal, signal.Signals(number))

    def _on_signal(self, number: signal.Signals) -> None:
        if number is signal.SIGHUP and self.on_hangup is not None:
            self.log.info("Reloading: received SIGHUP")
            self.on_hangup()
        elif not self.leaving:
            self.log.info("Leaving: received {signal}", signal=number.name)
            self.leave()
        else:
            self.on_impatience()


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
                    "{service} did not shut down cleanly", service=type(service).__name__
                )


@define(eq=False, repr=False)
class ForegroundHost(ProcessHost):
    """Runs the reactor. `_exit_code_of` reports an error to the user and returns its exit code."""

    _exit_code_of: Callable[[Failure], int] = field(kw_only=True)
    services: MultiService = field(factory=ReverseOrderServices)
    shutdown_timeout: float = SHUTDOWN_TIMEOUT  # seconds

    def run(self, start: Callable[[], object]) -> int:
        """Call `start` on the running reactor and serve until `leave`; the exit code.

        An error that `start` raises, or that its Deferred fails with, ends the program.
        """
        use_monotonic_time(self._reactor)
        self._reactor.callWhenRunning(self._begin, start)
        self._reactor.run()
        return self.exit_code or 0

    def fail(self, failure: Failure) -> None:
        """Leave because of `failure`."""
        self.leave(self._exit_code_of(failure))

    def _begin(self, start: Callable[[], object]) -> None:
        self.handle(signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
        maybeDeferred(start).addErrback(self.fail)

    def _stop(self) -> None:
        """Stop the services, the last first, then the reactor."""
        stopped = maybeDeferred(
            self.services.stopService if self.services.running else lambda: None
        )
        stopped.addTimeout(self.shutdown_timeout, self._reactor)
        stopped.addErrback(
            lambda failure: self.log.failure("The services did not shut down cleanly", failure)
        )
        stopped.addBoth(lambda _: self._reactor.stop())


@define(eq=False, repr=False)
class TwistdHost(ProcessHost):
    """Lives in a process of twistd, which starts and stops `services`.

    An error of the classes `expected` that a service raises at the start becomes one line on
    standard error, begun with `name`, and the exit code that `expected` has for its class.
    """

    name: str = field(kw_only=True)
    expected: Mapping[type[Exception], int] = field(kw_only=True, factory=dict)
    services: MultiService = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.services = _TwistdServices(self)

    def start(self, start_services: Callable[[], None]) -> None:
        """Start the services; called by twistd."""
        if self.on_hangup is not None:
            self.handle(signal.SIGHUP)  # first: unhandled, it would end the process
        try:
            start_services()
        except tuple(self.expected) as error:
            raise SystemExit(self._report(error)) from error
        self._reactor.callWhenRunning(self.handle, signal.SIGTERM, signal.SIGINT)

    def fail(self, failure: Failure) -> None:
        """Leave because of what a service met after it was started, as at the start."""
        error = failure.value
        if error is not None and isinstance(error, tuple(self.expected)):
            self.leave(self._report(error))
        else:
            self.log.failure("The program cannot continue", failure)
            self.leave(1)

    def _report(self, error: BaseException) -> int:
        print(f"{self.name}: {escape_control(error)}", file=sys.stderr, flush=True)
        return next(code for kind, code in self.expected.items() if isinstance(error, kind))

    def _stop(self) -> None:
        if self.exit_code:  # twistd itself knows 0, 1 and signals only
            atexit.register(_exit_with, self.exit_code)
        if self._reactor.running:
            self._reactor.stop()


class _TwistdServices(MultiService):
    def __init__(self, host: TwistdHost) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._host = host

    def startService(self) -> None:
        self._host.start(super().startService)


def _exit_with(exit_code: int) -> None:
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            pass
    os._exit(exit_code)
