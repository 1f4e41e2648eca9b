"""Start the program that replaces this runner, as a child process that Twisted manages.

The replacement gets the same command line, directory and environment, and the descriptors that are
handed over, under their own numbers.
"""

from __future__ import annotations

import os
import socket
from typing import Any, Protocol

from attrs import define, field
from twisted.internet.defer import Deferred

from hapi.one_shot import OneShotObserver
from hapi.process import IProcesses
from hapi.runner.handoff.channel import HandoffChannel, open_channel
from hapi.runner.handoff.descriptors import (
    NONE,
    HandoverDescriptors,
    StartCommand,
    handoff_environment,
)
from hapi.runner.handoff.program import ProgramNotStarted, StartedProgram, spawn_program


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
class Replacement(StartedProgram):
    """A replacement, and the channel to it."""

    channel: HandoffChannel = field(kw_only=True)

    async def _end(self) -> None:
        self.channel.close()
        await super()._end()


def start_replacement(
    reactor: Any, processes: IProcesses, start: StartCommand, descriptors: HandoverDescriptors
) -> Replacement:
    """Start the replacement. Raises ProgramNotStarted."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    handed_over = (descriptors.lock, descriptors.tcp, descriptors.unix, theirs.fileno())
    try:
        spawned = spawn_program(
            reactor,
            start,
            handoff_environment(os.getpid(), *handed_over),
            tuple(number for number in handed_over if number != NONE),
        )
    except ProgramNotStarted:
        ours.close()
        raise
    finally:
        theirs.close()
    channel = open_channel(reactor, ours.detach())
    return Replacement(reactor, processes, spawned.child, spawned.mark, channel=channel)
