"""A hub that goes away and comes back during a session: nothing is lost, nothing is doubled."""

from __future__ import annotations

import json
import signal
from collections import Counter

import pytest

from tests.support.peers import NPM, OURS
from tests.support.programs import level, until

pytestmark = pytest.mark.peer("hapi", "opencode")
SIGNALS = (signal.SIGKILL, signal.SIGTERM)


@pytest.mark.parametrize("how", SIGNALS[: level(1, 2)], ids=lambda how: how.name)
@pytest.mark.parametrize(
    ("hub", "runner", "session"),
    [(OURS, OURS, OURS), (NPM, OURS, OURS), (OURS, NPM, NPM)],
    ids=lambda make: make,
)
def test_a_hub_restart_in_the_middle_of_a_turn_loses_and_doubles_nothing(
    cast, model, hub, runner, session, how
):
    running_hub, user = cast.hub(hub)
    port = int(user.url.rsplit(":", 1)[1])
    running = cast.runner(runner, user, session)
    sid = user.started(running.machine_id, cast.directory("project"))
    user.say(sid, "number one")
    user.heard(sid, "You said: number one")
    user.idle(sid)
    pid = user.session(sid)["metadata"]["hostPid"]

    user.say(sid, "hold on")
    assert model.holding.wait(60)
    user.say(sid, "number two")  # waits in the queue
    running_hub.program.end(how)
    model.release()  # the answer comes while there is no hub
    _, user = cast.hub(hub, port)

    until(lambda: user.session(sid)["active"], 60.0, "the session to come back")
    user.heard(sid, "You said: number two", 60.0)
    user.say(sid, "number three")
    user.heard(sid, "You said: number three", 60.0)
    user.idle(sid)

    assert user.session(sid)["metadata"]["hostPid"] == pid
    said = [record["message"] for record in user.records(sid) if record["type"] == "user"]
    assert said == ["number one", "hold on", "number two", "number three"]
    answers = Counter(
        "".join(user.texts(sid)[n : n + 2]) if text == "Holding " else text
        for n, text in enumerate(user.texts(sid))
    )
    for text in (
        "You said: number one",
        "Holding and released.",
        "You said: number two",
        "You said: number three",
    ):
        assert answers[text] == 1, answers
    assert all(
        message["invokedAt"]
        for message in user.messages(sid)
        if message["content"]["role"] == "user"
    )
    prompts = Counter(
        json.dumps(request["messages"][-1]) for request in model.requests if request.get("tools")
    )
    assert max(prompts.values()) == 1, prompts

    machine = until(lambda: user.machine(running.machine_id), 60.0, "the runner to come back")
    assert until(lambda: user.machine(machine["id"])["runnerState"]["status"]) == "running"
    user.post(f"/api/sessions/{sid}/archive")
    user.archived(sid)
