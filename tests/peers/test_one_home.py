"""One home, two makes: neither runner starts beside the other, and each command line steers the
other's runner."""

from __future__ import annotations

import json
import subprocess

import pytest

from tests.support.peers import NPM, NPM_BINARY, OUR_HAPI, OURS, Cast, Running
from tests.support.programs import until

pytestmark = pytest.mark.peer("hapi", "opencode")
COMMANDS = {OURS: OUR_HAPI, NPM: [NPM_BINARY]}


@pytest.fixture
def user(cast):
    return cast.hub(NPM)[1]


def command(cast: Cast, user, make: str, home, *words: str) -> subprocess.CompletedProcess[str]:
    environment = {**cast.base, **cast.settings(user, home, "")}
    return subprocess.run(
        [*COMMANDS[make], *words],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_ours_does_not_start_beside_a_living_npm_runner_and_names_it(cast, user):
    running = cast.runner(NPM, user)
    pid = running.state["pid"]
    tried = command(cast, user, OURS, running.home, "runner", "start-sync")
    assert tried.returncode == 3
    assert str(pid) in tried.stderr
    assert "Traceback" not in tried.stderr
    assert running.program.running
    assert running.state["pid"] == pid


def test_an_npm_runner_does_not_start_beside_ours(cast, user):
    running = cast.runner(OURS, user)
    tried = command(cast, user, NPM, running.home, "runner", "start-sync")
    assert tried.returncode == 0
    assert running.program.running
    assert running.state["pid"] == running.program.pid


def test_two_runners_with_one_machine_id_are_both_told_and_both_go_on__N19(cast, user):
    one = cast.runner(OURS, user)
    home = cast.home(OURS, "copied")
    (home / "settings.json").write_text((one.home / "settings.json").read_text())
    program = cast.start(
        "copied-runner", [*OUR_HAPI, "runner", "start-sync"], cast.settings(user, home, "")
    )
    two = Running(OURS, program, home)
    program.ready(lambda: two.state.get("pid") == program.pid)
    for mine, other in ((one, two), (two, one)):
        (warning,) = until(lambda mine=mine: mine.control("/status")["warnings"])
        assert f"process {other.state['pid']} is a runner with the same machine id" in warning
    assert one.program.running
    assert program.running


@pytest.mark.parametrize("session", [NPM, OURS])
def test_an_npm_session_of_a_terminal_reports_to_our_runner(cast, user, session):
    """`hapi opencode` of the npm make looks for a runner and must find ours good enough."""
    running = cast.runner(OURS, user)
    directory = cast.directory("project")
    argv = [*COMMANDS[session], "opencode", "--hapi-starting-mode", "remote"]
    program = cast.start("terminal", argv, cast.settings(user, running.home, ""), directory)
    children = program.ready(lambda: running.control("/list")["children"])
    assert children[0]["pid"] == program.pid
    assert "terminal" in children[0]["startedBy"]
    assert user.session(children[0]["happySessionId"])["metadata"]["startedBy"] == "terminal"
    assert running.program.running
    assert running.control("/stop-session", {"sessionId": children[0]["happySessionId"]}) == {
        "status": "stopped"
    }
    program.exit_code()
    until(lambda: not running.control("/list")["children"])


@pytest.mark.parametrize(("teller", "told"), [(NPM, OURS), (OURS, NPM)])
def test_each_command_line_lists_stops_sessions_and_stops_the_others_runner(
    cast, user, teller, told
):
    running = cast.runner(told, user)
    sid = user.started(running.machine_id, cast.directory("project"))
    listed = command(
        cast, user, teller, running.home, "runner", "list", *(["--json"] if teller == OURS else [])
    )
    assert sid in listed.stdout
    stopped = command(cast, user, teller, running.home, "runner", "stop-session", sid)
    assert stopped.returncode == 0, stopped
    until(lambda: not user.session(sid)["active"])
    assert running.control("/list") == {"children": []}
    assert command(cast, user, teller, running.home, "runner", "stop").returncode == 0
    assert running.program.exit_code(5) == 0
    assert running.state == {}
    settings = json.loads((running.home / "settings.json").read_text())
    assert settings["machineId"] == running.machine_id
