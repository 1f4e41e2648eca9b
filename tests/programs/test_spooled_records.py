"""Records of a session whose hub is away reach it later, whatever becomes of the session."""

import os
import signal
import sys

import pytest

from hapi.attempts import attempts
from hapi.home import Home
from hapi.spool import spooled_sessions
from tests.support.paths import SUPPORT
from tests.support.peers import OURS, Cast
from tests.support.programs import CANARY, until

pytestmark = pytest.mark.program
CALLS = 200


class Absence:
    """A session of our own whose hub goes away while its agent makes `CALLS` tool calls."""

    def __init__(self, cast):
        self.cast = cast
        agent = cast.path / "burst-agent"
        agent.write_text(f"#!/bin/sh\nexec {sys.executable} {SUPPORT / 'burst_agent.py'}\n")
        agent.chmod(0o755)
        cast.environment["HAPI_DSH_ACP_COMMAND"] = str(agent)
        self.hub, self.user = cast.hub(OURS)
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
        self.hub.program.end(signal.SIGKILL)
        (self.directory / "go").touch()
        until((self.directory / "sent").exists)
        until(lambda: spooled_sessions(self.home) and self.spooled() >= CALLS)

    def spooled(self):
        return sum(path.read_bytes().count(b'"tool-call"') for path in spooled_sessions(self.home))

    @property
    def pid(self):
        folder = next(
            one for one in attempts(self.home) if one.session.session_id == self.session_id
        )
        return folder.process.child.pid

    def kill(self):
        os.kill(self.pid, signal.SIGKILL)

    def hub_again(self):
        self.hub, self.user = self.cast.hub(OURS, self.port)

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


@pytest.fixture
def absence(on_stage, tmp_path):
    return Absence(on_stage(Cast(tmp_path / "stage", token=CANARY)))


EVERY_CALL = [f"call-{number}" for number in range(CALLS)]


def test_records_of_a_session_that_was_killed_while_the_hub_was_away_arrive_once(absence):
    absence.begin()
    absence.kill()
    absence.hub_again()
    until(lambda: len(absence.calls()) >= CALLS)
    until(lambda: not spooled_sessions(absence.home))
    metadata = absence.user.archived(absence.session_id)
    assert absence.calls() == EVERY_CALL
    assert metadata["archiveReason"] == "Session crashed (SIGKILL)"


def test_records_of_a_session_that_lives_on_arrive_once_and_leave_no_file(absence):
    absence.begin()
    absence.hub_again()
    until(lambda: len(absence.calls()) >= CALLS)
    until(lambda: not spooled_sessions(absence.home))
    (absence.directory / "end").touch()
    absence.user.say(absence.session_id, "last")
    absence.user.heard(absence.session_id, "You said last")
    assert absence.calls() == EVERY_CALL
    assert not spooled_sessions(absence.home)


def test_records_of_a_session_that_was_killed_with_its_runner_arrive_when_it_is_resumed(absence):
    absence.begin()
    absence.runner.program.end(signal.SIGKILL)
    absence.kill()
    absence.hub_again()
    environment = absence.cast.settings(absence.user, absence.home.path, "")
    resumed = absence.cast.start(
        "resumed",
        [
            *(sys.executable, "-m", "hapi", "dsh", "--started-by", "runner"),
            *("--hapi-starting-mode", "remote"),
            *("--existing-session-id", absence.session_id),
        ],
        environment,
        absence.directory,
    )
    resumed.ready(lambda: len(absence.calls()) >= CALLS)
    resumed.ready(lambda: not spooled_sessions(absence.home))
    absence.user.say(absence.session_id, "again")
    absence.user.heard(absence.session_id, "You said again")
    assert absence.calls() == EVERY_CALL


def test_records_of_a_session_that_was_stopped_while_the_hub_was_away_arrive_once(absence):
    absence.begin()
    absence.runner.control("/stop-session", {"sessionId": absence.session_id})
    absence.hub_again()
    until(lambda: len(absence.calls()) >= CALLS)
    until(lambda: not spooled_sessions(absence.home))
    assert absence.user.archived(absence.session_id)["archiveReason"]
    assert absence.calls() == EVERY_CALL
