"""A session of our own whose hub goes away, comes back, or moves to another address."""

from __future__ import annotations

import json
import os
import signal
import sys

import psutil

from hapi.attempts import attempts
from hapi.home import Home
from hapi.spool import spooled_sessions
from tests.support.paths import SUPPORT
from tests.support.peers import OUR_HAPI, OURS, Cast, Running, User, quietly
from tests.support.programs import CANARY, free_port, until

CALLS = 200
EVERY_CALL = [f"call-{number}" for number in range(CALLS)]
FIRST_TOKEN = f"{CANARY}first"  # of a hub that gets the token CANARY when it moves


def use_burst_agent(cast: Cast) -> None:
    """Let `dsh` be the agent of tests/support/burst_agent.py."""
    agent = cast.path / "burst-agent"
    agent.write_text(f"#!/bin/sh\nexec {sys.executable} {SUPPORT / 'burst_agent.py'}\n")
    agent.chmod(0o755)
    cast.environment["HAPI_DSH_ACP_COMMAND"] = str(agent)


def end_hub(hub: Running) -> None:
    """Kill a hub; npm's is a small program and the one that it starts."""
    for process in psutil.Process(hub.program.pid).children(recursive=True):
        process.kill()
    hub.program.end(signal.SIGKILL)


class Absence:
    """A session of our own whose hub goes away while its agent makes `CALLS` tool calls."""

    def __init__(self, cast: Cast, make: str = OURS) -> None:
        self.cast, self.make = cast, make
        use_burst_agent(cast)
        self.hub, self.user = cast.hub(make)
        self.port = int(self.user.url.rsplit(":", 1)[1])
        self.runner = cast.runner(OURS, self.user)
        self.home = Home(cast.home(OURS, "runner"))
        self.directory = cast.directory("project")
        self.session_id = self.user.started(self.runner.machine_id, self.directory, "dsh")

    def begin(self):
        self.user.say(self.session_id, "first")
        self.user.heard(self.session_id, "You said first")
        self.user.say(self.session_id, str(CALLS))
        until((self.directory / "asked").exists)
        end_hub(self.hub)
        (self.directory / "go").touch()
        until((self.directory / "sent").exists)
        until(lambda: spooled_sessions(self.home) and self.spooled() >= CALLS)

    def spooled(self):
        return sum(path.read_bytes().count(b'"tool-call"') for path in spooled_sessions(self.home))

    @property
    def folder(self):
        return next(one for one in attempts(self.home) if one.session.session_id == self.session_id)

    @property
    def pid(self):
        return self.folder.process.child.pid

    def kill(self):
        os.kill(self.pid, signal.SIGKILL)

    def hub_again(self):
        self.hub, self.user = self.cast.hub(self.make, self.port)

    def calls(self):
        rows = self.user.get(f"/api/sessions/{self.session_id}/messages?limit=200")["messages"]
        page = rows
        while len(page) == 200:
            first = page[0]
            at = first["invokedAt"] or first["createdAt"]
            page = self.user.get(
                f"/api/sessions/{self.session_id}/messages?limit=200"
                f"&beforeSeq={first['seq']}&beforeAt={at}"
            )["messages"]
            rows = page + rows
        data = [row["content"]["content"].get("data", {}) for row in rows]
        return [one["callId"] for one in data if one.get("type") == "tool-call"]


class Move:
    """A runner that has hub and token from `settings.json`, with one session of our own."""

    def __init__(self, cast: Cast, make: str = OURS) -> None:
        self.cast, self.make = cast, make
        use_burst_agent(cast)
        cast.token = FIRST_TOKEN
        self.hub, self.user = cast.hub(make)
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
        end_hub(self.hub)
        self.cast.token = token
        self.hub, self.user = self.cast.hub(self.make, free_port())
        return self.user.url

    def session_answers(self, text):
        until(lambda: self.user.session(self.session_id)["active"], 60.0)
        self.user.say(self.session_id, text)
        self.user.heard(self.session_id, f"You said {text}", 60.0)

    def control(self, path):
        return User(f"http://127.0.0.1:{self.state()['httpPort']}", "").post(path)

    def status(self):
        return self.control("/status")
