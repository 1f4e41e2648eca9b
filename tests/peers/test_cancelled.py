"""An archive while a session is coming back: whoever is on its way is ended, and the session stays
archived."""

from __future__ import annotations

import contextlib
import threading
import time

import pytest

from tests.support.peers import OURS, Refused
from tests.support.programs import alive, level, until

pytestmark = pytest.mark.peer("hapi", "opencode")
MOMENTS = [0.0, 0.4, 0.15, 0.8, 1.5]  # seconds after the reopen has begun


@pytest.mark.parametrize("make", [OURS])
def test_an_archive_during_a_reopen_has_the_last_word__C17(cast, model, make):
    _, user = cast.hub(make)
    running = cast.runner(OURS, user, OURS)
    sid = user.started(running.machine_id, cast.directory("project"))
    user.say(sid, "number one")
    user.heard(sid, "You said: number one")
    user.idle(sid)
    user.post(f"/api/sessions/{sid}/archive")
    user.archived(sid)
    until(lambda: not running.control("/list")["children"], what="the first process to go")
    for moment in MOMENTS[: level(2, len(MOMENTS))]:
        reopening = threading.Thread(target=quietly, args=(user, f"/api/sessions/{sid}/reopen"))
        reopening.start()
        until(
            lambda: user.session(sid)["metadata"].get("lifecycleState") != "archived",
            what="the reopen to begin",
        )
        time.sleep(moment)  # how far the start gets is what differs
        user.post(f"/api/sessions/{sid}/archive")
        reopening.join(60)
        until(lambda: not running.control("/list")["children"], what="its process to go")
        pid = user.session(sid)["metadata"].get("hostPid")
        until(lambda pid=pid: not alive(pid), what="its process to go")
        row = user.session(sid)
        assert (row["active"], row["metadata"]["lifecycleState"]) == (False, "archived"), moment


def quietly(user, path: str) -> None:
    with contextlib.suppress(Refused):
        user.post(path)
