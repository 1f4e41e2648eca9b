"""`hapi runner start`: start the runner in the background and wait until it is ready."""

from __future__ import annotations

import os
from typing import Any

import click

from hapi.cli.base.common_options import json_flag
from hapi.cli.base.dropped_flags import dropped_flags
from hapi.cli.base.errors import HELD, REFUSED, UNREACHABLE, CommandError, exit_codes_epilog
from hapi.cli.base.flags import RunnerFlags
from hapi.cli.base.output import echo, print_json, warn
from hapi.cli.base.run import run_once, uninterrupted
from hapi.cli.base.runner_options import runner_flags, runner_options
from hapi.cli.checks.hub_check import HubVerdict, check_hub
from hapi.cli.runner.background import (
    BackgroundProcess,
    ForeignProcess,
    Readiness,
    start_in_background,
    wait_until_ready,
)
from hapi.cli.runner.replacement import OUTCOME_TIMEOUT, hand_over
from hapi.cli.runner.running import (
    PERMANENT_SETTINGS,
    STOP_TIMEOUT,
    announce_replacement,
    matches_options,
    query_runner,
    refuse_replacement,
    stop_runner,
)
from hapi.cli.runner.trial_start import require_trial_start
from hapi.cli.runner.wait_for_start import wait_for_other_start
from hapi.home import Home
from hapi.redaction import Secrets
from hapi.startup import block_tls_imports

TRIAL_TIMEOUT = 30.0  # seconds for a trial start and all that is not waiting
HUB_CHECK_TIMEOUT = 2.0  # seconds to ask the hub directly when the runner knows no reason in time


@click.command(
    "start",
    epilog=exit_codes_epilog(HELD, UNREACHABLE, REFUSED),
    short_help="Start the runner in the background.",
)
@runner_options
@click.option(
    "--wait",
    "wanted",
    type=click.Choice(["full", "api-only"]),
    default="full",
    show_default=True,
    help="When the runner counts as ready: `full` once it is registered at the hub, `api-only` "
    "once it answers on this machine.",
)
@click.option(
    "--timeout",
    type=click.FloatRange(0.1),
    default=20.0,
    show_default=True,
    metavar="SECONDS",
    help="How long to wait until the runner is ready.",
)
@json_flag
@click.pass_context
def command(
    context: click.Context,
    /,
    roots: tuple[str, ...],
    session_command: str | None,
    wanted: str,
    timeout: float,
    as_json: bool,
    **more: str | None,
) -> None:
    """Start the runner in the background and wait until it is ready.

    A running runner of this version with the same flags is left alone; any other is replaced once
    the new one serves in its place, and its sessions keep running. When the time is up, or the hub
    refuses the access token, the command fails; the runner keeps running and retries.
    """
    flags = runner_flags(roots, session_command, more, context.obj)
    start_runner(flags, wanted, timeout, as_json)


def start_runner(flags: RunnerFlags, wanted: str, timeout: float, as_json: bool) -> None:
    """Start the runner unless one with these options runs; print the result.

    Raises CommandError, and what RunnerOptions raises for invalid options.
    """
    from hapi.runner import RunnerOptions

    options = RunnerOptions.from_environment(os.environ, **flags.given())
    block_tls_imports(options.access.url)
    secrets = Secrets()
    secrets.add(options.access.token)

    async def start(reactor: Any) -> tuple[Readiness, bool]:
        return await _start(reactor, options, wanted, timeout, secrets, as_json)

    seconds = 2 * timeout + STOP_TIMEOUT + OUTCOME_TIMEOUT + TRIAL_TIMEOUT
    found, is_new = run_once(start, seconds, cleans_up=True)
    pid = found.status.get("pid")
    if as_json:
        print_json({"started": is_new, **found.status})
    elif not is_new:
        echo(f"The runner is already running with this version and these flags (pid {pid})")
    elif found.registered:
        echo(f"Runner started successfully (pid {pid}, registered at {options.access.url})")
    else:
        echo(f"Runner started successfully (pid {pid})")


async def _start(
    reactor: Any, options: Any, wanted: str, timeout: float, secrets: Secrets, quiet: bool
) -> tuple[Readiness, bool]:
    """The runner once it is ready, and whether this call started it."""
    from hapi.runner.control.client import stopped_runner_pid

    home: Home = options.home
    running = await query_runner(reactor, home)
    is_new = not (running.answers and matches_options(running.status, options))
    if is_new:
        if running.answers:
            refuse_replacement(running.status)
            await require_trial_start(reactor, home, options.argv, running.status.get("pid"))
        _announce_start(options, running, quiet)

    async def query() -> Readiness:
        return await query_runner(reactor, home)

    async def query_started() -> Readiness:
        found = await query()
        is_ours = found.status.get("pid") == started.process.pid
        return found if is_ours else Readiness(False, False, {})

    async def ask_hub() -> HubVerdict:
        return await check_hub(reactor, options.access, HUB_CHECK_TIMEOUT)

    async def ready() -> Readiness:
        return await wait_until_ready(
            reactor, started, wanted, timeout, query_started, secrets, ask_hub
        )

    started = BackgroundProcess(ForeignProcess(int(running.status.get("pid") or 0)))
    try:
        if is_new:
            started = await _start_in_place_of(reactor, options, running)
        return await ready(), is_new
    except CommandError as error:
        if not is_new or error.exit_code != HELD:
            raise
        pid = await wait_for_other_start(
            reactor,
            error,
            query,
            lambda status: matches_options(status, options),
            lambda: stopped_runner_pid(home),
            timeout,
        )
        started = BackgroundProcess(ForeignProcess(pid))
        return await ready(), False


async def _start_in_place_of(reactor: Any, options: Any, running: Readiness) -> BackgroundProcess:
    """Start the runner in place of the one that runs, if one does."""
    home = options.home
    if running.answers:
        found = await hand_over(reactor, home, running.status, options.argv)
        if found is not None:
            return BackgroundProcess(ForeignProcess(int(found.status["pid"])))
    with uninterrupted():  # not between the end of one and the next
        if running.answers:
            await stop_runner(reactor, home)
        return start_in_background(home, list(options.argv))


def _announce_start(options: Any, running: Readiness, quiet: bool) -> None:
    """Tell which runner is replaced; warn of flags that the new runner drops."""
    from hapi.runner.storage.state_file import StateFile

    if running.answers:
        dropped = dropped_flags(running.status.get("argv") or (), options)
        announce_replacement(running.status, quiet, dropped)
        return
    # A state file without a runner: a runner that shuts down cleanly removes its file.
    state = StateFile(options.home).read()
    dropped = dropped_flags(() if state is None else state.started_with_argv, options)
    if dropped:
        warn(
            f"note: the previous runner was killed; it had {dropped}, this one does not "
            f"({PERMANENT_SETTINGS})"
        )
