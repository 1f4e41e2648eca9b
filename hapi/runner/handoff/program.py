"""A runner that this process starts beside the running one: a replacement or a trial start.

It leads a session of its own (`hapi.process.detached_exec`), and what it prints goes to a file, so
that the reason of a failure can be told.
"""

from __future__ import annotations

import os
import secrets
import shutil
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.error import ProcessExitedAlready

from hapi.attempts import ATTEMPT_VARIABLE
from hapi.home import PRIVATE_FILE_MODE, Home
from hapi.one_shot import OneShotObserver
from hapi.process import IProcesses, ProcessIdentity, detached_exec
from hapi.process.exit_status import decode_wait_status
from hapi.process.launch import (
    ChildProtocol,
    describe_error,
    encoded,
    reactor_reaps_children,
    reap_on_exit,
)
from hapi.redaction import Secrets, escape_control
from hapi.runner.handoff.descriptors import StartCommand

DETACHED_EXEC = str(Path(detached_exec.__file__))
OLD_PID_VARIABLES = ("LISTEN_", "WATCHDOG_PID")  # prefixes; the values name this runner's pid
EXIT_TIMEOUT = 1.0  # seconds from the end of its processes until the exit status must be known
OUTPUT_TAIL = 4_000  # bytes of the output that are read for the reason of a failure
MAX_LINES = 4  # of the output in the reason of a failure: the place and text of a Python error


class ProgramNotStarted(Exception):
    """The program could not be started; the message is the reason."""


@define(eq=False, repr=False)
class StartedProgram:
    """A runner that runs as the child process `_child`. `name` is for sentences about it.

    `ended` fires with a sentence about its exit.
    """

    _reactor: Any
    _processes: IProcesses
    _child: ChildProtocol
    _mark: str
    name: str = "the replacement"
    output: Path | None = None  # where its output goes, None if that is unknown
    _hidden: Secrets = field(factory=Secrets)
    ended: OneShotObserver[str] = field(factory=OneShotObserver)
    _identity: ProcessIdentity | None = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._identity = self._processes.identify(self.pid)
        self._child.exited.when_fired().addCallback(self._exited)
        if not reactor_reaps_children():
            processes = self._processes
            reap_on_exit(self._reactor, self._child, processes.identify, processes.when_exited)

    @property
    def pid(self) -> int:
        return self._child.pid

    def explain(self, reason: str) -> str:
        """`reason`, followed by the last lines that the program printed."""
        return with_last_lines(reason, self.output, self._hidden)

    def _exited(self, status: int | None) -> None:
        code, signal = decode_wait_status(status)
        if code is None and signal is None:
            self.ended.fire(f"{self.name} exited (exit status unknown)")
        elif signal is not None:
            self.ended.fire(f"{self.name} was ended by {signal}")
        else:
            self.ended.fire(f"{self.name} exited with code {code}")

    def end(self) -> Deferred[object]:
        """Kill it and what it started, except sessions. Fires when that is done or has failed."""
        return Deferred.fromCoroutine(self._end())

    async def _end(self) -> None:
        if self._identity is None:
            return
        self._send("KILL")  # not SIGTERM: what it would do while it shuts down is not wanted
        await self._processes.end_tree(self._identity, self._mark, 0.0)
        if not self.ended.has_fired:
            exited = self.ended.when_fired().addTimeout(EXIT_TIMEOUT, self._reactor)
            await exited.addErrback(lambda _: None)

    def terminate(self) -> None:
        """Send it SIGTERM."""
        self._send("TERM")

    def _send(self, signal: str) -> None:
        """Signal it by its pid, which belongs to our child until Twisted has reaped that."""
        with suppress(ProcessExitedAlready):
            self._child.transport.signalProcess(signal)


@define
class Spawned:
    """The child process of `spawn_program`, and the mark by which its descendants are found."""

    child: ChildProtocol
    mark: str


def spawn_program(
    reactor: Any,
    start: StartCommand,
    variables: Mapping[str, str],
    descriptors: tuple[int, ...] = (),
    output: int | None = None,
    *,
    name: str = "the replacement",
    with_parent: bool = False,
) -> Spawned:
    """Start `start` with `variables` added to its environment. Raises ProgramNotStarted.

    It inherits `descriptors` under their own numbers, and prints to the descriptor `output`, by
    default to the output of this process. `with_parent`: it is killed when this process ends.
    """
    if start.cwd is None:
        raise ProgramNotStarted("the directory in which this runner was started is gone")
    if shutil.which(start.argv[0]) is None:
        raise ProgramNotStarted(
            f"{name} could not be started: {start.argv[0]} is missing or not executable"
        )
    mark = f"handoff-{secrets.token_hex(8)}"
    environment = {
        name: value
        for name, value in start.environment.items()
        if not name.startswith(OLD_PID_VARIABLES)
    }
    environment |= {**variables, ATTEMPT_VARIABLE: mark}
    argv = [sys.executable, "-I", "-S", "-E", DETACHED_EXEC]
    argv += [*([detached_exec.WITH_PARENT] if with_parent else []), start.cwd, *start.argv]
    child = ChildProtocol()
    streams = {1: 1, 2: 2} if output is None else {1: output, 2: output}
    try:
        with open(os.devnull, "rb") as null:
            reactor.spawnProcess(
                child,
                argv[0],
                [os.fsencode(word) for word in argv],
                env=encoded(environment),
                childFDs={
                    0: null.fileno(),
                    **streams,
                    **{number: number for number in descriptors},
                },
            )
    except (OSError, ValueError, TypeError) as error:
        raise ProgramNotStarted(f"{name} could not be started: {describe_error(error)}") from error
    return Spawned(child, mark)


# --- output


def open_output(home: Home, kind: str) -> tuple[int, Path]:
    """A new file in HAPI_HOME/logs for the output of a start: its descriptor and path.

    Raises OSError.
    """
    name = f"{time.strftime('%Y-%m-%d-%H-%M-%S')}-pid-{os.getpid()}-{secrets.token_hex(2)}-{kind}"
    path = home.directory("logs") / f"{name}.out"
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
    return os.open(path, flags, PRIVATE_FILE_MODE), path


def with_last_lines(reason: str, output: Path | None, hidden: Secrets) -> str:
    """`reason`, followed by the last lines of the file `output` on one line and without secrets."""
    if output is None:
        return reason
    try:
        text = output.read_bytes()[-OUTPUT_TAIL:].decode("utf-8", "replace")
    except OSError:
        return reason
    printed = escape_control(hidden.redact(" / ".join(told_lines(text)[-MAX_LINES:])))
    return f"{reason}: {printed}" if printed else reason


def told_lines(text: str) -> list[str]:
    """The lines of a program's output that tell something, without the marks of our own errors.

    Python marks the place of an error in the line above by carets and tildes.
    """
    lines = (line.removeprefix("hapi: ").strip() for line in text.splitlines())
    return [line for line in lines if line.strip("^~ ")]


def remove_if_empty(output: Path) -> bool:
    """Remove the file `output` unless something was printed; whether that was done."""
    with suppress(OSError):
        if not output.stat().st_size:
            output.unlink()
            return True
    return False
