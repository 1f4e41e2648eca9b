"""`hapi runner start-sync`: the runner in the foreground. Loads no click: how soon it is at the hub counts."""

from __future__ import annotations

import gc
import os
import signal
import sys
from collections.abc import Sequence
from typing import Any

from attrs import evolve

from hapi.cli.base.flags import RunnerFlags, read_words
from hapi.redaction import escape_control


def run_words(words: Sequence[str]) -> int | None:
    """Run the runner when `words` (after `hapi runner`) are flags we know and `start-sync`; None leaves them to click."""
    flags = read_words(words, "start-sync")
    return None if flags is None else run_runner(flags)


def run_runner(flags: RunnerFlags) -> int:
    """Serve until asked to leave; the exit code. Raises what is known to be wrong before anything runs."""
    heed_signals()
    from hapi.runner import RunnerOptions
    from hapi.runner.handoff.descriptors import OwnStart, prove, take_inheritance
    from hapi.runner.lock.early import begin_lock

    words = take_inheritance(os.environ)
    own = OwnStart.capture()
    detached = os.environ.pop("HAPI_RUNNER_DETACHED", None) is not None
    options = RunnerOptions.from_environment(os.environ, **flags.given())
    inherited = prove(words, options.home)
    lock = (
        begin_lock(options.home) if inherited is None else None
    )  # it settles while the reactor and the rest are loaded
    try:
        return serve(options, own, inherited, detached, lock)
    finally:
        if lock is not None:
            lock.release()


def heed_signals() -> None:
    """Until there is a reactor: leave in order, and let no hang-up of others than a terminal end us."""

    def leave(*_: object) -> None:
        raise SystemExit(0)

    signal.signal(signal.SIGTERM, leave)
    signal.signal(signal.SIGHUP, leave if sys.stdin.isatty() else signal.SIG_IGN)


def serve(options: Any, own: Any, inherited: Any, detached: bool, lock: Any) -> int:
    """The same, with the home taken."""
    from twisted.internet import reactor

    from hapi.cli.base.process_host import Serving
    from hapi.log import start_logging
    from hapi.runner import runner_service
    from hapi.runner.handoff.coordinator import succession_of
    from hapi.runner.process import host

    terminal = None if detached else sys.stderr
    logging = start_logging(
        "runner", options.home, terminal=terminal, quiet_start=True, secrets=[options.access.token]
    )
    options = evolve(options, log_path=str(logging.path))
    serving = Serving(reactor)
    if not sys.stdin.isatty():  # no terminal that could hang up: a supervisor's or a person's wish
        serving.on_hangup = lambda: None  # settings and log are being read just now

    def start() -> None:
        succession = succession_of(reactor, os.environ, own, inherited, detached)
        runner: Any = runner_service(
            reactor, options, on_retired=serving.leave, lock=lock, succession=succession
        )
        runner.when_up().addCallbacks(lambda _: up(runner, telling), serving.fail)
        runner.setServiceParent(serving.services)
        telling: Any = host(reactor, runner, serving.services, replaces=inherited is not None)
        serving.services.startService()

    def up(runner: Any, telling: Any) -> None:
        gc.freeze()
        gc.enable()
        if serving.on_hangup is not None:
            serving.on_hangup = lambda: reload(logging, runner, telling)
        logging.enable_terminal()
        tell(banner(runner))
        from hapi.cli.checks.settings_check import warn_of_troubles

        warn_of_troubles(os.environ, options.settings)

    try:
        return serving.run(start)
    finally:
        logging.stop()


def reload(logging: Any, runner: Any, telling: Any) -> None:
    """SIGHUP: log into a file of this name anew, look again at settings and hub, tell systemd. Never an end.

    Without `runner` the settings stay: of `hapi up`, hub and runner could not change them at one time.
    """
    logging.reopen()
    for part in (runner, telling):
        if part is not None:
            part.reload()


def tell(text: str) -> None:
    """Print `text`; when nobody reads what we print, go on without: an exit code of ours speaks of the runner alone."""
    try:
        print(text, flush=True)
    except (OSError, ValueError):
        nothing = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
        for descriptor in (1, 2):
            os.dup2(nothing, descriptor)
        os.close(nothing)


def banner(runner: Any) -> str:
    """What npm's runner says when it is up, line by line."""
    options = runner.options
    lines = ["Hapi runner started."]
    if options.workspace_roots:
        lines.append(f"  Workspace roots: {escape_control(', '.join(options.workspace_roots))}")
    lines += [
        f"  Hub URL:        {options.access.url}",
        f"  Machine ID:     {options.machine_id}",
        f"  Control port:   {runner.port}",
        "Waiting for sessions. Press Ctrl+C to stop.",
    ]
    return "\n".join(lines)
