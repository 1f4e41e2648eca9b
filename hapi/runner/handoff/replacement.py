"""Start the program that replaces this runner, as a child process that Twisted manages.

The replacement gets the same command line, directory and environment, and the descriptors that are
handed over, under their own numbers. It leads a session of its own (`hapi.process.detached_exec`).
"""

from __future__ import annotations

import os
import secrets
import shutil
import socket
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.error import ProcessExitedAlready

from hapi.attempts import ATTEMPT_VARIABLE
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
from hapi.runner.handoff.channel import HandoffChannel, open_channel
from hapi.runner.handoff.descriptors import (
    NONE,
    HandoverDescriptors,
    StartCommand,
    handoff_environment,
)

DETACHED_EXEC = str(Path(detached_exec.__file__))
OLD_PID_VARIABLES = ("LISTEN_", "WATCHDOG_PID")  # prefixes; the values name this runner's pid
EXIT_TIMEOUT = 1.0  # seconds from the end of its processes until the exit status must be known


class ReplacementNotStarted(Exception):
    """The replacement could not be started; the message is the reason."""


class IReplacement(Protocol):
    """A started replacement, as the hand-off uses it."""

    channel: HandoffChannel
    ended: OneShotObserver[str]  # fires with a sentence about its exit

    @property
    def pid(self) -> int: ...

    def end(self) -> Deferred[object]:
        """Kill it and what it started, except sessions. Fires when that is done or has failed."""
        ...

    def terminate(self) -> None:
        """Send it SIGTERM."""
        ...


@define(eq=False)
class Replacement:
    """A replacement that runs as the child process `_child`."""

    _reactor: Any
    _processes: IProcesses
    _child: ChildProtocol
    _mark: str
    channel: HandoffChannel
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

    def _exited(self, status: int | None) -> None:
        code, signal = decode_wait_status(status)
        if code is None and signal is None:
            self.ended.fire("the replacement exited (exit status unknown)")
        elif signal is not None:
            self.ended.fire(f"the replacement was ended by {signal}")
        else:
            self.ended.fire(f"the replacement exited with code {code}")

    def end(self) -> Deferred[object]:
        return Deferred.fromCoroutine(self._end())

    async def _end(self) -> None:
        self.channel.close()
        if self._identity is None:
            return
        self._send("KILL")  # not SIGTERM: what it would do while it shuts down is not wanted
        await self._processes.end_tree(self._identity, self._mark, 0.0)
        if not self.ended.has_fired:
            exited = self.ended.when_fired().addTimeout(EXIT_TIMEOUT, self._reactor)
            await exited.addErrback(lambda _: None)

    def terminate(self) -> None:
        self._send("TERM")

    def _send(self, signal: str) -> None:
        """Signal it by its pid, which belongs to our child until Twisted has reaped that."""
        with suppress(ProcessExitedAlready):
            self._child.transport.signalProcess(signal)


def start_replacement(
    reactor: Any, processes: IProcesses, start: StartCommand, descriptors: HandoverDescriptors
) -> Replacement:
    """Start the replacement. Raises ReplacementNotStarted."""
    if start.cwd is None:
        raise ReplacementNotStarted("the directory in which this runner was started is gone")
    if shutil.which(start.argv[0]) is None:
        raise ReplacementNotStarted(
            f"the replacement could not be started: {start.argv[0]} is missing or not executable"
        )
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    mark = f"handoff-{secrets.token_hex(8)}"
    environment = {
        name: value
        for name, value in start.environment.items()
        if not name.startswith(OLD_PID_VARIABLES)
    }
    environment |= handoff_environment(
        os.getpid(), descriptors.lock, descriptors.tcp, descriptors.unix, theirs.fileno()
    ) | {ATTEMPT_VARIABLE: mark}
    inherited = (descriptors.lock, descriptors.tcp, descriptors.unix, theirs.fileno())
    argv = [sys.executable, "-I", "-S", "-E", DETACHED_EXEC, start.cwd, *start.argv]
    child = ChildProtocol()
    try:
        with open(os.devnull, "rb") as null:
            reactor.spawnProcess(
                child,
                argv[0],
                [os.fsencode(word) for word in argv],
                env=encoded(environment),
                childFDs={0: null.fileno(), 1: 1, 2: 2}
                | {number: number for number in inherited if number != NONE},
            )
    except (OSError, ValueError, TypeError) as error:
        ours.close()
        reason = describe_error(error)
        raise ReplacementNotStarted(f"the replacement could not be started: {reason}") from error
    finally:
        theirs.close()
    return Replacement(reactor, processes, child, mark, open_channel(reactor, ours.detach()))
