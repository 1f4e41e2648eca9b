"""What `hapi doctor` finds on this machine without a reactor: home, settings, disk, programs."""

from __future__ import annotations

import os
import resource
import shutil
import stat
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hapi.cli.base.output import plural
from hapi.cli.checks.check import Check, Finding
from hapi.home import Home

GIB = 1 << 30  # bytes
MIN_DISK, LOW_DISK = GIB // 10, GIB  # bytes free
MIN_DESCRIPTORS, LOW_DESCRIPTORS = 256, 1024


def check_home(home: Home) -> Check:
    if not home.path.exists():
        return Check("home", "note", f"{home.path} does not exist yet; the first start creates it")
    mode = stat.S_IMODE(home.path.stat().st_mode)
    home.prepare()  # makes it private, as every start does
    if mode & 0o077:
        text = f"{home.path} was accessible to other users and has been made private"
        return Check("home", "note", text)
    return Check("home", "good", f"{home.path}")


def check_settings(home: Home, settings: dict[str, Any]) -> Check:
    from hapi.cli.checks.settings_check import settings_problems

    if not home.settings.exists():
        return Check("settings", "note", f"{home.settings} does not exist yet")
    if problems := settings_problems(settings):
        return Check("settings", "broken", f"{home.settings}: {'; '.join(problems)}")
    if stat.S_IMODE(home.settings.stat().st_mode) & 0o077:
        return Check(
            "settings",
            "broken",
            f"{home.settings} is readable by other users: run `chmod 600 {home.settings}` and "
            "replace the access token in it",
        )
    return Check("settings", "good", f"{home.settings} ({plural(len(settings), 'key')})")


def check_environment(environ: Mapping[str, str]) -> Check:
    from hapi.cli.checks.settings_check import environment_problems

    if problems := environment_problems(environ):
        return Check("environment", "note", "; ".join(problems))
    return Check("environment", "good", "all HAPI variables are valid")


def check_state_file(home: Home) -> Check:
    """A broken state file keeps no runner from starting: the runner moves it aside."""
    from hapi.runner.storage.state_file import StateFile

    if not os.path.lexists(home.runner_state):
        return Check("state", "good", "no runner has left a state file")
    if StateFile(home).read() is None:
        text = f"{home.runner_state} cannot be read; the next runner moves it aside"
        return Check("state", "note", text)
    return Check("state", "good", f"{home.runner_state}")


def check_agents(
    settings: Mapping[str, Any], environ: Mapping[str, str], are_started: bool = False
) -> Check:
    from hapi.cli.base.agent_summary import detect_agents

    available, missing = detect_agents(settings, environ)
    text = f"found: {', '.join(available)}"
    if missing:
        text += f"; not found: {', '.join(missing)}"
    if not are_started:
        text += ". `hapi doctor --agents` starts each and tells whether it needs a login"
    return Check("agents", "good" if len(available) > 1 else "note", text)


def check_disk(home: Home) -> Check:
    place = next(path for path in (home.path, *home.path.parents) if path.exists())
    free = shutil.disk_usage(place).free
    finding: Finding = "broken" if free < MIN_DISK else "note" if free < LOW_DISK else "good"
    return Check("disk", finding, f"{free / GIB:.1f} GiB free at {place}")


def check_descriptors() -> Check:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    finding: Finding = "good"
    if soft < LOW_DESCRIPTORS:
        finding = "broken" if hard < MIN_DESCRIPTORS else "note"
    text = f"up to {soft} open files"
    if soft < hard:
        text += f" (a runner raises its limit to {hard})"
    return Check("descriptors", finding, text)


def check_path(environ: Mapping[str, str]) -> Check:
    path = environ.get("PATH", "")
    ours = Path(sys.executable).parent / "hapi"
    this = str(ours) if ours.exists() else f"{sys.executable} -m hapi"
    found = shutil.which("hapi", path=path)
    if shutil.which("git", path=path) is None:
        return Check("PATH", "note", "git was not found; sessions in worktrees will not work")
    if found is None:
        return Check("PATH", "note", f"hapi is not on the PATH; this program is {this}")
    if ours.exists() and not ours.samefile(found):
        text = f"the first hapi on the PATH is {found}, but this program is {this}"
        return Check("PATH", "note", text)
    return Check("PATH", "good", f"hapi is {found}")
