"""Starting the program that is to replace this one: the same command line, directory and environment, and what it inherits."""

from __future__ import annotations

import os
import secrets
import signal
import socket
import subprocess
from typing import Any, Protocol

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.logger import Logger

from hapi.attempts import ATTEMPT_VARIABLE
from hapi.one_shot import OneShotObserver
from hapi.process import IProcesses, ProcessIdentity
from hapi.runner.handoff.channel import HandoffChannel, open_channel
from hapi.runner.handoff.descriptors import (
    NONE,
    HandoverDescriptors,
    StartCommand,
    handoff_environment,
)

OLD_PID_VARIABLES = ("LISTEN_", "WATCHDOG_PID")  # they name our pid
EXIT_TIMEOUT = 1.0  # seconds


class ReplacementNotStarted(Exception):
    """There is no replacement; the text says why."""


class IReplacement(Protocol):
    """A started replacement, as far as the hand-off needs it."""

    channel: HandoffChannel
    ended: OneShotObserver[str]  # how it ended, in words

    @property
    def pid(self) -> int: ...

    def end(self) -> Deferred[object]:
        """Kill it with everything it started, sessions excepted; fires when it is gone or cannot be ended."""
        ...

    def terminate(self) -> None:
        """Ask it to leave."""
        ...


@define(eq=False)
class Replacement:
    """A real one. Its end is seen by descriptor, and its exit status is taken so that no zombie stays."""

    _reactor: Any
    _processes: IProcesses
    _process: subprocess.Popen[bytes]
    _mark: str
    channel: HandoffChannel
    ended: OneShotObserver[str] = field(factory=OneShotObserver)
    _identity: ProcessIdentity | None = field(init=False)
    log = Logger()

    def __attrs_post_init__(self) -> None:
        self._identity = self._processes.identify(self.pid)
        if self._identity is None:
            self._exited(None)
        else:
            self._processes.when_exited(self._identity).addCallbacks(
                self._exited, self._unwatchable
            )

    @property
    def pid(self) -> int:
        return self._process.pid

    def _exited(self, _: object) -> None:
        code = self._process.poll()
        if code is None:
            self._reactor.callLater(
                0.01, self._exited, None
            )  # seen by its descriptor a moment before it can be waited for
            return
        self.ended.fire(
            f"it ended by {signal.Signals(-code).name}"
            if code < 0
            else f"it ended with exit code {code}"
        )

    def _unwatchable(self, reason: Any) -> None:
        self.log.failure("The replacement {pid} cannot be watched", reason, pid=self.pid)

    def end(self) -> Deferred[object]:
        return Deferred.fromCoroutine(self._end())

    async def _end(self) -> None:
        self.channel.close()
        if self._identity is None:
            return
        if self._process.poll() is None:
            self._process.kill()  # at once: what it would still do in leaving is not wanted
        await self._processes.end_tree(self._identity, self._mark, 0.0)
        if not self.ended.has_fired:
            await (
                self.ended.when_fired()
                .addTimeout(EXIT_TIMEOUT, self._reactor)
                .addErrback(lambda _: None)
            )

    def terminate(self) -> None:
        if self._process.poll() is None:
            self._process.terminate()


def start_replacement(
    reactor: Any, processes: IProcesses, start: StartCommand, descriptors: HandoverDescriptors
) -> Replacement:
    """Start it. Raises ReplacementNotStarted."""
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
    kept = [
        each
        for each in (descriptors.lock, descriptors.tcp, descriptors.unix, theirs.fileno())
        if each != NONE
    ]
    try:
        if start.cwd is None:
            raise ReplacementNotStarted("the directory that we were started in is gone")
        process = subprocess.Popen(
            start.argv,
            cwd=start.cwd,
            env=environment,
            stdin=subprocess.DEVNULL,
            pass_fds=kept,
            start_new_session=True,
        )
    except (OSError, ValueError) as error:
        ours.close()
        raise ReplacementNotStarted(f"it could not be started: {error}") from error
    except ReplacementNotStarted:
        ours.close()
        raise
    finally:
        theirs.close()
    return Replacement(reactor, processes, process, mark, open_channel(reactor, ours.detach()))
