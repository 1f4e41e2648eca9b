"""The process of a program that the command line runs in the foreground: hub, runner, or both."""

from __future__ import annotations

from typing import Any

from twisted.logger import Logger
from twisted.python.failure import Failure

from hapi.cli.base.errors import ERROR, known_failure
from hapi.cli.base.output import warn
from hapi.process_host import ForegroundHost

log = Logger()


def process_host(reactor: Any) -> ForegroundHost:
    """A host that ends with the documented exit codes and reports failures on standard error."""
    return ForegroundHost(reactor, exit_code_of=report)


def report(failure: Failure) -> int:
    """Report a failure; an unexpected one is logged with its traceback. The exit code."""
    found = known_failure(failure.value)
    if found is not None:
        log.info("Leaving: {reason}", reason=found.sentence)
        warn(found.sentence)
        return found.exit_code
    log.failure("The program cannot continue", failure)
    name = type(failure.value).__name__
    warn(f"internal error: {name}: {failure.getErrorMessage()} (the traceback is in the log)")
    return ERROR
