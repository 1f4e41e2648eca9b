"""The hub moves to another address and gets another token while a session runs."""

import json
import os
import signal
import stat
import sys

import pytest

from hapi.attempts import attempts
from hapi.home import Home
from tests.support.paths import SUPPORT
from tests.support.peers import OUR_HAPI, OURS, Cast, User, quietly
from tests.support.programs import CANARY, free_port, until

pytestmark = pytest.mark.program
FIRST_TOKEN = f"{CANARY}first"


class Move:
    """A runner that has hub and token from `settings.json`, with one session of our own."""

    def __init__(self, cast):
        self.cast = cast
        agent = cast.path / "burst-agent"
        agent.write_text(f"#!/bin/sh\nexec {sys.executable} {SUPPORT / 'burst_agent.py'}\n")
        agent.chmod(0o755)
        cast.environment["HAPI_DSH_ACP_COMMAND"] = str(agent)
        cast.token = FIRST_TOKEN
        self.hub, self.user = cast.hub(OURS)
        self.home = Home(cast.home(OURS, "runner"))
        self.configure(self.user.url, FIRST_TOKEN)
        self.runner = self.start_runner()
        until(lambda: quietly(lambda: self.user.machine(self.machine_id)))
        self.session_id = self.user.started(self.machine_id, cast.directory("project"), "dsh")
        self.user.say(self.session_id, "one")
        self.user.heard(self.session_id, "You said one")

    @property
    def machine_id(self):
        return json.loads(self.home.settings.read_text())["machineId"]

    @property
    def folder(self):
        return next(one for one in attempts(self.home) if one.session is not None)

    def configure(self, url, token):
        known = json.loads(self.home.settings.read_text()) if self.home.settings.exists() else {}
        self.home.settings.write_text(json.dumps({**known, "apiUrl": url, "cliApiToken": token}))
        self.home.settings.chmod(0o600)

    def start_runner(self):
        environment = {"HAPI_HOME": str(self.home.path), **self.cast.environment}
        program = self.cast.start("runner", [*OUR_HAPI, "runner", "start-sync"], environment)
        program.ready(lambda: (state := quietly(self.state)) and state["pid"] == program.pid)
        return program

    def state(self):
        return json.loads(self.home.runner_state.read_text())

    def move_hub(self, token=CANARY):
        self.hub.program.end(signal.SIGTERM)
        self.cast.token = token
        self.hub, self.user = self.cast.hub(OURS, free_port())
        return self.user.url

    def session_answers(self, text):
        until(lambda: self.user.session(self.session_id)["active"], 60.0)
        self.user.say(self.session_id, text)
        self.user.heard(self.session_id, f"You said {text}", 60.0)

    def control(self, path):
        return User(f"http://127.0.0.1:{self.state()['httpPort']}", "").post(path)

    def status(self):
        return self.control("/status")


@pytest.fixture
def move(on_stage, tmp_path):
    return Move(on_stage(Cast(tmp_path / "stage", token=CANARY)))


def test_a_live_session_follows_a_runner_that_was_restarted_with_the_new_hub(move):
    url = move.move_hub()
    move.configure(url, CANARY)
    move.runner.end(signal.SIGTERM)
    move.runner = move.start_runner()
    move.session_answers("two")
    until(lambda: move.folder.report.hub.url == url)
    until(lambda: not move.folder.hub_path.exists())
    assert move.status()["warnings"] == []


def test_a_live_session_follows_a_runner_that_reads_its_settings_again(move):
    url = move.move_hub()
    move.configure(url, CANARY)
    os.kill(move.runner.pid, signal.SIGHUP)
    move.session_answers("two")


def test_a_live_session_follows_a_new_token_at_the_same_address(move):
    port = int(move.user.url.rpartition(":")[2])
    move.hub.program.end(signal.SIGTERM)
    move.cast.token = CANARY
    move.hub, move.user = move.cast.hub(OURS, port)
    until(lambda: move.folder.report.hub.phase == "refused", 60.0)
    (warning,) = until(lambda: move.status()["warnings"], 60.0)
    assert "the hub refused us: Invalid token" in warning
    assert "hapi auth login" in warning
    (listed,) = move.control("/list")["children"]
    assert "Invalid token" in listed["activity"]["hub"]
    move.configure(move.user.url, CANARY)
    os.kill(move.runner.pid, signal.SIGHUP)
    move.session_answers("two")


def test_a_live_session_without_a_runner_follows_the_settings(move):
    url = move.move_hub()
    move.runner.end(signal.SIGTERM)
    move.configure(url, CANARY)
    move.session_answers("two")


def test_the_file_with_the_token_is_private_and_goes_with_the_session(move):
    move.hub.program.end(signal.SIGTERM)
    elsewhere, move.cast.token = free_port(), CANARY
    os.kill(move.folder.process.child.pid, signal.SIGSTOP)
    move.hub, move.user = move.cast.hub(OURS, elsewhere)
    move.configure(move.user.url, CANARY)
    os.kill(move.runner.pid, signal.SIGHUP)
    until(move.folder.hub_path.exists, 60.0)
    assert stat.S_IMODE(move.folder.hub_path.stat().st_mode) == 0o600
    assert move.folder.hub.token == CANARY
    os.kill(move.folder.process.child.pid, signal.SIGKILL)
    until(lambda: not move.folder.hub_path.exists(), 60.0)
