"""A session that is killed: both makes of hub show that it ended, and why, long before its silence
would tell them."""

from __future__ import annotations

import os
import signal
import time

import pytest

from tests.support.peers import NPM, OURS
from tests.support.programs import level, until

MIXTURES = [(NPM, OURS), (OURS, OURS), (NPM, NPM)]
pytestmark = pytest.mark.peer("hapi", "opencode")


@pytest.mark.parametrize(("hub", "session"), MIXTURES[: level(1, 3)], ids=lambda make: make)
def test_a_killed_session_is_shown_as_ended_with_its_signal_and_can_go_on__R08(
    cast, model, hub, session
):
    _, user = cast.hub(hub)
    running = cast.runner(OURS, user, session)
    sid = user.started(running.machine_id, cast.directory("project"))
    user.say(sid, "number one")
    user.heard(sid, "You said: number one")
    user.idle(sid)
    os.kill(user.session(sid)["metadata"]["hostPid"], signal.SIGKILL)
    killed = time.monotonic()
    row = until(
        lambda: (row := user.session(sid)) and not row["active"] and row, 20.0, "the hub to know"
    )
    assert time.monotonic() - killed < 20.0  # silence alone takes 30 s
    assert row["metadata"]["lifecycleState"] == "archived"
    assert row["metadata"]["archivedBy"] == "runner"
    assert row["metadata"]["archiveReason"] == "Session crashed (SIGKILL)"

    sid = user.post(f"/api/sessions/{sid}/reopen")["sessionId"]
    user.say(sid, "number two")
    user.heard(sid, "You said: number two")
    metadata = user.session(sid)["metadata"]
    assert (metadata["lifecycleState"], metadata.get("archiveReason")) == ("running", None)
