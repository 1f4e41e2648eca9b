"""`hapi doctor`: look at everything a runner needs and say what is missing, one line a check."""

from __future__ import annotations

import os
import platform
import resource
import shutil
import stat
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Literal

import click
from attrs import asdict, frozen

from hapi import __version__
from hapi.cli.base.errors import Stop, epilog, known
from hapi.cli.base.output import json_flag, print_json, say
from hapi.cli.base.run import run_once
from hapi.cli.checks.hub_check import judge_hub
from hapi.cli.checks.preflight import hub_date, judge_clock, try_child
from hapi.home import Home, HomeUnusable
from hapi.process.child_limits import SessionLimits
from hapi.redaction import escape_control
from hapi.settings import ConfigurationError, hub_access, read_settings

GIB = 1 << 30
LEAST_DISK, LITTLE_DISK = GIB // 10, GIB  # bytes free
LEAST_DESCRIPTORS, FEW_DESCRIPTORS = 256, 1024
MARKS = {"good": "ok  ", "note": "note", "broken": "FAIL"}


@frozen
class Check:
    """One finding: `good`, `note` (works, worth knowing) or `broken` (something will not work)."""

    name: str
    finding: Literal["good", "note", "broken"]
    text: str


@click.group("doctor", epilog=epilog(), invoke_without_command=True)
@json_flag
@click.pass_context
def doctor(context: click.Context, as_json: bool) -> None:
    """Check home, settings, hub, token, clock, runner, agents, a child really started and ended, disk, descriptors and PATH.

    Fails when something is broken. `hapi doctor clean` looks for what was left behind in this home.
    """
    if context.invoked_subcommand is not None:
        return
    checks = examine(os.environ)
    broken = [check for check in checks if check.finding == "broken"]
    if as_json:
        print_json(
            {
                "ok": not broken,
                "version": __version__,
                "checks": [asdict(check) for check in checks],
            }
        )
    else:
        for check in checks:
            say(f"{MARKS[check.finding]}  {check.name:<12} {escape_control(check.text)}")
    if broken:
        raise Stop(
            f"{len(broken)} of {len(checks)} checks failed: {', '.join(check.name for check in broken)}"
        )


@doctor.command("clean", epilog=epilog())
@click.option("--yes", is_flag=True, help="Do it; without this it is only said.")
@json_flag
def clean(yes: bool, as_json: bool) -> None:
    """Say what was left behind in this home: processes of sessions that are over, files of a runner that is gone.

    Processes are known by pid, start time and the mark of their session, never by a name; live sessions are left alone, and
    so is every other home.
    """
    from hapi.cli.commands.cleanup import alone_in, look
    from hapi.cli.commands.cleanup import clean as do_it

    home = Home.find().check()
    with alone_in(home) as alone:
        found = look(home, alone)
        everything = [*map(str, found.strays), *map(str, found.leftovers)]
        troubles = (
            run_once(lambda reactor: do_it(reactor, found), 300.0) if yes and everything else []
        )
    if as_json:
        print_json(
            {"found": everything, "done": yes, "runnerRuns": found.runs, "troubles": troubles}
        )
    else:
        for text in everything:
            say(escape_control(text))
        say(
            "Nothing was left behind." if not everything
            else f"{len(everything)} cleaned away." if yes
            else f"{len(everything)} found, nothing was changed: `hapi doctor clean --yes` cleans them away."
        )  # fmt: skip
    if troubles:
        raise Stop("; ".join(troubles))


def examine(environ: Any) -> list[Check]:
    """All checks, in the order in which one depends on another."""
    try:
        home = Home.find(environ)
    except Exception as error:
        return [Check("home", "broken", str(error))]
    checks = [
        Check(
            "version",
            "good",
            f"hapi {__version__}, Python {platform.python_version()}, {platform.system()}",
        )
    ]
    checks += [_guarded("home", _home, home)]
    settings: dict[str, Any] | None = None
    try:
        settings = read_settings(home)
        checks += [_settings(home, settings)]
    except Exception as error:
        failure = known(error)
        checks += [
            Check(
                "settings",
                "broken",
                failure.sentence if failure else f"{type(error).__name__}: {error}",
            )
        ]
    checks += [_environment(environ), _guarded("state", _state, home)]
    checks += _by_trying(home, environ, settings)
    checks += _guarded_all("agents", lambda: _agents(settings, environ))
    checks += [_guarded("disk", _disk, home), _descriptors(), _path(environ)]
    return checks


def _guarded(name: str, look: Callable[[Home], Check], home: Home) -> Check:
    return next(iter(_guarded_all(name, lambda: [look(home)])))


def _guarded_all(name: str, look: Callable[[], Iterable[Check]]) -> list[Check]:
    try:
        return list(look())
    except Exception as error:
        failure = known(error)
        return [
            Check(
                name, "broken", failure.sentence if failure else f"{type(error).__name__}: {error}"
            )
        ]


def _home(home: Home) -> Check:
    if not home.path.exists():
        return Check("home", "note", f"{home.path} does not exist yet; the first start makes it")
    mode = stat.S_IMODE(home.path.stat().st_mode)
    home.prepare()  # closes it to other users, as every start does
    closed = " (was open to other users, now closed)" if mode & 0o077 else ""
    return Check("home", "note" if closed else "good", f"{home.path}{closed}")


def _settings(home: Home, settings: dict[str, Any]) -> Check:
    from hapi.cli.checks.settings_check import settings_troubles

    if not home.settings.exists():
        return Check("settings", "note", f"{home.settings} does not exist yet")
    if troubles := settings_troubles(settings):
        return Check("settings", "broken", f"{home.settings}: {'; '.join(troubles)}")
    if stat.S_IMODE(home.settings.stat().st_mode) & 0o077:
        return Check(
            "settings",
            "broken",
            f"{home.settings} can be read by other users: chmod 600 it, and change the token in it",
        )
    return Check(
        "settings",
        "good",
        f"{home.settings}, {len(settings)} {'key' if len(settings) == 1 else 'keys'}",
    )


def _environment(environ: Any) -> Check:
    from hapi.cli.checks.settings_check import environment_troubles

    troubles = environment_troubles(environ)
    return Check(
        "environment",
        "note" if troubles else "good",
        "; ".join(troubles) or "all variables of HAPI make sense",
    )


def _state(home: Home) -> Check:
    """Nothing that is in the file keeps a runner from starting: it sets a broken one aside."""
    from hapi.runner.storage.state_file import StateFile

    if not os.path.lexists(home.runner_state):
        return Check("state", "good", "no runner has left a state file")
    if StateFile(home).read() is None:
        return Check(
            "state",
            "note",
            f"{home.runner_state} cannot be made out: the next start of a runner sets it aside",
        )
    return Check("state", "good", f"{home.runner_state}")


def _by_trying(home: Home, environ: Any, settings: dict[str, Any] | None) -> list[Check]:
    """Hub, clock, runner and a child: what needs a reactor, and that runs once. `settings` None: they cannot be read."""
    access = None
    try:
        if settings is None:
            hub = [Check("hub", "note", "not asked: which one stands in settings.json")]
        else:
            access = hub_access(environ, settings)
    except Exception as error:
        hub = [Check("hub", "broken", str(error))]

    async def look(reactor: Any) -> list[Check]:
        wall, monotonic = time.time(), time.monotonic()
        found = (
            list(hub) if access is None else [_judged(access.url, await judge_hub(reactor, access))]
        )
        dates = (
            await hub_date(reactor, access.url)
            if access is not None and found[0].finding == "good"
            else None
        )
        found += [
            await _runner(reactor, home),
            await _child(reactor, home, environ, settings or {}),
        ]
        clock = judge_clock(dates, time.time() - wall, time.monotonic() - monotonic)
        return [*found, Check("clock", "good" if clock.ok else "note", clock.text)]

    return _guarded_all("runner", lambda: run_once(look))


async def _runner(reactor: Any, home: Home) -> Check:
    from hapi.runner.control.client import ControlClient

    try:
        status = await ControlClient(reactor, home).status()
    except Exception as error:
        failure = known(error)
        return Check("runner", "note", failure.sentence if failure else f"does not answer: {error}")
    registered = bool(status.get("registered"))
    where = status.get("hub") or {}
    words = f"pid {status.get('pid')}, version {status.get('version')}, " + (
        f"registered at {where.get('url')}"
        if registered
        else f"not registered at {where.get('url')}: {where.get('reason')}"
    )
    finding: Any = (
        "note" if status.get("registered") is None else "good" if registered else "broken"
    )
    if warned := status.get("warnings"):
        return Check(
            "runner", "note" if registered else finding, "; ".join([words, *map(str, warned)])
        )
    return Check("runner", finding, words)


async def _child(reactor: Any, home: Home, environ: Any, settings: dict[str, Any]) -> Check:
    from hapi.process.systemd_scopes import ScopeManager, detect_systemd
    from hapi.runner.config.options import read_session_limits

    try:
        limits = read_session_limits(environ, settings)
    except ConfigurationError:
        limits = SessionLimits()  # said above
    try:
        tried = await try_child(
            reactor, home.prepare(), ScopeManager(detect_systemd(environ), limits, reactor.seconds)
        )
    except HomeUnusable:
        return Check(
            "child", "note", "not tried: there is no home to do it in"
        )  # that fails by itself
    except Exception as error:
        failure = known(error)
        return Check(
            "child", "broken", failure.sentence if failure else f"no child can be started: {error}"
        )
    return Check(
        "child", "broken" if not tried.ok else "note" if tried.notable else "good", tried.text
    )


def _judged(url: str, verdict: Any) -> Check:
    if verdict.finding == "ok":
        return Check("hub", "good", f"{url} answers and takes the token")
    if verdict.finding == "refused":
        return Check(
            "hub", "broken", f"{url} refused the token ({verdict.reason}): hapi auth login"
        )
    return Check("hub", "broken", f"{url} does not answer: {verdict.reason}")


def _agents(settings: dict[str, Any] | None, environ: Any) -> list[Check]:
    from hapi.cli.base.agents import found_agents

    found, missing = found_agents(settings or {}, environ)
    text = f"found {', '.join(found)}" + (f"; not found {', '.join(missing)}" if missing else "")
    return [Check("agents", "good" if len(found) > 1 else "note", text)]


def _disk(home: Home) -> Check:
    place = next(path for path in (home.path, *home.path.parents) if path.exists())
    free = shutil.disk_usage(place).free
    finding: Any = "broken" if free < LEAST_DISK else "note" if free < LITTLE_DISK else "good"
    return Check("disk", finding, f"{free / GIB:.1f} GiB free at {place}")


def _descriptors() -> Check:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    finding: Any = (
        "broken" if soft < LEAST_DESCRIPTORS else "note" if soft < FEW_DESCRIPTORS else "good"
    )
    if soft < LEAST_DESCRIPTORS <= hard:
        finding = "note"
    return Check(
        "descriptors",
        finding,
        f"{soft} may be open at once" + (f"; a runner takes {hard}" if soft < hard else ""),
    )


def _path(environ: Any) -> Check:
    path = environ.get("PATH", "")
    ours = Path(sys.executable).parent / "hapi"
    found = shutil.which("hapi", path=path)
    if shutil.which("git", path=path) is None:
        return Check("PATH", "note", "no git: sessions in worktrees will not work")
    if found is None:
        return Check(
            "PATH",
            "note",
            f"hapi is not on the PATH; this one is {ours if ours.exists() else sys.executable + ' -m hapi'}",
        )
    if ours.exists() and not ours.samefile(found):
        return Check("PATH", "note", f"the first hapi on the PATH is {found}, this one is {ours}")
    return Check("PATH", "good", f"{found}")
