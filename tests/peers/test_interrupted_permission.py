"""Everything on a machine is killed while an agent waits for a permission: the revived session
says so, and the agent asks again."""

from __future__ import annotations

import contextlib

import psutil
import pytest

from tests.support.peers import NPM, OURS
from tests.support.programs import level, marked, until

PROMPTS = {  # and what the conversation has when the command has run
    "demo": ("run: echo so-$((20+1))", "ended with 0"),
    "opencode": ("Please run: touch asked && echo so-$((20+1))", "Output: so-21"),
    "claude": ("Please run: touch asked && echo so-$((20+1))", "Output: so-21"),
}
MIXTURES = [  # npm's hub starts no demo agent
    pytest.param(OURS, "claude", marks=pytest.mark.peer("claude")),
    pytest.param(NPM, "opencode", marks=pytest.mark.peer("hapi", "opencode")),
    pytest.param(OURS, "demo"),
    pytest.param(OURS, "opencode", marks=pytest.mark.peer("opencode")),
]


def kill_all_but(stage, survivor):
    """What a power cut does to the machine of the runner: no process of it is left."""
    spared = {survivor, *(child.pid for child in psutil.Process(survivor).children(True))}
    while doomed := [process for process in marked(stage.mark) if process.pid not in spared]:
        for process in doomed:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        psutil.wait_procs(doomed, 1.0)
        for program in stage.programs:
            program.process.poll()


@pytest.mark.parametrize(("hub", "agent"), MIXTURES[: level(2, 4)])
def test_a_permission_that_waited_is_told_and_asked_again_after_everything_was_killed(
    cast, hub, agent
):
    running, user = cast.hub(hub)
    machine = cast.runner(OURS, user)
    sid = user.started(machine.machine_id, cast.directory("project"), agent)
    prompt, done = PROMPTS[agent]
    user.say(sid, prompt)
    first, _ = user.asked(sid)
    kill_all_but(cast, running.program.pid)

    machine = cast.runner(OURS, user)
    machine.program.ready(lambda: machine.state.get("pid") == machine.program.pid)
    until(lambda: machine.control("/interrupted")["sessions"], what="the session to be on offer")
    assert machine.control("/revive", {"sessionId": sid})["success"]
    events = until(
        lambda: [text for text in event_texts(user, sid) if "before you answered" in text]
    )
    assert len(events) == 1
    assert "echo so-" in events[0], events
    closed = until(lambda: user.session(sid)["agentState"].get("completedRequests"))
    assert closed[first]["status"] == "canceled"
    results = [
        record
        for record in user.records(sid)
        if record["type"] == "tool-call-result" and record.get("callId") == first
    ]
    assert [result["is_error"] for result in results] == [True]

    second, _ = user.asked(sid)
    user.approve(sid, second)
    until(lambda: any(done in text for text in user.texts(sid)), what="the command to have run")
    user.idle(sid)
    assert sum("before you answered" in text for text in event_texts(user, sid)) == 1


def event_texts(user, sid):
    return [
        str(record["event"].get("message"))
        for record in user.records(sid)
        if isinstance(record.get("event"), dict)
    ]
