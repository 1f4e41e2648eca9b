"""`hapi runner drain`, `resume`, `restart`: let running turns end before anything is changed."""

from __future__ import annotations

import os
from typing import Any

from hapi.cli.base.daemon import Readiness, await_ready, start_in_background
from hapi.cli.base.errors import NOT_RUNNING, Stop
from hapi.cli.base.output import print_json, say
from hapi.cli.base.run import run_once
from hapi.cli.commands.start import give_way, look, must_be_ours
from hapi.home import Home
from hapi.redaction import Secrets, escape_control

EVERY = 0.5  # seconds between looks at the turns
READY_WITHIN = 20.0  # seconds the new runner has


def is_calm(work: dict[str, Any]) -> bool:
    """Whether no turn runs and no session is being started."""
    return not work.get("turns") and not work.get("starting")


def drain(wait: bool, timeout: float, as_json: bool) -> None:
    """Have the runner accept no more sessions; with `wait`, return when no turn runs any more. Raises Stop."""
    home = Home.find().check()

    async def go(reactor: Any) -> dict[str, Any]:
        from hapi.runner.control.client import ControlClient

        client = ControlClient(reactor, home)
        return await until_calm(reactor, client, timeout) if wait else await client.drain()

    work = run_once(go, timeout + 15)
    if as_json:
        print_json(work)
        return
    say("The runner accepts no more sessions; `hapi runner resume` ends that")
    tell(work)


def tell(work: dict[str, Any]) -> None:
    turns, unknown = work.get("turns") or [], work.get("unknown") or []
    if turns:
        say(f"Turns run in: {', '.join(map(escape_control, turns))}")
    if work.get("starting"):
        say(f"Being started: {work['starting']}")
    if unknown:
        say(f"Do not tell whether they work: {', '.join(map(escape_control, unknown))}")


async def until_calm(
    reactor: Any, client: Any, timeout: float, keep: bool = True
) -> dict[str, Any]:
    """Drain and wait for the turns that run, not for sessions that do not tell. Raises Stop after `timeout` seconds.

    `keep`: a later runner is drained as well.
    """
    from twisted.internet.task import deferLater

    deadline = reactor.seconds() + timeout
    work: dict[str, Any]
    while not is_calm(work := await client.drain(keep)):
        if reactor.seconds() >= deadline:
            busy = ", ".join(map(escape_control, work.get("turns") or ["a start"]))
            raise Stop(
                f"after {timeout:.0f} s turns still run ({busy}); no more sessions are accepted (hapi runner resume)"
            )
        await deferLater(reactor, EVERY)
    return work


def resume(as_json: bool) -> None:
    home = Home.find().check()

    async def go(reactor: Any) -> dict[str, Any]:
        from hapi.runner.control.client import ControlClient

        return await ControlClient(reactor, home).resume()

    work = run_once(go)
    if as_json:
        print_json(work)
    else:
        say("The runner accepts sessions")


def restart(wait: bool, timeout: float, as_json: bool) -> None:
    """End the running runner and start one with its flags; first let the turns end. Its sessions go on. Raises Stop."""
    home = Home.find().check()

    async def go(reactor: Any) -> Readiness:
        from hapi.runner.control.client import ControlClient

        found = await look(reactor, home)
        if not found.answers:
            raise Stop(
                f"the runner is not running in {home.path}: start it with `hapi runner start`",
                NOT_RUNNING,
            )
        must_be_ours(
            found.status, ": end that and start it again", ": restart it there"
        )  # before anything is drained
        client = ControlClient(reactor, home)
        if wait:
            try:
                await until_calm(reactor, client, timeout, keep=False)
            except Stop as late:
                if (found.status.get("admission") or {}).get("accepting") is not False:
                    await client.resume()
                raise Stop(
                    f"not restarted: after {timeout:.0f} s turns still run (--no-wait restarts all the same)"
                ) from late
        argv = [str(word) for word in found.status.get("argv") or ("runner", "start-sync")]
        await give_way(reactor, home, found.status, quiet=as_json)
        started = start_in_background(home, argv)

        async def glance() -> Readiness:
            seen = await look(reactor, home)
            return (
                seen
                if seen.status.get("pid") == started.process.pid
                else Readiness(False, False, {})
            )

        return await await_ready(reactor, started, "api-only", READY_WITHIN, glance, _secrets())

    status = run_once(go, timeout + READY_WITHIN + 60).status
    if as_json:
        print_json(status)
    else:
        say(f"Runner restarted (pid {status.get('pid')})")


def _secrets() -> Secrets:
    secrets = Secrets()
    secrets.add(os.environ.get("CLI_API_TOKEN"))
    return secrets
