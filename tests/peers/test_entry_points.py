"""The same runner through every door: `hapi runner start-sync`, `twistd hapi-runner`, and a program
of somebody else's."""

from __future__ import annotations

import json
import os
import sqlite3
import sys
from contextlib import closing
from urllib.parse import urlsplit

import psutil
import pytest

from tests.support.peers import NPM, NPM_BINARY, NPM_HAPI, OUR_HAPI, OURS, User
from tests.support.programs import ROOT, alive, until

TWISTD = [sys.executable, "-c", "from twisted.scripts.twistd import run; run()", "-n", "--pidfile="]
DOORS = {
    "start-sync": [*OUR_HAPI, "runner", "start-sync"],
    "twistd": [*TWISTD, "hapi-runner"],
}


@pytest.mark.peer("hapi", "opencode")
@pytest.mark.parametrize("door", DOORS)
def test_the_runner_is_the_same_through_each_door(cast, door):
    _, user = cast.hub(NPM)
    running = cast.runner(OURS, user, argv=DOORS[door])

    def shown():
        state = user.machine(running.machine_id)["runnerState"] or {}
        return state if state.get("pid") == running.program.pid else None

    state = until(shown)
    assert (state["status"], state["httpPort"]) == ("running", running.state["httpPort"])
    sid = user.started(running.machine_id, cast.directory("project"))
    assert [child["happySessionId"] for child in running.control("/list")["children"]] == [sid]
    running.program.end()
    assert running.state == {}
    assert user.machine(running.machine_id)["runnerState"]["status"] == "shutting-down"
    assert user.session(sid)["active"]


@pytest.mark.program
def test_the_embedding_example_runs_a_hub_and_a_runner_and_leaves_without_a_complaint(cast):
    home = cast.home(OURS, "embedded")
    argv = [sys.executable, str(ROOT / "docs/examples/embed.py")]
    program = cast.start(
        "embedded", argv, {"HAPI_HOME": str(home), **cast.environment}, output=".printed"
    )
    address = program.ready(
        lambda: next(
            (line for line in program.output.splitlines() if line.startswith("http")), None
        )
    )
    where = urlsplit(address)
    user = User(f"{where.scheme}://{where.netloc}", where.fragment.removeprefix("token=")).login()
    machine = until(
        lambda: next(iter(user.machines()), None), what="the embedded runner at the embedded hub"
    )
    sid = user.started(machine["id"], cast.directory("project"), "demo")
    user.say(sid, "run: echo done")
    user.approve(sid, user.asked(sid)[0])
    user.idle(sid)
    assert program.end() in (0, -15)
    assert program.output.split() == [address]  # nothing to complain about
    with closing(sqlite3.connect(home / "hub.db")) as database:
        (told,) = database.execute("SELECT runner_state FROM machines").fetchone()
    assert json.loads(told)["status"] == "shutting-down"


@pytest.mark.peer("hapi", "opencode")
def test_a_session_program_behind_a_wrapper_is_taken_for_the_child_it_is(cast):
    """npm's `hapi` is a Node.js program that starts the real one, so the pid that announces itself
    is a grandchild's."""
    _, user = cast.hub(NPM)
    running = cast.runner(OURS, user, HAPI_CLI_EXECUTABLE=NPM_HAPI)
    sid = user.started(running.machine_id, cast.directory("project"))
    announced = user.session(sid)["metadata"]["hostPid"]
    assert os.path.samefile(psutil.Process(announced).exe(), NPM_BINARY)
    assert [child["happySessionId"] for child in running.control("/list")["children"]] == [sid]
    assert running.control("/stop-session", {"sessionId": sid}) == {"status": "stopped"}
    assert not alive(announced)
    assert user.archived(sid)["archiveReason"] == "Hub restart"
