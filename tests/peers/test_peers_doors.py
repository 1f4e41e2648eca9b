"""The same runner through every door: `hapi runner start-sync`, `twistd hapi-runner`, and a program of somebody else's."""

from __future__ import annotations

import sys

import pytest
from programs import NPM, OUR_HAPI, OURS
from support import ROOT, until

pytestmark = pytest.mark.peer("hapi")
TWISTD = [sys.executable, "-c", "from twisted.scripts.twistd import run; run()", "-n", "--pidfile="]
DOORS = {
    "start-sync": [*OUR_HAPI, "runner", "start-sync"],
    "twistd": [*TWISTD, "hapi-runner"],
}


@pytest.mark.parametrize("door", DOORS)
def test_the_runner_is_the_same_through_each_door(cast, door):
    _, user = cast.hub(NPM)
    running = cast.runner(OURS, user, argv=DOORS[door])
    machine = until(lambda: (seen := user.machine(running.machine_id))["runnerState"].get("pid") == running.program.pid and seen)
    assert machine["runnerState"]["status"] == "running"
    assert machine["runnerState"]["httpPort"] == running.state["httpPort"]

    spawned = user.spawn(running.machine_id, cast.directory("project"), "opencode")
    assert spawned["type"] == "success", spawned
    assert [child["happySessionId"] for child in running.control("/list")["children"]] == [spawned["sessionId"]]
    running.program.end()
    assert running.state == {}
    assert user.machine(running.machine_id)["runnerState"]["status"] == "shutting-down"


def test_an_embedding_program_runs_hub_and_runner(cast):
    example = ROOT / "docs/examples/embed.py"
    home = cast.home(OURS, "embedded")
    program = cast.start(
        "embedded", [sys.executable, str(example)], {"HAPI_HOME": str(home), **cast.environment}, output=".printed"
    )
    until((home / "runner.state.json").exists, what=program.output)
    assert program.running
    program.end()
