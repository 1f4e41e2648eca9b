"""What `hapi auth` says of a runner that goes on with another login, and of a hub that is busy."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from hapi.cli.checks.hub_check import HubVerdict
from hapi.cli.runner.login import compared_login, uses
from hapi.runner.storage.state_file import RunnerState, hub_identity
from hapi.settings import HubAccess
from tests.support.peers import Refused, User
from tests.support.programs import CANARY, Stage, free_port

HAPI = [sys.executable, "-m", "hapi"]
OURS = HubAccess("http://hub:1", "token-token-token")


@pytest.mark.parametrize(
    ("access", "same"),
    [
        (OURS, True),
        (HubAccess("http://hub:2", OURS.token), False),
        (HubAccess(OURS.url, "another-token"), False),
        (HubAccess(OURS.url, OURS.token, {"X-Gate": "key"}), False),
    ],
)
def test_the_state_file_tells_which_login_a_runner_uses(access, same):
    state = RunnerState(pid=5, http_port=7, **hub_identity(OURS, "m"))
    assert uses(state, access) is same


@pytest.mark.parametrize(
    ("status", "hint", "can_restart"),
    [
        ({"handoff": {"mode": "self"}}, "`hapi runner restart` makes it use these", True),
        ({"handoff": {"mode": "notify"}}, "`kill -HUP 5` or `hapi runner restart` makes", True),
        ({"handoff": {"mode": "restart"}}, "`kill -HUP 5` or `hapi runner restart` makes", True),
        ({"handoff": {"mode": "none"}}, "restart it where it was started", False),
        ({"argv": ["up"]}, "restart `hapi up`, which it is part of", False),
        ({}, "`hapi runner restart` makes it use these", True),  # npm's runner
    ],
)
def test_the_hint_fits_whoever_started_the_runner(status, hint, can_restart):
    login = compared_login({"pid": 5, **status}, is_current=False)
    assert login.hint.startswith(hint)
    assert login.can_restart is can_restart


def test_a_busy_hub_is_said_to_answer():
    said = HubVerdict("busy", "Too many wrong access tokens (HTTP 429)").problem("the hub")
    assert said == (
        "the hub answers, but does not take this login at the moment: "
        "Too many wrong access tokens (HTTP 429)"
    )


# --- real programs --------------------------------------------------------------------------------


@pytest.fixture
def stage(tmp_path):
    made = Stage(tmp_path)
    made.base["HAPI_HOME"] = str(tmp_path / "home")
    yield made
    made.end()


@pytest.fixture
def hub_url(stage, canary):
    port = free_port()
    environment = {"HAPI_HOME": str(stage.path / "hubhome"), "CLI_API_TOKEN": canary}
    words = [*HAPI, "hub", "--port", str(port)]
    program = stage.start("hub", words, environment, output=".printed")
    program.ready(lambda: "Page:" in program.output)
    return f"http://127.0.0.1:{port}"


def command(stage, *words, stdin=""):
    return subprocess.run(
        [*HAPI, *words],
        env=stage.base,
        cwd=stage.path,
        input=stdin,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def runner_of(stage):
    found = json.loads(command(stage, "auth", "status", "--json").stdout)
    return found["runner"]


@pytest.mark.program
def test_login_tells_of_the_runner_that_goes_on_with_the_old_token_and_restarts_it(
    stage, hub_url, canary
):
    first = command(stage, "auth", "login", "--url", hub_url, stdin=f"{canary}\n")
    assert (first.returncode, first.stderr) == (0, "")
    assert command(stage, "runner", "start").returncode == 0
    pid = runner_of(stage)["pid"]
    try:
        assert runner_of(stage) == {"pid": pid, "usesThisLogin": True}
        again = command(stage, "auth", "login", stdin=f"{canary}\n")
        assert (again.returncode, again.stderr) == (0, "")
        other = command(stage, "auth", "login", stdin=f"{canary}:team\n")
        assert other.returncode == 0
        assert other.stderr == (
            f"hapi: the runner (pid {pid}) still uses another hub or token: `hapi runner restart` "
            "makes it use these; its sessions keep running\n"
        )
        assert runner_of(stage) == {"pid": pid, "usesThisLogin": False}
        done = command(stage, "auth", "login", "--restart-runner", stdin=f"{canary}:team\n")
        assert (done.returncode, done.stderr) == (0, "")
        assert "Runner restarted (pid " in done.stdout
        now = runner_of(stage)
        assert (now["usesThisLogin"], now["pid"] != pid) == (True, True)
    finally:
        assert command(stage, "runner", "stop").returncode == 0


@pytest.mark.program
def test_login_says_that_the_hub_limits_wrong_tokens(stage, hub_url):
    for number in range(30):
        try:
            User(hub_url, f"wrong{number:020}").login()
        except Refused as error:
            if error.status == 429:
                break
    done = command(stage, "auth", "login", "--url", hub_url, stdin="wrong-token-of-mine\n")
    assert done.returncode == 7
    assert f"the hub at {hub_url} refused this token: Too many" in done.stderr
    assert "Too many wrong access tokens: try again in " in done.stderr
    right = command(stage, "auth", "login", "--url", hub_url, stdin=f"{CANARY}\n")
    assert (right.returncode, right.stderr) == (0, "")
