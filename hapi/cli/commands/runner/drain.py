"""`hapi runner drain`: accept no more sessions and, if asked, wait until the running turns end."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import click

from hapi.cli.base.common_options import json_flag
from hapi.cli.base.errors import NOT_RUNNING, CommandError, exit_codes_epilog
from hapi.cli.base.output import echo, print_json
from hapi.cli.base.progress import Progress
from hapi.cli.runner.running import call_runner
from hapi.home import Home
from hapi.redaction import escape_control

POLL_INTERVAL = 0.5  # seconds
DRAIN_LEASE = 10.0  # seconds for which a runner stays drained for a command that is gone


@click.command(
    "drain", epilog=exit_codes_epilog(NOT_RUNNING), short_help="Stop accepting new sessions."
)
@click.option("--wait", is_flag=True, help="Wait until no turn is running.")
@click.option(
    "--timeout",
    type=click.FloatRange(0.0),
    default=600.0,
    show_default=True,
    metavar="SECONDS",
    help="How long to wait with --wait.",
)
@json_flag
def command(wait: bool, timeout: float, as_json: bool) -> None:
    """Make the runner accept no new sessions until `hapi runner resume`.

    Running sessions continue. The runner stays drained across restarts and upgrades. If that could
    not be saved, e.g. on a full disk, the command says so and exits with 1.
    """

    async def drain(client: Any) -> dict[str, Any]:
        from twisted.internet import reactor

        if wait:
            progress = Progress(reactor, None if as_json else echo)
            with progress.shown():
                return await wait_until_idle(reactor, client, timeout, True, progress.busy)
        work: dict[str, Any] = await client.drain()
        return work

    work = call_runner(Home.find().check(), drain, seconds=timeout + 15)
    if as_json:
        print_json(work)
    else:
        echo("The runner accepts no new sessions; `hapi runner resume` undoes this")
        for line in work_lines(work):
            echo(line)
    raise_if_not_saved(work)


def raise_if_not_saved(work: Mapping[str, Any]) -> None:
    """Raise CommandError if the runner has obeyed, but could not save that for the next one."""
    if reason := work.get("notSaved"):
        raise CommandError(f"{escape_control(reason)}. This runner keeps trying to save it")


def busy_sessions(work: Mapping[str, Any], or_waiting: bool = True) -> list[str]:
    """Whose turns run; without `or_waiting`, not those that only wait for an answer of a person."""
    waiting = work.get("waiting") or []
    turns = [turn for turn in work.get("turns") or [] if or_waiting or turn not in waiting]
    return [
        *map(escape_control, turns),
        *(["a session being started"] * bool(work.get("starting"))),
    ]


def work_lines(work: Mapping[str, Any]) -> list[str]:
    """What the runner still works on, for a person."""
    turns, unknown = work.get("turns") or [], work.get("unknown") or []
    lines = []
    if turns:
        lines.append(f"Sessions with a running turn: {', '.join(map(escape_control, turns))}")
    if work.get("starting"):
        lines.append(f"Sessions being started: {work['starting']}")
    if unknown:
        names = ", ".join(map(escape_control, unknown))
        lines.append(f"Sessions that do not report their activity: {names}")
    return lines


async def wait_until_idle(
    reactor: Any,
    client: Any,
    timeout: float,
    keep: bool = True,
    on_busy: Callable[[str], object] = lambda who: None,
) -> dict[str, Any]:
    """Drain the runner and wait until no turn runs.

    Sessions that report no activity are not waited for. `keep`: the next runner is drained as
    well; otherwise draining ends a moment after this process has, and turns that wait for an answer
    of a person are not waited for: they may do so for days, and go on with the next runner.
    `on_busy` is called with who is being waited for. Raises CommandError after `timeout` seconds.
    """
    from twisted.internet.task import deferLater

    deadline = reactor.seconds() + timeout
    order = (True,) if keep else (False, DRAIN_LEASE)
    work: dict[str, Any]
    while sessions := busy_sessions(work := await client.drain(*order), or_waiting=keep):
        busy = ", ".join(sessions)
        if reactor.seconds() >= deadline:
            raise CommandError(
                f"turns are still running after {timeout:.0f} s ({busy}); the runner stays drained "
                "until `hapi runner resume`"
            )
        on_busy(busy)
        await deferLater(reactor, POLL_INTERVAL)
    return work
