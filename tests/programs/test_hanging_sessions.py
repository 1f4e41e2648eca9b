"""Sessions that hang, and starts that overrun their time: at the hub, nothing is left of them that
has no process, and no process lives on without a row."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.support.paths import SUPPORT
from tests.support.peers import NPM, OURS, Cast, Refused, Running, User
from tests.support.programs import CANARY, alive, until

pytestmark = pytest.mark.program
both_hubs = pytest.mark.parametrize(
    "hub", [OURS, pytest.param(NPM, marks=pytest.mark.peer("hapi"))]
)


@pytest.fixture
def cast(on_stage: Callable[[Cast], Cast], tmp_path: Path) -> Cast:
    return on_stage(Cast(tmp_path / "stage", token=CANARY))


def tree_of(pid: int) -> list[int]:
    process = psutil.Process(pid)
    return [pid, *(child.pid for child in process.children(recursive=True))]


def hanging(cast: Cast, user: User, running: Running) -> tuple[str, list[int]]:
    """A session whose processes are all stopped, and their pids."""
    session = user.started(running.machine_id, cast.directory("project"), "demo")
    pids = tree_of(user.session(session)["metadata"]["hostPid"])
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    return session, pids


def test_archiving_a_stopped_session_ends_its_processes_and_says_who_did(cast: Cast) -> None:
    _, user = cast.hub(OURS)
    session, pids = hanging(cast, user, cast.runner(OURS, user))
    begun = time.monotonic()
    assert user.post(f"/api/sessions/{session}/archive") == {"ok": True, "endedBy": "runner"}
    assert time.monotonic() - begun < 10.0
    assert not [pid for pid in pids if alive(pid)]
    row = user.session(session)
    assert row["active"] is False
    assert row["metadata"]["lifecycleState"] == "archived"
    assert row["metadata"]["archiveReason"] in (
        "Stopped by runner",
        "Ended by the runner (the session did not respond)",
    )


def test_stop_session_ends_a_stopped_session(cast: Cast) -> None:
    _, user = cast.hub(OURS)
    running = cast.runner(OURS, user)
    session, pids = hanging(cast, user, running)
    assert running.control("/stop-session", {"sessionId": session}) == {"status": "stopped"}
    assert not [pid for pid in pids if alive(pid)]
    assert user.archived(session)["archiveReason"] == "Stopped by runner"


def test_a_stopped_session_without_a_runner_keeps_its_row_and_the_answer_says_what_to_do(
    cast: Cast,
) -> None:
    _, user = cast.hub(OURS)
    running = cast.runner(OURS, user)
    session, pids = hanging(cast, user, running)
    running.program.end(signal.SIGKILL)
    with pytest.raises(Refused) as refused:
        user.post(f"/api/sessions/{session}/archive")
    assert refused.value.status == 503
    assert f"end process {pids[0]} there" in refused.value.body["error"]
    assert user.session(session)["metadata"]["lifecycleState"] == "running"
    for pid in pids:
        os.kill(pid, signal.SIGCONT)
    assert user.post(f"/api/sessions/{session}/archive") == {"ok": True}
    until(lambda: not [pid for pid in pids if alive(pid)], what="the end of the session")


def unannounced(cast: Cast) -> dict[str, str]:
    """The settings of a runner whose sessions register at the hub and never reach the runner."""
    programs = cast.directory("bin")
    command = f'{sys.executable} {SUPPORT / "unannounced_session.py"} "$@"'
    for name, line in (("unannounced", command), ("opencode", "sleep 600")):
        (programs / name).write_text(f"#!/bin/sh\nexec {line}\n")
        (programs / name).chmod(0o755)
    return {
        "HAPI_CLI_EXECUTABLE": str(programs / "unannounced"),
        "PATH": f"{programs}:{cast.base['PATH']}",
    }


def spawn(running: Running, directory: Path) -> Any:
    """Ask the runner itself for a session; the body of its refusal."""
    with pytest.raises(Refused) as refused:
        running.control("/spawn-session", {"directory": str(directory), "agent": "opencode"})
    return refused.value.body


@both_hubs
def test_a_start_that_overran_its_time_leaves_no_row_at_the_hub(cast: Cast, hub: str) -> None:
    _, user = cast.hub(hub)
    settings = {**unannounced(cast), "HAPI_RUNNER_WEBHOOK_TIMEOUT_MS": "4000"}
    running = cast.runner(OURS, user, **settings)
    answer = spawn(running, cast.directory("project"))
    ended = time.monotonic()
    assert "webhook timeout" in answer["error"]
    until(lambda: not user.sessions(), 20.0, "the removal of the row")
    assert time.monotonic() - ended < 10.0
    until(
        lambda: "of a start that failed is removed from the hub" in log_of(running),
        what="the runner's account of it",  # written when the hub has answered
    )


def log_of(running: Running) -> str:
    """What the runner has said so far, on its terminal and in its log."""
    files = (running.home / "logs").glob("*runner*.log")
    return running.program.output + "".join(path.read_text() for path in files)


@both_hubs
def test_a_session_that_is_killed_while_it_starts_leaves_no_row_at_the_hub(
    cast: Cast, hub: str
) -> None:
    _, user = cast.hub(hub)
    running = cast.runner(OURS, user, **unannounced(cast))

    def kill_as_soon_as_there_is_a_row() -> None:
        row = until(lambda: next(iter(user.sessions()), None), 30.0, "the row")
        os.kill(user.session(row["id"])["metadata"]["hostPid"], signal.SIGKILL)

    killer = threading.Thread(target=kill_as_soon_as_there_is_a_row)
    killer.start()
    answer = spawn(running, cast.directory("project"))
    killer.join()
    assert "signal SIGKILL" in answer["error"]
    until(lambda: not user.sessions(), 20.0, "the removal of the row")
