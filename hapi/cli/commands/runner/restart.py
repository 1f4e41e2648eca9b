"""`hapi runner restart`: replace the running runner by a new one with the same flags."""

from __future__ import annotations

import http
import os
from contextlib import suppress
from typing import Any

import click

from hapi.build import Installation
from hapi.cli.base.common_options import json_flag
from hapi.cli.base.errors import (
    ERROR,
    HELD,
    INTERRUPTED,
    NOT_RUNNING,
    CommandError,
    exit_codes_epilog,
)
from hapi.cli.base.output import echo, print_json
from hapi.cli.base.progress import Progress
from hapi.cli.base.run import run_once, uninterrupted
from hapi.cli.commands.runner.drain import wait_until_idle
from hapi.cli.runner.background import (
    POLL_INTERVAL,
    Readiness,
    start_in_background,
    wait_until_ready,
)
from hapi.cli.runner.replacement import OUTCOME_TIMEOUT, hand_over
from hapi.cli.runner.running import (
    CONTROL_URL,
    announce_replacement,
    query_runner,
    refuse_foreign_runner,
    stop_runner,
)
from hapi.cli.runner.trial_start import require_trial_start
from hapi.home import Home
from hapi.redaction import Secrets, escape_control
from hapi.startup import block_tls_imports

READY_TIMEOUT = 20.0  # seconds for the new runner
SUPERVISOR_TIMEOUT = 40.0  # seconds until a supervisor must have started the runner again


@click.command(
    "restart",
    epilog=exit_codes_epilog(HELD, NOT_RUNNING),
    short_help="Restart the runner with its flags.",
)
@click.option(
    "--wait/--no-wait",
    default=True,
    show_default=True,
    help="Wait until the running turns end before the restart.",
)
@click.option(
    "--timeout",
    type=click.FloatRange(0.0),
    default=600.0,
    show_default=True,
    metavar="SECONDS",
    help="How long to wait for the running turns.",
)
@json_flag
def command(wait: bool, timeout: float, as_json: bool) -> None:
    """Restart the runner with the flags it has.

    Its sessions keep running and are adopted by the new runner. The running runner exits once the
    new one serves in its place, and keeps running if that fails. Nothing is restarted either if
    turns are still running when the time is up. A runner under a supervisor is started again by
    that.
    """
    home = Home.find().check()
    block_tls_imports(CONTROL_URL)

    async def go(reactor: Any) -> Readiness:
        from twisted.internet.defer import CancelledError

        try:
            return await _restart(reactor, home, timeout if wait else None, as_json)
        except CancelledError as error:
            raise CommandError("interrupted: the runner was not restarted", INTERRUPTED) from error

    seconds = timeout + OUTCOME_TIMEOUT + READY_TIMEOUT + 90
    status = run_once(go, seconds, cleans_up=True).status
    if as_json:
        print_json(status)
    else:
        echo(f"Runner restarted (pid {status.get('pid')})")


async def _restart(reactor: Any, home: Home, timeout: float | None, quiet: bool) -> Readiness:
    """Restart the runner, after its turns have ended if `timeout` (seconds) is given.

    Interrupted before the hand-off begins, this changes nothing; after that, the hand-off goes on
    by itself. A runner that cannot hand over is stopped, and its successor then always started.
    """
    from hapi.runner.control.client import ControlFailed, RunnerNotRunning

    running = await query_runner(reactor, home)
    if not running.answers:
        raise RunnerNotRunning(f"no runner is running in {home.path}")
    handoff = running.status.get("handoff") or {}
    is_supervised = handoff.get("mode") in ("restart", "notify")
    if not is_supervised or _is_up(running):
        # Before anything is drained:
        refuse_foreign_runner(running.status, "restart `hapi up` instead", "restart it there")
    else:
        progress = Progress(reactor, None if quiet else echo)
        with progress.shown():
            return await _restart_supervised(reactor, home, running, timeout, progress)
    progress = Progress(reactor, None if quiet else echo)
    with progress.shown():
        try:
            return await _replace(reactor, home, running, timeout, progress, quiet)
        except (RunnerNotRunning, ControlFailed, CommandError) as error:
            if isinstance(error, CommandError) and error.exit_code != HELD:
                raise
            progress.waits_for = "the runner that another command starts"
            found = await _runner_of_another_restart(reactor, home, running.status.get("pid"))
            if found is None:
                raise
            if not quiet:
                echo("Another command has restarted the runner meanwhile")
            return found


async def _runner_of_another_restart(reactor: Any, home: Home, pid: object) -> Readiness | None:
    """The runner that another command has started for the process `pid`; None if it runs on."""
    if (await query_runner(reactor, home)).status.get("pid") == pid:
        return None
    return await _another_runner(reactor, home, pid, READY_TIMEOUT)


async def _replace(
    reactor: Any,
    home: Home,
    running: Readiness,
    timeout: float | None,
    progress: Progress,
    quiet: bool,
) -> Readiness:
    """Replace the runner `running` by the next one, once nothing speaks against it."""
    from twisted.internet.defer import CancelledError

    from hapi.runner.control.client import ControlClient, ControlFailed, RunnerNotRunning

    argv = [str(word) for word in running.status.get("argv") or ("runner", "start-sync")]
    progress.waits_for = "a trial start of the installed version"
    installation = Installation()
    await require_trial_start(reactor, home, argv, running.status.get("pid"))
    client, admission = ControlClient(reactor, home), running.status.get("admission") or {}
    was_accepting = admission.get("accepting") is not False
    if timeout is not None:
        await _drain_first(reactor, client, timeout, was_accepting, progress)
    if installation.stamp() != installation.at_start:  # while the turns were waited for
        progress.waits_for = "a trial start of the version that was installed meanwhile"
        try:
            await require_trial_start(reactor, home, argv, running.status.get("pid"))
        except CommandError:
            if was_accepting:
                await client.resume()
            raise
    announce_replacement(running.status, quiet)
    progress.waits_for = "the old runner to hand over to the new one"
    try:
        found = await hand_over(reactor, home, running.status, argv)
    except CommandError as error:
        if was_accepting and timeout is not None and error.exit_code == ERROR:
            with suppress(RunnerNotRunning, ControlFailed):  # the error says that none is left
                await client.resume()
        raise
    if found is not None:
        return found
    with uninterrupted():  # a runner that cannot hand over
        progress.waits_for = "the old runner to exit"
        await stop_runner(reactor, home)
        started = start_in_background(home, argv)

    async def query() -> Readiness:
        found = await query_runner(reactor, home)
        is_ours = found.status.get("pid") == started.process.pid
        return found if is_ours else Readiness(False, False, {})

    secrets = Secrets()
    secrets.add(os.environ.get("CLI_API_TOKEN"))
    progress.waits_for = f"the new runner (pid {started.process.pid}) to answer"
    try:
        return await wait_until_ready(reactor, started, "api-only", READY_TIMEOUT, query, secrets)
    except CancelledError as error:
        raise CommandError(
            f"interrupted: the new runner (pid {started.process.pid}) was started, but has not "
            "answered yet",
            INTERRUPTED,
        ) from error


def _is_up(running: Readiness) -> bool:
    return list(running.status.get("argv") or ())[:1] == ["up"]


async def _restart_supervised(
    reactor: Any, home: Home, running: Readiness, timeout: float | None, progress: Progress
) -> Readiness:
    """Have the supervisor of the runner start it again; the runner makes the trial start itself."""
    from twisted.internet.defer import CancelledError

    from hapi.runner.control.client import ControlClient, ControlFailed

    client, pid = ControlClient(reactor, home), running.status.get("pid")
    supervisor = (running.status.get("handoff") or {}).get("restartedBy")
    may_be_restarted = f"interrupted: {supervisor} may still restart the runner (pid {pid})"
    was_accepting = (running.status.get("admission") or {}).get("accepting") is not False
    if timeout is not None:
        await _drain_first(reactor, client, timeout, was_accepting, progress)
    progress.waits_for = "a trial start of the installed version"
    try:
        await client.restart()
    except CancelledError as error:
        raise CommandError(may_be_restarted, INTERRUPTED) from error
    except ControlFailed as error:
        if was_accepting and timeout is not None:
            await client.resume()
        if error.status == http.HTTPStatus.NOT_FOUND:  # a runner from before this request
            refuse_foreign_runner(running.status, "", "restart it there")
        raise CommandError(
            f"the runner (pid {pid}) was left running, because {escape_control(error)}"
        ) from error
    progress.waits_for = f"{supervisor} to start the runner again"
    try:
        found = await _another_runner(reactor, home, pid, SUPERVISOR_TIMEOUT)
    except CancelledError as error:
        raise CommandError(may_be_restarted, INTERRUPTED) from error
    if found is None:
        raise CommandError(
            f"the runner (pid {pid}) has exited for {supervisor} to start it again, but no "
            f"runner answers after {SUPERVISOR_TIMEOUT:.0f} s"
        )
    return found


async def _another_runner(
    reactor: Any, home: Home, pid: object, timeout: float
) -> Readiness | None:
    """The runner of `home` once it is not the process `pid`; None after `timeout` seconds."""
    from twisted.internet.task import deferLater

    deadline = reactor.seconds() + timeout
    while True:
        found = await query_runner(reactor, home)
        if found.answers and found.status.get("pid") != pid:
            return found
        if reactor.seconds() >= deadline:
            return None
        await deferLater(reactor, POLL_INTERVAL)


async def _drain_first(
    reactor: Any, client: Any, timeout: float, was_accepting: bool, progress: Progress
) -> None:
    """Drain until no turn runs; a runner that cannot be drained in time accepts sessions again.

    The same goes for an interrupted wait.
    """
    from twisted.internet.defer import CancelledError

    try:
        await wait_until_idle(reactor, client, timeout, False, progress.busy)
    except (CommandError, CancelledError) as error:
        if was_accepting:
            await client.resume()
        if isinstance(error, CancelledError):
            raise
        raise CommandError(
            f"the runner was not restarted: turns are still running after {timeout:.0f} s "
            "(--no-wait restarts it anyway)"
        ) from error
