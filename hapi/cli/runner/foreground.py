"""The runner in the foreground. Loads no click, so that the runner is at the hub sooner."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence
from typing import Any

from attrs import evolve

from hapi.cli.base.flags import RunnerFlags, parse_flags
from hapi.cli.base.foreground import reload
from hapi.cli.checks.startup_check import check_settings_later
from hapi.home import Home
from hapi.redaction import escape_control
from hapi.settings import hub_access, read_settings
from hapi.startup import (
    block_unused_imports,
    import_twisted_core,
    lighter_libraries,
    resume_garbage_collection,
)


def run_words(words: Sequence[str]) -> int | None:
    """Run the runner if `words` are known flags around `start-sync`; None leaves them to click."""
    flags = parse_flags(words, "start-sync")
    return None if flags is None else run_runner(flags)


def run_runner(flags: RunnerFlags) -> int:
    """Serve until asked to leave; the exit code. Invalid options are raised before that."""
    install_early_signal_handlers()
    import_twisted_core()
    with lighter_libraries():
        from hapi.runner.handoff.descriptors import (
            StartCommand,
            take_handoff_environment,
            verify_inherited,
        )
        from hapi.runner.handoff.streams import take_streams

    words, streams = take_handoff_environment(os.environ), take_streams(os.environ)
    own = StartCommand.capture()
    detached = os.environ.pop("HAPI_RUNNER_DETACHED", None) is not None
    home = Home.find(os.environ).prepare()
    block_unused_imports(hub_access(os.environ, read_settings(home)).url)
    inherited = verify_inherited(words, home)
    if inherited is not None:
        inherited.streams = streams
    # The lock is settled while options, reactor and the other modules are loaded.
    lock = None
    if inherited is None:
        with lighter_libraries():
            from hapi.runner.lock.early import lock_home_early  # loads hashlib
        lock = lock_home_early(home)
    try:
        with lighter_libraries():
            from hapi.runner import RunnerOptions
        options = RunnerOptions.from_environment(os.environ, **flags.given())
        return serve(options, own, inherited, detached, lock)
    finally:
        if lock is not None:
            lock.release()


def install_early_signal_handlers() -> None:
    """Until the reactor runs: exit on SIGTERM; ignore a SIGHUP that comes from no terminal."""

    def leave(*_: object) -> None:
        raise SystemExit(0)

    signal.signal(signal.SIGTERM, leave)
    signal.signal(signal.SIGHUP, leave if sys.stdin.isatty() else signal.SIG_IGN)


def serve(options: Any, own: Any, inherited: Any, detached: bool, lock: Any) -> int:
    """Run the runner with its home locked; the exit code."""
    with lighter_libraries():
        from twisted.internet import reactor

        from hapi.cli.base.process_host import process_host
        from hapi.log import start_logging
        from hapi.runner import runner_service
        from hapi.runner.handoff.factories import program_coordinator
        from hapi.runner.process import supervise_process

    terminal = None if detached else sys.stderr
    logging = start_logging(
        "runner",
        options.home,
        terminal=terminal,
        quiet_start=True,
        settings=options.settings,
        secrets=[options.access.token],
    )
    options = evolve(options, log_path=str(logging.path))
    host = process_host(reactor)
    if not sys.stdin.isatty():  # SIGHUP then means: reload
        host.on_hangup = lambda: None  # settings and log are being read just now

    def start() -> None:
        handoff = program_coordinator(reactor, os.environ, own, inherited, detached)
        runner: Any = runner_service(
            reactor, options, on_retired=host.leave, lock=lock, handoff=handoff
        )
        runner.when_up().addCallbacks(lambda _: up(runner, supervision), host.fail)
        runner.setServiceParent(host.services)
        supervision: Any = supervise_process(
            reactor, runner, host.services, replaces=inherited is not None
        )
        host.services.startService()

    def up(runner: Any, supervision: Any) -> None:
        resume_garbage_collection()
        if host.on_hangup is not None:
            host.on_hangup = lambda: reload(logging, runner, supervision)
        logging.enable_terminal()
        print_if_read(banner(runner))
        check_settings_later(reactor, options.settings)

    try:
        return host.run(start)
    finally:
        logging.stop()


def print_if_read(text: str) -> None:
    """Print `text`. A closed standard output is not a failure of the runner, which runs on."""
    try:
        print(text, flush=True)
    except (OSError, ValueError):
        nothing = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
        for descriptor in (1, 2):
            os.dup2(nothing, descriptor)
        os.close(nothing)


def banner(runner: Any) -> str:
    """What npm's runner prints when it is up."""
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
