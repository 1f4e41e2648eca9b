"""The whole loop with every mixture of our programs and npm's: spawn, chat, permission, rename,
abort, archive, stop."""

from __future__ import annotations

import pytest

from tests.support.peers import NPM, OURS, Events, Refused, Running, User
from tests.support.programs import alive, level, until

pytestmark = pytest.mark.peer("hapi", "opencode")
MIXTURES = [  # at every change the first four: each two programs meet in both makes
    (NPM, OURS, OURS),
    (OURS, NPM, OURS),
    (OURS, OURS, NPM),
    (NPM, NPM, NPM),
    (OURS, OURS, OURS),
    (OURS, NPM, NPM),
    (NPM, OURS, NPM),
    (NPM, NPM, OURS),
]


@pytest.mark.parametrize(
    ("hub", "runner", "session"), MIXTURES[: level(4, 8)], ids=lambda make: make
)
def test_the_whole_loop_on_opencode(cast, model, hub, runner, session):
    _, user = cast.hub(hub)
    running = cast.runner(runner, user, session)
    machine = user.machine(running.machine_id)
    assert {"agent-availability", "cursor-chat-store-status", "stop-runner"} <= set(
        machine["metadata"]["capabilities"]
    )
    assert (
        until(lambda: (user.machine(machine["id"])["runnerState"] or {}).get("status")) == "running"
    )

    available = {
        row["agent"]: row["available"]
        for row in user.get(f"/api/machines/{machine['id']}/agent-availability")["agents"]
    }
    assert available["opencode"]

    events = Events(user)
    directory = cast.directory("project")
    sid = user.started(machine["id"], directory)
    metadata = user.session(sid)["metadata"]
    assert metadata["flavor"] == "opencode"
    assert metadata["path"] == str(directory)
    assert metadata["machineId"] == machine["id"]
    assert metadata["startedBy"] == "runner"

    chat_with_permission(user, events, sid)
    rename(user, sid)
    abort(user, model, sid)
    archive(user, events, sid)
    stop(user, running, machine["id"], directory, f"{runner}-{session}")
    leave(user, running)
    events.close()


def chat_with_permission(user: User, events: Events, sid: str) -> None:
    local = user.say(sid, "Please run: touch made && echo so-$((20+1))")
    request_id, request = user.asked(sid)
    assert "echo so-" in str(request["arguments"]) + request["tool"]
    assert True in events.patches(sid, "thinking")
    user.approve(sid, request_id)
    until(
        lambda: any("Output: so-21" in text for text in user.texts(sid)),
        what="the answer after the tool call",
    )

    assert not user.requests(sid)
    assert user.session(sid)["agentState"]["completedRequests"][request_id]["status"] == "approved"
    records = user.records(sid)
    calls = {record["callId"] for record in records if record["type"] == "tool-call"}
    results = [record for record in records if record["type"] == "tool-call-result"]
    assert [record["callId"] in calls for record in results] == [True]
    assert "so-21" in str(results[0]["output"])
    assert any(
        record["type"] == "reasoning" and "A tool is wanted" in record["message"]
        for record in records
    )
    said = next(message for message in user.messages(sid) if message["localId"] == local)
    assert said["invokedAt"] is not None
    user.idle(sid)
    assert user.session(sid)["metadata"]["opencodeSessionId"]


def rename(user: User, sid: str) -> None:
    user.call("PATCH", f"/api/sessions/{sid}", {"name": "A name of my own"})
    user.say(sid, "Anything")
    until(lambda: any("You said: Anything" in text for text in user.texts(sid)), what="the answer")
    user.idle(sid)
    assert user.session(sid)["metadata"]["name"] == "A name of my own"


def abort(user: User, model, sid: str) -> None:
    user.say(sid, "hold it there")
    assert model.holding.wait(60)
    user.post(f"/api/sessions/{sid}/abort")
    user.idle(sid)
    model.release()
    assert user.session(sid)["active"]
    user.say(sid, "Still there?")
    until(
        lambda: any("You said: Still there?" in text for text in user.texts(sid)),
        what="an answer after the abort",
    )
    user.idle(sid)
    model.hold_again()


def archive(user: User, events: Events, sid: str) -> None:
    pid = user.session(sid)["metadata"]["hostPid"]
    assert user.post(f"/api/sessions/{sid}/archive") == {"ok": True}
    archived = user.archived(sid)
    assert (archived["archivedBy"], archived["archiveReason"]) == ("cli", "User terminated")
    assert archived["name"] == "A name of my own"
    until(lambda: not alive(pid), what="the end of the session process")
    assert events.of("session-ended")
    with pytest.raises(Refused) as refused:
        user.say(sid, "too late")
    assert refused.value.status == 409


def stop(user: User, running: Running, machine_id: str, directory, kind: str) -> None:
    """A session stopped at the runner itself."""
    sid = user.started(machine_id, directory)
    pid = user.session(sid)["metadata"]["hostPid"]
    assert [child["happySessionId"] for child in running.control("/list")["children"]] == [sid]
    assert running.control("/stop-session", {"sessionId": sid}) == {"status": "stopped"}
    assert not alive(pid)
    metadata = user.archived(sid)
    assert metadata["archiveReason"] == (
        "Stopped by runner" if kind == f"{OURS}-{OURS}" else "Hub restart"
    )
    assert not user.session(sid)["active"]
    assert running.control("/stop-session", {"sessionId": sid}) == {"status": "already_gone"}


def leave(user: User, running: Running) -> None:
    assert running.control("/stop") == {"status": "stopping"}
    assert running.program.exit_code() == 0
    assert running.state == {}
    machine = user.machine(running.machine_id)
    assert machine["runnerState"]["status"] == "shutting-down"
    assert machine["runnerState"]["shutdownSource"] == "hapi-cli"
