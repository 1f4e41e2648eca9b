"""Starting and stopping the background runner: looking first, replacing what is out of date, waiting with an end."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from hapi import __version__
from hapi.cli.base.daemon import (
    GLANCE,
    Attached,
    Readiness,
    Started,
    await_ready,
    start_in_background,
)
from hapi.cli.base.dropped_flags import lost_flags
from hapi.cli.base.errors import HELD, Stop
from hapi.cli.base.flags import RunnerFlags
from hapi.cli.base.output import print_json, say, warn
from hapi.cli.base.run import run_once
from hapi.cli.base.wait_for_start import joined
from hapi.cli.checks.hub_check import judge_hub
from hapi.home import Home, read_capped
from hapi.redaction import Secrets, escape_control

STOP_WITHIN = 20.0  # seconds a runner may take to leave
ASK_HUB = 2.0  # seconds to ask the hub ourselves when the runner has not heard of it in time
EXIT_WITHIN = (
    2.0  # seconds a runner's process has to end once it has left; longer: it is a host that goes on
)

KEPT = "what workspaceRoots, maxSessions and the like in settings.json say holds for every start"


def start_runner(flags: RunnerFlags, wanted: str, timeout: float, as_json: bool) -> None:
    """Start the runner in the background unless one just like it runs; print how it went. Raises Stop."""
    from hapi.runner import RunnerOptions
    from hapi.runner.control.client import stopped_runner

    options = RunnerOptions.from_environment(
        os.environ, **flags.given()
    )  # what is wrong is said here, not in a log
    secrets = Secrets()
    secrets.add(options.access.token)

    async def go(reactor: Any) -> tuple[Readiness, bool]:
        found = await look(reactor, options.home)
        is_new = not (found.answers and same(found.status, options))
        if is_new:
            before = (
                found.status
                if found.answers
                else {"argv": read_state(options.home).get("startedWithArgv")}
            )
            lost = lost_flags(before.get("argv") or (), options)
            if found.answers:
                await give_way(reactor, options.home, found.status, as_json, lost)
            elif lost:  # killed: one that left in order takes its state file along
                warn(
                    f"the runner before this one was killed; it ran with {lost}, this one does not ({KEPT})"
                )
        there = None if is_new else Started(Attached(int(found.status["pid"])))
        started = there or start_in_background(options.home, list(options.argv))

        async def look_again() -> Readiness:
            return await look(reactor, options.home)

        def stopped() -> int | None:
            return stopped_runner(options.home)

        async def glance() -> Readiness:
            seen = await look_again()
            return (
                seen
                if seen.status.get("pid") == started.process.pid
                else Readiness(False, False, {})
            )

        async def why() -> str:
            return (await judge_hub(reactor, options.access, ASK_HUB)).reason

        async def ready() -> Readiness:
            return await await_ready(reactor, started, wanted, timeout, glance, secrets, why)

        try:
            return await ready(), is_new
        except Stop as error:
            if not is_new or error.exit_code != HELD:
                raise
            pid = await joined(
                reactor, error, look_again, lambda status: same(status, options), stopped, timeout
            )
            started = Started(Attached(pid))
            return await ready(), False

    found, is_new = run_once(go, 2 * timeout + STOP_WITHIN + 10)
    pid = found.status.get("pid")
    if as_json:
        print_json({"started": is_new, **found.status})
    elif is_new:
        say(
            f"Runner started successfully (pid {pid}{', registered at ' + options.access.url if found.registered else ''})"
        )
    else:
        say(f"The runner is already running with this version and these flags (pid {pid})")


def must_be_ours(status: dict[str, Any], of_up: str, of_supervisor: str) -> None:
    """Raises Stop for a runner that is another's to end: `hapi up` serves it together with a hub, or a supervisor keeps it.

    `of_up` and `of_supervisor` are what is said of it then, after who it is.
    """
    pid = status.get("pid")
    if list(status.get("argv") or ())[:1] == ["up"]:
        raise Stop(f"`hapi up` serves this home (pid {pid}){of_up}", HELD)
    handoff = status.get("handoff") or {}
    if handoff.get("mode") in ("restart", "notify"):
        raise Stop(f"{handoff.get('restartedBy')} keeps a runner (pid {pid}){of_supervisor}", HELD)


async def give_way(
    reactor: Any, home: Home, status: dict[str, Any], quiet: bool, lost: str = ""
) -> None:
    """End the runner that is not what was asked for; `lost` are its flags that the next one has not.

    Raises Stop for one that is another's to end.
    """
    pid = status.get("pid")
    must_be_ours(
        status,
        " with other flags: end it first",
        " of another build or other flags: restart it there",
    )
    if not quiet:
        say(
            f"Replacing the running runner (pid {pid}, version {escape_control(status.get('version'))})"
        )
    if lost:
        warn(f"that one ran with {lost}, this one does not ({KEPT})")
    await stop_running(reactor, home)


async def look(reactor: Any, home: Home) -> Readiness:
    """What the runner of `home` says of itself now; one that does not answer, or none, answers nothing."""
    from hapi.runner.control.client import ControlClient, ControlFailed, RunnerNotRunning

    try:
        status = await ControlClient(reactor, home).status()
    except (RunnerNotRunning, ControlFailed):
        return Readiness(False, False, {})
    return Readiness(True, is_reachable(status), status)


def is_reachable(status: dict[str, Any]) -> bool:
    """Whether the hub knows the machine and has its link: what the hub asks for arrives."""
    return bool(status.get("registered")) and (status.get("hub") or {}).get("phase") == "connected"


def same(status: dict[str, Any], options: Any) -> bool:
    """Whether the runner with `status` is what `options` ask for: build, hub, token, machine, roots and session command.

    HAPI_DISABLE_VERSION_HANDOFF=1 of the running one counts here as well, whatever our own environment says: then its build is
    no reason to replace it (faults.md H08).
    """
    from hapi.build import Installation
    from hapi.runner.storage.state_file import fingerprint

    ours = Installation().running()
    is_current = status.get("version") == __version__ and (
        ours is None or status.get("build") == {"version": ours.version, "digest": ours.digest}
    )
    return (
        (is_current or status.get("handoffDisabled") is True or options.handoff_disabled)
        and status.get("identity") == fingerprint(options.access, options.machine_id)
        and (status.get("hub") or {}).get("url") == options.access.url
        and status.get("machineId") == options.machine_id
        and list(status.get("workspaceRoots") or ()) == list(options.workspace_roots)
        and status.get("revive") == options.revive
        and status.get("sessionMemory") == options.session_limits.memory
        and same_limits(status.get("admission") or {}, options.limits)
        and list(status.get("sessionCommand") or ()) == list(options.session_command)
    )


def same_limits(admission: dict[str, Any], limits: Any) -> bool:
    running = [admission.get(key) for key in ("maxSessions", "minFreeMemory", "queue")]
    return running == [limits.sessions, limits.free_memory, limits.queue]


async def stop_running(reactor: Any, home: Home) -> int | None:
    """Ask the runner of `home` to leave and wait until it has; its pid, None when none ran. Raises Stop.

    Its process ends as well, unless the runner lives inside another program: that one goes on without it.
    """
    from twisted.internet.task import deferLater

    from hapi.process.system import SystemProcesses
    from hapi.runner.control.client import ControlClient, RunnerNotRunning

    client, processes = ControlClient(reactor, home), SystemProcesses(reactor)
    try:
        pid = int((await client.status())["pid"])
        identity = processes.identify(pid)
        await client.stop()
    except RunnerNotRunning:
        return None
    begun = reactor.seconds()
    while identity is not None and processes.is_running(identity):
        if read_state(home).get("pid") != pid and reactor.seconds() > begun + EXIT_WITHIN:
            break
        if reactor.seconds() > begun + STOP_WITHIN:
            raise Stop(
                f"the runner (pid {pid}) was asked to leave and still runs after {STOP_WITHIN:.0f} s"
            )
        await deferLater(reactor, GLANCE)
    return pid


def newest_log(home: Home) -> Path | None:
    """The log that the state file names, else the newest of a runner."""
    state = read_state(home)
    named = state.get("runnerLogPath")
    if isinstance(named, str) and named and Path(named).exists():
        return Path(named)
    found = [path for name in ("runner", "up") for path in home.logs.glob(f"*-{name}.log")]
    return max(found, key=lambda path: path.name, default=None)


def read_state(home: Home) -> dict[str, Any]:
    """`runner.state.json`, {} when there is none or it cannot be read: then it tells nothing."""
    import json

    try:
        found = json.loads(read_capped(home.runner_state) or b"{}")
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
