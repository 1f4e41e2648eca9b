"""Start a disposable process the way the runner starts a session, and end it again."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from attrs import frozen

from hapi.home import Home

if TYPE_CHECKING:
    from hapi.process.systemd_scopes import ScopeManager

CHILD_COMMAND = (sys.executable, "-I", "-S", "-c", "import time; time.sleep(60)")
STEP_TIMEOUT = 10.0  # seconds


@frozen
class TrialResult:
    """The result of a trial, and its `text` for a person; not `ok`: a session would fail too."""

    ok: bool
    text: str
    notable: bool = False  # it works, but not as configured


async def check_launch(reactor: Any, home: Home, scopes: ScopeManager | None = None) -> TrialResult:
    """Start a process below a holder, under the limits of a session, and end it. Leaves nothing."""
    from hapi.process import LaunchFailed

    directory = Path(tempfile.mkdtemp(prefix=".doctor-", dir=home.path))
    try:
        return await _launch(reactor, directory, scopes)
    except LaunchFailed as error:
        return TrialResult(False, f"no process can be started: {error.reason}")
    except OSError as error:
        reason = error.strerror or error
        return TrialResult(False, f"no process can be started in {directory}: {reason}")
    finally:
        shutil.rmtree(directory, ignore_errors=True)


async def _launch(reactor: Any, directory: Path, scopes: ScopeManager | None) -> TrialResult:
    from hapi.attempts import AttemptFolder
    from hapi.process import LaunchPlan
    from hapi.process.local import local_processes
    from hapi.protocol.attempt import AttemptRequest

    begun = time.monotonic()
    processes = local_processes(reactor, scopes)
    request = AttemptRequest(CHILD_COMMAND, str(directory), time.time(), "doctor")
    folder = AttemptFolder.create(Home(directory), request)
    environment = {} if scopes is None else dict(os.environ)  # systemd-run finds its manager there
    limits = None if scopes is None else scopes.limits
    plan = LaunchPlan(CHILD_COMMAND, str(directory), environment, folder, limits)
    launched = await processes.launch(plan).addTimeout(STEP_TIMEOUT, reactor)
    duration = time.monotonic() - begun
    ending = await processes.end_tree(launched.child, folder.id).addTimeout(STEP_TIMEOUT, reactor)
    if ending != "stopped":
        pid = launched.child.pid
        text = f"a process was started but could not be stopped ({ending}, pid {pid})"
        return TrialResult(False, text)
    await processes.when_exited(launched.holder).addTimeout(STEP_TIMEOUT, reactor)
    if folder.end is None:
        text = "a process was started and stopped, but its holder did not record its exit"
        return TrialResult(False, text)
    where = f" in a scope of {scopes.context.manager}" if scopes and scopes.in_use else ""
    text = (
        f"a session process starts{where} (in {duration * 1000:.0f} ms), stops, "
        "and its exit is recorded"
    )
    warnings = scopes.warnings() if scopes is not None else []
    return TrialResult(True, "; ".join([text, *warnings]), bool(warnings))
