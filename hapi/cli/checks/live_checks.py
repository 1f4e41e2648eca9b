"""What `hapi doctor` finds out by trying: hub, runner, a session-like process, clock."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from hapi.cli.base.errors import known_failure
from hapi.cli.base.run import run_once
from hapi.cli.checks.check import Check, Finding, failed_check
from hapi.cli.checks.clock_check import check_clock, fetch_hub_time
from hapi.cli.checks.hub_check import HubVerdict, check_hub, websocket_problem
from hapi.cli.checks.launch_check import check_launch
from hapi.cli.checks.own_hub_check import own_hub_problem
from hapi.cli.checks.settings_check import settings_problems
from hapi.home import Home, HomeUnusable
from hapi.process.child_limits import SessionLimits
from hapi.settings import ConfigurationError, HubAccess, hub_access

AGENTS_TIMEOUT = 300.0  # seconds for all checks if agents are started, too
HUB_KEYS = ("cliApiToken", "apiUrl", "serverUrl", "extraHeaders")  # what a hub access is read from


def live_checks(
    home: Home,
    environ: Mapping[str, str],
    settings: Mapping[str, Any] | None,
    starts_agents: bool = False,
) -> list[Check]:
    """All checks that need the reactor, which runs once. `settings` is None if unreadable.

    `starts_agents`: start each agent that is found and have it open a session.
    """
    access: HubAccess | None = None
    hub_problem: Check | None = None
    if settings is None:
        hub_problem = Check("hub", "note", "not checked, because settings.json cannot be read")
    else:
        try:
            access = hub_access(environ, settings)
        except Exception as error:
            hub_problem = failed_check("hub", error)
            if settings_problems({key: settings.get(key) for key in HUB_KEYS}):
                text = "not checked, because settings.json has invalid values"
                hub_problem = Check("hub", "note", text)
    if access is not None:
        hub_problem = own_hub_problem(home, access)

    async def check(reactor: Any) -> list[Check]:
        wall, monotonic = time.time(), time.monotonic()
        hub, dates = hub_problem, None
        if access is not None and hub is None:
            hub = hub_finding(access.url, await check_hub(reactor, access))
            if hub.finding == "good":
                if (problem := await websocket_problem(reactor, access)) is not None:
                    text = f"{access.url} answers, but no runner or session can connect: {problem}"
                    hub = Check("hub", "broken", text)
                dates = await fetch_hub_time(reactor, access.url)
        runner = await check_runner(reactor, home)
        child = await check_child(reactor, home, environ, settings or {})
        clock = check_clock(dates, time.time() - wall, time.monotonic() - monotonic)
        clock_finding = Check("clock", "good" if clock.ok else "note", clock.text)
        agents: list[Check] = []
        if starts_agents:
            from hapi.cli.checks.agents_check import check_agents_by_starting

            agents = await check_agents_by_starting(reactor, settings or {}, environ)
        return [*([hub] if hub is not None else []), runner, child, clock_finding, *agents]

    return run_once(check, AGENTS_TIMEOUT if starts_agents else 60.0)


def hub_finding(url: str, verdict: HubVerdict) -> Check:
    match verdict.finding:
        case "ok":
            return Check("hub", "good", f"{url} answers and accepts the access token")
        case "refused":
            text = f"{url} refused the access token ({verdict.reason}); run `hapi auth login`"
            return Check("hub", "broken", text)
        case _:
            return Check("hub", "broken", verdict.problem(url))


async def check_runner(reactor: Any, home: Home) -> Check:
    from hapi.runner.control.client import ControlClient

    try:
        status = await ControlClient(reactor, home).status()
    except Exception as error:
        failure = known_failure(error)
        text = failure.sentence if failure else f"the runner does not answer: {error}"
        return Check("runner", "note", text)
    return runner_finding(status)


def runner_finding(status: Mapping[str, Any]) -> Check:
    hub = status.get("hub") or {}
    url, registered = hub.get("url"), status.get("registered")
    text = f"running (pid {status.get('pid')}, version {status.get('version')}), "
    if registered:
        text += f"registered at {url}"
    else:
        text += f"not registered at {url}: {hub.get('reason') or 'no reason given'}"
    warnings = [str(warning) for warning in status.get("warnings") or ()]
    finding: Finding = "good" if registered else "note" if registered is None else "broken"
    if registered and hub.get("phase") not in (None, "connected"):
        finding = "broken"
        text += f", connection lost: {hub.get('reason') or hub.get('phase')}"
    if warnings and finding == "good":
        finding = "note"
    failure = (status.get("handoff") or {}).get("lastFailure")
    if failure and status.get("current") is False:  # nor would it start after a reboot
        finding = "broken"
        output = f" (output: {failure['output']})" if failure.get("output") else ""
        warnings.insert(0, f"the installed version does not start: {failure['reason']}{output}")
    return Check("runner", finding, "; ".join([text, *warnings]))


async def check_child(
    reactor: Any, home: Home, environ: Mapping[str, str], settings: Mapping[str, Any]
) -> Check:
    """Start and end a process as the runner would for a session."""
    from hapi.process.systemd_scopes import ScopeManager, detect_systemd
    from hapi.runner.config.options import read_session_limits

    try:
        limits = read_session_limits(environ, settings)
    except ConfigurationError:
        limits = SessionLimits()  # another check reports it
    try:
        scopes = ScopeManager(detect_systemd(environ), limits, reactor.seconds)
        tried = await check_launch(reactor, home.prepare(), scopes)
    except HomeUnusable:  # another check reports it
        return Check("child", "note", "not checked, because there is no usable home directory")
    except Exception as error:
        failure = known_failure(error)
        text = failure.sentence if failure else f"no process can be started: {error}"
        return Check("child", "broken", text)
    return Check(
        "child", "broken" if not tried.ok else "note" if tried.notable else "good", tried.text
    )
