"""Which supervisor restarts this runner, and what that means for a new build.

Only one party may restart a runner. A supervised runner does not replace itself: the supervisor
would see its child exit and start another beside the replacement. It exits with code 75 ("restart
me") once no session is live, or, under systemd with Type=notify, hands over and reports the new
main process.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Literal

from attrs import frozen

from hapi.runner.supervision.sd_notify import NotifySocket

Mode = Literal["self", "notify", "restart", "none"]

INITS = frozenset(
    ("tini", "docker-init", "dumb-init", "catatonit", "s6-svscan", "runsvdir", "podman-init")
)


@frozen
class Supervision:
    """What a new build leads to, in `mode`, and who restarts this runner, in `by`.

    `self`: a hand-off; `notify`: a hand-off that is reported to systemd; `restart`: exit code 75;
    `none`: nothing. `by` is None when no supervisor restarts it.
    """

    mode: Mode = "self"
    by: str | None = None
    # Whether a command may replace this runner by one in the background, beside whatever `by` is.
    is_replaceable: bool = True


def name_of(pid: int) -> str:
    """The kernel's name of a process, "" if it is not readable."""
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""


def in_foreground(descriptor: int = 0) -> bool:
    """Whether this process is in the foreground of the terminal on `descriptor`."""
    try:
        return os.isatty(descriptor) and os.tcgetpgrp(descriptor) == os.getpgrp()
    except OSError:
        return False


def _name_of_supervisor(environ: Mapping[str, str]) -> str:
    """The supervisor that set HAPI_RUNNER_SUPERVISED=1, as far as its other variables tell it."""
    if environ.get("SUPERVISOR_ENABLED"):
        return "supervisord"
    return "systemd" if environ.get("INVOCATION_ID") else "a supervisor (HAPI_RUNNER_SUPERVISED=1)"


def supervision(
    environ: Mapping[str, str],
    *,
    detached: bool = False,
    terminal: bool = False,
    pid: int | None = None,
    parent: int | None = None,
    name: Callable[[int], str] = name_of,
    platform: str = sys.platform,
) -> Supervision:
    """Who supervises the process `pid` with that parent and environment.

    `detached`: `hapi runner start` created it, so that the environment describes the supervisor of
    that command. `terminal`: it runs in the foreground of a terminal, whose shell waits for it.
    """
    pid, parent = pid or os.getpid(), parent if parent is not None else os.getppid()
    if environ.get("HAPI_RUNNER_SUPERVISED") == "1":
        return Supervision(
            "notify" if environ.get("NOTIFY_SOCKET") else "restart",
            _name_of_supervisor(environ),
            is_replaceable=False,
        )
    if pid == 1:
        by = "its container, whose first process it is"
        return Supervision("none", by, is_replaceable=False)
    if detached:
        return Supervision()
    if environ.get("NOTIFY_SOCKET"):
        return Supervision("notify", "systemd (Type=notify)", is_replaceable=False)
    if environ.get("INVOCATION_ID"):
        main = environ.get(
            "SYSTEMD_EXEC_PID"
        )  # since 248; inherited by all that the unit's process starts
        if main is None or main in (str(pid), str(parent)):
            return Supervision("restart", "systemd", is_replaceable=False)
    if environ.get("SUPERVISOR_ENABLED"):
        return Supervision("restart", "supervisord", is_replaceable=False)
    if platform == "darwin" and parent == 1 and environ.get("XPC_SERVICE_NAME", "0") != "0":
        return Supervision("restart", "launchd", is_replaceable=False)
    if parent == 1 and name(1) in INITS:
        by = f"its container, whose first process {name(1)} ends with it"
        return Supervision("none", by, is_replaceable=False)
    if terminal:
        return Supervision("none", "the terminal in whose foreground it runs")
    return Supervision()


def notify(environ: Mapping[str, str], text: str) -> bool:
    """Send one assignment, such as `MAINPID=4711`, to systemd; False when that failed."""
    to = NotifySocket.named_by(environ)
    if to is None:
        return False
    try:
        return to.send(text)
    finally:
        to.close()
