"""Sessions under a real runner: limits, the journal, and coming back after everything was
killed."""

import contextlib
import json
import os
import signal

import pytest

from hapi.attempts import attempts
from tests.support.machine import Machine
from tests.support.programs import until

pytestmark = pytest.mark.program


@pytest.fixture
def machine(stage):
    return Machine(stage)


def events(machine):
    return [json.loads(line) for line in machine.home.events.read_text().splitlines()]


def test_what_was_killed_with_its_runner_comes_back_under_its_id__V06_P04(machine):
    runner = machine.start(HAPI_DSH_ACP_COMMAND="/bin/true")
    session, stopped = (
        machine.session("plain-1", agent="dsh"),
        machine.session("plain-2", agent="dsh"),
    )
    machine.stop(stopped)
    process = machine.attempt(session).process
    runner.end(signal.SIGKILL)
    for identity in (process.holder, process.child):  # no process is left that could report the end
        with contextlib.suppress(ProcessLookupError):
            os.kill(identity.pid, signal.SIGKILL)
    machine.start(HAPI_DSH_ACP_COMMAND="/bin/true")
    offered = until(lambda: machine.post("/interrupted")["sessions"])
    assert [one["sessionId"] for one in offered] == [session]
    assert machine.post("/revive", {"sessionId": session}) == {
        "success": True,
        "sessionId": session,
        "approvedNewDirectoryCreation": True,
    }
    assert set(machine.listed()) == {session}
    assert machine.post("/interrupted")["sessions"] == []
    assert machine.stop(session) == "stopped"


def test_a_limit_holds_and_its_refusal_is_in_the_journal__M01(machine):
    machine.start("twistd", "--max-sessions", "1")
    session = machine.session("plain-1")
    refused = machine.spawn("plain-2")
    assert (refused["success"], refused["code"]) == (False, "session_limit")
    assert machine.post("/drain")["accepting"] is False
    machine.stop(session)
    assert machine.spawn("plain-2")["code"] == "draining"
    assert machine.post("/resume")["accepting"] is True
    machine.stop(machine.session("plain-2"))
    assert len(attempts(machine.home)) == 2
    recorded = [event["event"] for event in events(machine)]
    for one in (
        "runner-started",
        "spawn",
        "announced",
        "spawn-refused",
        "drain",
        "stop-asked",
        "ended",
        "resume",
    ):
        assert one in recorded
    assert all("pid" in event for event in events(machine) if event["event"] == "ended")
