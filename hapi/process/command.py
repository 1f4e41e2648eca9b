"""Short commands: run to their end, with a deadline and a limit of output."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from contextlib import suppress
from signal import SIGKILL
from typing import Any

from attrs import frozen
from twisted.internet.defer import Deferred, TimeoutError
from twisted.internet.error import ProcessExitedAlready
from twisted.internet.protocol import ProcessProtocol
from twisted.python.failure import Failure

from hapi.process.kernel import kernel
from hapi.process.tree import descendants

MAX_OUTPUT = 16 << 20  # bytes of standard output; a command that writes more is killed
MAX_ERROR_OUTPUT = 64 << 10  # bytes of standard error; of more the end is kept


@frozen
class CommandResult:
    """How a command ended. `exit_code` is None when it did not exit by itself or never ran."""

    exit_code: int | None
    stdout: str = ""
    stderr: str = ""
    error: str | None = None  # why it did not run or was killed

    def reason(self) -> str:
        """What the command, or the attempt to run it, has to say of a failure."""
        return (self.error or self.stderr or self.stdout).strip()


class _CommandProtocol(ProcessProtocol):
    def __init__(self, stdin: bytes = b"") -> None:
        self._stdin = stdin
        self.exited: Deferred[int | None] = Deferred(lambda _: self.kill())
        self.stdout, self.stderr = bytearray(), bytearray()

    @property
    def has_too_much_output(self) -> bool:
        return len(self.stdout) > MAX_OUTPUT

    def connectionMade(self) -> None:
        if self._stdin and self.transport is not None:
            self.transport.write(self._stdin)
            self.transport.closeStdin()

    def outReceived(self, data: bytes) -> None:
        if not self.has_too_much_output:
            self.stdout += data
            if self.has_too_much_output:
                self.kill()

    def errReceived(self, data: bytes) -> None:
        self.stderr += data
        del self.stderr[:-MAX_ERROR_OUTPUT]

    def processEnded(self, reason: Failure) -> None:
        if not self.exited.called:
            self.exited.callback(getattr(reason.value, "exitCode", None))

    def kill(self) -> None:
        """Kill the command and what it has started, such as the program by which git reaches a
        remote repository, which would wait for its answer without end."""
        transport = self.transport
        if transport is None or transport.pid is None:
            return
        identity = kernel().identify(transport.pid)
        below = [] if identity is None else (descendants(kernel(), identity) or [])[1:]
        with suppress(ProcessExitedAlready):
            transport.signalProcess("KILL")
        for each in below:
            with suppress(OSError):
                kernel().send(each, SIGKILL)


async def run_command(
    reactor: Any,  # IReactorProcess and IReactorTime
    argv: Sequence[str],
    environ: Mapping[str, str],
    directory: str | None = None,
    timeout: float = 10.0,
    stdin: bytes = b"",
) -> CommandResult:
    """Run `argv` in `directory` for at most `timeout` seconds, with `stdin` as its input.

    Never raises: a program that is missing, late or too talkative gives a result whose `error` says
    so.
    """
    program = shutil.which(argv[0], path=environ.get("PATH"))
    if program is None:
        return CommandResult(None, error=f"{argv[0]} is not installed or is not on PATH")
    command = _CommandProtocol(stdin)
    try:
        with open(os.devnull, "rb") as no_input:
            files = {0: "w" if stdin else no_input.fileno(), 1: "r", 2: "r"}
            reactor.spawnProcess(command, program, argv, dict(environ), directory, childFDs=files)
    except OSError as error:
        return CommandResult(None, error=f"{argv[0]} could not be started: {error.strerror}")
    problem = None
    try:
        exit_code = await command.exited.addTimeout(timeout, reactor)
    except TimeoutError:
        exit_code, problem = None, f"{argv[0]} did not finish within {timeout:g} s"
    if command.has_too_much_output:
        exit_code, problem = None, f"{argv[0]} wrote more than {MAX_OUTPUT >> 20} MiB"
    stdout, stderr = (
        bytes(output).decode(errors="replace") for output in (command.stdout, command.stderr)
    )
    return CommandResult(exit_code, stdout, stderr, problem)
