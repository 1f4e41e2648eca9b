"""From npm's runner to ours and back on one home: the later starter's runner serves, the earlier
one left in order (H15)."""

from __future__ import annotations

import subprocess

import pytest

from tests.support.peers import NPM, NPM_BINARY, OUR_HAPI, OURS, Cast
from tests.support.programs import alive, until

pytestmark = pytest.mark.peer("hapi", "opencode")


@pytest.fixture
def user(cast):
    return cast.hub(OURS)[1]


def start(cast: Cast, user, make: str, home) -> subprocess.CompletedProcess[str]:
    environment = {**cast.base, **cast.settings(user, home, "")}
    argv = [*(OUR_HAPI if make == OURS else [NPM_BINARY]), "runner", "start"]
    return subprocess.run(
        argv, env=environment, capture_output=True, text=True, timeout=180, check=False
    )


def test_ours_takes_a_home_over_from_npms_runner__H15(cast, user):
    before = cast.runner(NPM, user)
    pid = before.state["pid"]
    started = start(cast, user, OURS, before.home)
    assert started.returncode == 0, started
    assert f"Replacing the running runner (pid {pid}, version npm" in started.stdout
    until(lambda: not alive(pid))
    after = before.state["pid"]
    assert after != pid
    assert before.state["version"]
    assert (before.home / "runner.state.json.lock").read_text() == str(after)
    status = before.control("/status")
    assert (status["pid"], status["registered"], status["machineId"]) == (
        after,
        True,
        before.machine_id,
    )
    again = start(cast, user, OURS, before.home)
    assert again.returncode == 0
    assert "already running" in again.stdout


def test_npms_start_takes_a_home_over_from_ours_and_back_again__H15(cast, user):
    running = cast.runner(OURS, user)
    started = start(cast, user, NPM, running.home)
    assert started.returncode == 0, started
    assert running.program.exit_code() == 0  # it was asked, and left in order
    pid = until(lambda: running.state.get("pid"))
    assert pid != running.program.pid
    assert "version" not in running.state  # npm's own file
    back = start(cast, user, OURS, running.home)
    assert back.returncode == 0, back
    assert not alive(pid)
    assert running.control("/status")["pid"] == running.state["pid"]
