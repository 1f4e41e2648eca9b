"""Coordinators for the programs that contain a runner.

Each runner makes its own from one of these.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from hapi.process.local import local_processes
from hapi.runner.handoff.coordinator import HandoffCoordinator
from hapi.runner.handoff.descriptors import InheritedDescriptors, StartCommand
from hapi.runner.handoff.interfaces import HandoffRunner
from hapi.runner.supervision.supervisor import Supervision, in_foreground, supervision

MakeCoordinator = Callable[[HandoffRunner], HandoffCoordinator]


def embedded_coordinator(
    reactor: Any,
    owner: str,
    environ: Mapping[str, str] | None = None,
    start: StartCommand | None = None,
) -> MakeCoordinator:
    """The coordinator of a runner that never replaces itself, since it is a part of `owner`.

    With `environ` the process is a runner and nothing else, so that a supervisor found in that
    environment may be asked for a restart. `start` starts that program again, for trial starts.
    """
    found = supervision(environ) if environ is not None else Supervision()
    is_supervised = found.mode in ("notify", "restart")
    supervised = (
        Supervision("restart", found.by, is_replaceable=False)
        if is_supervised
        else Supervision("none", owner, is_replaceable=False)
    )
    return lambda runner: HandoffCoordinator(
        reactor, local_processes(reactor), runner, supervised, start
    )


def program_coordinator(
    reactor: Any,
    environ: Mapping[str, str],
    start: StartCommand,
    inherited: InheritedDescriptors | None,
    detached: bool,
) -> MakeCoordinator:
    """The coordinator of a process that is a runner and nothing else."""
    found = supervision(environ, detached=detached, terminal=in_foreground())
    return lambda runner: HandoffCoordinator(
        reactor, local_processes(reactor), runner, found, start, inherited
    )
