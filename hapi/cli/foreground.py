"""`hapi runner start-sync`: the runner in the foreground. Loads no click: how soon it is at the hub counts."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from attrs import evolve

from hapi.cli.flags import RunnerFlags, read_words


def run_words(words: Sequence[str]) -> int | None:
    """Run the runner when `words` (after `hapi runner`) are flags we know and `start-sync`; None leaves them to click."""
    flags = read_words(words, "start-sync")
    return None if flags is None else run_runner(flags)


def run_runner(flags: RunnerFlags) -> int:
    """Serve until asked to leave; the exit code. Raises what is known to be wrong before anything runs."""
    from twisted.internet import reactor

    from hapi.cli.serving import Serving
    from hapi.log import start_logging
    from hapi.runner import RunnerOptions, runner_service

    options = RunnerOptions.from_environment(os.environ, **flags.given())
    logging = start_logging("runner", options.home, terminal=sys.stderr, secrets=[options.access.token])
    options = evolve(options, log_path=str(logging.path))
    serving = Serving(reactor)

    def start() -> None:
        serving.services.addService(runner_service(reactor, options, on_retired=serving.leave))
        serving.services.startService()

    try:
        return serving.run(start)
    finally:
        logging.stop()
