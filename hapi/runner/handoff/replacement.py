"""Start the program that replaces this runner, as a child process that Twisted manages.

The replacement gets the same command line, directory and environment, and the descriptors that are
handed over, under their own numbers.
"""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import Any, Protocol

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.logger import Logger

from hapi.home import Home
from hapi.one_shot import OneShotObserver
from hapi.process import IProcesses
from hapi.redaction import Secrets
from hapi.runner.handoff.channel import HandoffChannel, open_channel
from hapi.runner.handoff.descriptors import (
    NONE,
    HandoverDescriptors,
    StartCommand,
    handoff_environment,
)
from hapi.runner.handoff.program import (
    ProgramNotStarted,
    StartedProgram,
    open_output,
    remove_if_empty,
    spawn_program,
)
from hapi.runner.handoff.streams import OutputStreams

log = Logger()


class IReplacement(Protocol):
    """A started replacement, as the hand-off uses it."""

    channel: HandoffChannel
    ended: OneShotObserver[str]  # fires with a sentence about its exit
    output: Path | None  # what it prints during the hand-off

    @property
    def pid(self) -> int: ...

    def end(self) -> Deferred[object]:
        """Kill it and what it started, except sessions. Fires when that is done or has failed."""
        ...

    def terminate(self) -> None:
        """Send it SIGTERM."""
        ...

    def explain(self, reason: str) -> str:
        """`reason`, followed by the last lines that it printed."""
        ...


@define(eq=False, repr=False)
class Replacement(StartedProgram):
    """A replacement, and the channel to it."""

    channel: HandoffChannel = field(kw_only=True)

    async def _end(self) -> None:
        self.channel.close()
        await super()._end()


def start_replacement(
    reactor: Any,
    processes: IProcesses,
    start: StartCommand,
    descriptors: HandoverDescriptors,
    home: Home | None = None,
    hidden: Secrets | None = None,
    *,
    moves_output: bool = True,
) -> Replacement:
    """Start the replacement. Raises ProgramNotStarted.

    Its output goes to a file in the logs of `home`, and once the hand-off is done to ours if it
    `moves_output`; without `home`, always to ours. `hidden` is removed from what is told of that
    file.
    """
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    handed_over = (descriptors.lock, descriptors.tcp, descriptors.unix, theirs.fileno())
    passed = [number for number in handed_over if number != NONE]
    variables = handoff_environment(os.getpid(), *handed_over)
    streams, output, path = _redirect(home)
    if streams is not None and moves_output:
        passed += [streams.output, streams.error]
        variables |= streams.environment()
    try:
        spawned = spawn_program(reactor, start, variables, tuple(passed), output)
    except ProgramNotStarted:
        ours.close()
        if path is not None:
            remove_if_empty(path)
        raise
    finally:
        theirs.close()
        if streams is not None:
            streams.close()
        if output is not None:
            os.close(output)
    channel = open_channel(reactor, ours.detach())
    return Replacement(
        reactor,
        processes,
        spawned.child,
        spawned.mark,
        output=path,
        hidden=hidden or Secrets(),
        channel=channel,
    )


def _redirect(home: Home | None) -> tuple[OutputStreams | None, int | None, Path | None]:
    """Our own streams, and a file for the output of the replacement; nothing if that fails."""
    if home is None:
        return None, None, None
    try:
        streams = OutputStreams.duplicate()
    except OSError:
        return None, None, None
    try:
        return streams, *open_output(home, "handoff")
    except OSError as error:
        streams.close()
        log.warn("The replacement's output gets no file: {reason}", reason=str(error))
        return None, None, None
