"""Prove that the installed version starts before a command ends the runner that runs."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from hapi.cli.base.errors import INTERRUPTED, CommandError
from hapi.cli.runner.background import background_command, background_environment
from hapi.home import Home


async def require_trial_start(reactor: Any, home: Home, words: Sequence[str], pid: object) -> None:
    """Try whether `hapi WORDS` starts in `home`, beside its runner `pid`.

    Raises CommandError when it does not; the runner keeps the reason for its status and journal.
    """
    from twisted.internet.defer import CancelledError
    from twisted.logger import Logger

    from hapi.process.local import local_processes
    from hapi.runner.control.client import ControlClient, ControlFailed, RunnerNotRunning
    from hapi.runner.handoff.descriptors import StartCommand
    from hapi.runner.handoff.trial import Trial, TrialFailed, TrialNotPossible

    log = Logger()
    command = tuple(background_command(list(words)))
    try:
        directory = os.getcwd()
    except OSError:  # it is gone, which keeps no runner from starting
        directory = str(home.path)
    start = StartCommand(command, directory, background_environment())
    try:
        await Trial(reactor, local_processes(reactor), start, home).run()
    except CancelledError as error:
        raise CommandError(f"interrupted: the runner (pid {pid}) runs on", INTERRUPTED) from error
    except TrialFailed as error:
        if not isinstance(error, TrialNotPossible):
            try:
                await ControlClient(reactor, home).trial_start_failed(str(error), error.output)
            except (ControlFailed, RunnerNotRunning) as refusal:  # one from before this request
                log.debug("The runner keeps no reason: {reason}", reason=str(refusal))
        raise CommandError(
            f"the runner (pid {pid}) was left running, because {error.clause}"
        ) from error
