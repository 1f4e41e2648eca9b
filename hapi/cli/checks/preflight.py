"""What `hapi doctor` finds out by trying: a child that is really started and ended, and the hub's clock beside ours."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import time
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from attrs import frozen

from hapi.home import Home

if TYPE_CHECKING:
    from hapi.process.systemd_scopes import ScopeManager

CHILD = (sys.executable, "-I", "-S", "-c", "import time; time.sleep(60)")
PATIENCE = 10.0  # seconds for the child, and for the hub's answer
SKEW = 30.0  # seconds between two clocks that are worth a word
JUMP = 2.0  # seconds by which the wall clock may leave the monotonic one while we look


@frozen
class Tried:
    """`text` for a person; `ok` False when a session would meet the same."""

    ok: bool
    text: str
    notable: bool = False  # it works, but not as asked


async def try_child(reactor: Any, home: Home, scopes: ScopeManager | None = None) -> Tried:
    """Start a disposable child below a holder, as a session is (its limits and `scopes` too), and end it. Leaves nothing."""
    from hapi.attempts import AttemptFolder
    from hapi.process import LaunchFailed, LaunchPlan, SystemProcesses
    from hapi.protocol.attempt import AttemptRequest

    processes = SystemProcesses(reactor, scopes)
    place = Path(tempfile.mkdtemp(prefix=".doctor-", dir=home.path))
    begun = time.monotonic()
    try:
        folder = AttemptFolder.create(
            Home(place), AttemptRequest(CHILD, str(place), time.time(), "doctor")
        )
        environment = (
            {} if scopes is None else dict(os.environ)
        )  # systemd-run finds its manager there
        plan = LaunchPlan(
            CHILD, str(place), environment, folder, None if scopes is None else scopes.limits
        )
        launched = await processes.launch(plan).addTimeout(PATIENCE, reactor)
        took = time.monotonic() - begun
        ending = await processes.end_tree(launched.child, folder.id).addTimeout(PATIENCE, reactor)
        if ending != "stopped":
            return Tried(
                False,
                f"a child was started and could not be ended ({ending}, pid {launched.child.pid})",
            )
        await processes.when_exited(launched.holder).addTimeout(PATIENCE, reactor)
        if folder.end is None:
            return Tried(
                False, "a child was started and ended, but its holder did not record the end"
            )
        where = (
            f" in a scope of {scopes.context.manager}"
            if scopes is not None and scopes.in_use
            else ""
        )
        text = f"started in {took * 1000:.0f} ms below a holder{where}, ended, and its end recorded"
        warned = scopes.warnings() if scopes is not None else []
        return Tried(True, "; ".join([text, *warned]), bool(warned))
    except LaunchFailed as error:
        return Tried(False, f"no child can be started: {error.reason}")
    except OSError as error:
        return Tried(False, f"no child can be started in {place}: {error.strerror or error}")
    finally:
        shutil.rmtree(place, ignore_errors=True)


async def hub_date(reactor: Any, url: str) -> tuple[float, float] | None:
    """What the hub's Date header says and what our clock said then (epoch seconds); None when it tells no time."""
    from twisted.web.client import Agent

    try:
        response: Any = await Agent(reactor, connectTimeout=PATIENCE).request(
            b"GET", f"{url}/health".encode()
        )
        now = time.time()
        said = (response.headers.getRawHeaders("date") or [""])[0]
        response._transport.loseConnection()  # the body is of no interest, and may be long
        return parsedate_to_datetime(said).timestamp(), now
    except Exception:  # the hub's own check says what is wrong with it
        return None


def judge_clock(dates: tuple[float, float] | None, wall: float, monotonic: float) -> Tried:
    """`wall` and `monotonic`: seconds that went by on each of our clocks while we looked."""
    if abs(wall - monotonic) > JUMP:
        return Tried(False, f"the clock was set by {wall - monotonic:+.1f} s while we looked")
    if dates is None:
        return Tried(True, "runs evenly; the hub tells no time to compare it with")
    skew = dates[1] - dates[0]  # the header knows whole seconds
    if abs(skew) > SKEW:
        return Tried(
            False,
            f"{abs(skew):.0f} s {'ahead of' if skew > 0 else 'behind'} the hub's: times shown will be wrong",
        )
    return Tried(True, f"runs evenly, within {max(abs(skew), 1):.0f} s of the hub's")
