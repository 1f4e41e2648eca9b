"""Replace the running runner by one that it hands its home over to."""

from __future__ import annotations

import http
import os
from collections.abc import Mapping, Sequence
from typing import Any

from attrs import frozen

from hapi.cli.base.errors import ERROR, HELD, INTERRUPTED, CommandError
from hapi.cli.runner.background import (
    POLL_INTERVAL,
    Readiness,
    background_command,
    background_environment,
)
from hapi.cli.runner.running import query_runner
from hapi.home import Home
from hapi.redaction import escape_control

OUTCOME_TIMEOUT = 45.0  # seconds; a hand-off has 30, and ends its replacement if it fails
EXIT_TIMEOUT = 3.0  # seconds the old runner has to exit afterwards; a host program runs on


@frozen
class Handover:
    """A hand-off from the runner `pid` to its `replacement`, another process."""

    pid: int
    replacement: int


async def hand_over(
    reactor: Any, home: Home, status: Mapping[str, Any], words: Sequence[str]
) -> Readiness | None:
    """Have the runner with this `status` hand over to `hapi WORDS`, started as from here.

    The new runner, once the old one has exited. None if that cannot hand over, as npm's runner
    cannot, or has ended already: then nothing has changed. When another hand-off is going on, this
    waits for that; if it succeeds, CommandError has the exit code HELD. Raises CommandError when
    the old runner keeps running, or none is left. Cancelling this ends no hand-off.
    """
    from twisted.internet.defer import CancelledError

    pid = int(status["pid"])
    try:
        handover = await _begin(reactor, home, pid, words)
    except CancelledError as error:
        raise CommandError(
            f"interrupted: the runner (pid {pid}) may still be replaced; `hapi runner status` "
            "shows which one runs",
            INTERRUPTED,
        ) from error
    return None if handover is None else await _outcome(reactor, home, handover)


async def _begin(reactor: Any, home: Home, pid: int, words: Sequence[str]) -> Handover | None:
    from hapi.protocol.control import ReplaceRunner
    from hapi.runner.control.client import ControlClient, ControlFailed, RunnerNotRunning

    try:
        directory = os.getcwd()
    except OSError:  # it is gone, which keeps no runner from starting
        directory = str(home.path)
    asked = ReplaceRunner(
        pid=pid,
        argv=[_encoded(word) for word in background_command(list(words))],
        directory=_encoded(directory),
        environment={
            _encoded(name): _encoded(value) for name, value in background_environment().items()
        },
        words=list(words),
    )
    try:
        return Handover(pid, await ControlClient(reactor, home).replace(asked))
    except RunnerNotRunning:
        return None
    except ControlFailed as error:
        if error.status == http.HTTPStatus.NOT_FOUND:
            return None
        if isinstance(other := error.body.get("replacement"), int):
            await _outcome(reactor, home, Handover(pid, other))
            raise CommandError(
                f"another command has replaced the runner by process {other}", HELD
            ) from error
        found = await query_runner(reactor, home)
        is_gone = found.answers and found.status.get("pid") != pid
        raise CommandError(
            f"the runner (pid {pid}) was not replaced: {escape_control(error)}",
            HELD if is_gone else ERROR,
        ) from error


def _encoded(text: str) -> str:
    return os.fsencode(text).decode("latin-1")


async def _outcome(reactor: Any, home: Home, handover: Handover) -> Readiness:
    from twisted.internet.defer import CancelledError

    pid, replacement = handover.pid, handover.replacement
    try:
        return await _await_outcome(reactor, home, handover)
    except CancelledError as error:
        raise CommandError(
            f"interrupted: process {replacement} goes on to replace the runner (pid {pid}); "
            "`hapi runner status` shows which one runs",
            INTERRUPTED,
        ) from error


async def _await_outcome(reactor: Any, home: Home, handover: Handover) -> Readiness:
    from twisted.internet.task import deferLater

    from hapi.process.local import local_processes

    processes = local_processes(reactor)
    old = processes.identify(handover.pid)
    deadline = reactor.seconds() + OUTCOME_TIMEOUT
    while True:
        found = await query_runner(reactor, home)
        handoff = found.status.get("handoff") or {}
        is_leaving = found.status.get("phase") == "leaving"
        if found.answers and not handoff.get("underWay") and not is_leaving:
            if found.status.get("pid") != handover.pid:
                break
            raise CommandError(_failure(handover, handoff.get("lastFailure") or {}))
        is_alive = any(processes.identify(pid) for pid in (handover.pid, handover.replacement))
        if not found.answers and not is_alive:
            raise CommandError(
                f"the runner (pid {handover.pid}) and its replacement (pid {handover.replacement}) "
                "have both exited; `hapi runner events` shows why"
            )
        if reactor.seconds() >= deadline:
            raise CommandError(
                f"process {handover.replacement} has not replaced the runner "
                f"(pid {handover.pid}) after {OUTCOME_TIMEOUT:.0f} s; `hapi runner status` shows "
                "which one runs"
            )
        await deferLater(reactor, POLL_INTERVAL)
    exit_deadline = reactor.seconds() + EXIT_TIMEOUT
    while old is not None and processes.is_running(old) and reactor.seconds() < exit_deadline:
        await deferLater(reactor, POLL_INTERVAL)
    return found


def _failure(handover: Handover, failure: dict[str, Any]) -> str:
    kept = f"the runner (pid {handover.pid}) was left running"
    if failure.get("replacement") != handover.replacement:
        return f"{kept}, because the hand-off to process {handover.replacement} was stopped"
    reason, output = escape_control(failure.get("reason")), failure.get("output")
    told = f"{kept}, because the installed version does not take over: {reason}"
    return f"{told}; see {escape_control(output)}" if output else told
