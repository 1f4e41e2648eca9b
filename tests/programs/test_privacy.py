"""What our programs leave on the disk and show in the process table, run by somebody who closes
nothing."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from tests.support.peers import OUR_HAPI, OURS, Cast
from tests.support.programs import CANARY, until

pytestmark = pytest.mark.program
UNMASKED = ["sh", "-c", 'umask 000; exec "$@"', "sh"]


@pytest.fixture
def cast(on_stage, tmp_path: Path) -> Cast:
    return on_stage(Cast(tmp_path / "stage", token=CANARY))


def open_to_others(below: Path) -> list[str]:
    """Everything that group or others may touch, with its mode; symbolic links have none of their
    own."""
    found = []
    for path in [below, *below.rglob("*")]:
        mode = path.lstat().st_mode
        if not stat.S_ISLNK(mode) and mode & 0o077:
            found.append(f"{stat.filemode(mode)} {path.relative_to(below.parent)}")
    return found


def test_everything_below_the_homes_is_private_even_without_a_umask__K04(cast):
    _, user = cast.hub(OURS)
    os.chmod(cast.home(OURS, "runner"), 0o777)  # K05: ours, so it is closed again
    running = cast.runner(OURS, user, argv=[*UNMASKED, *OUR_HAPI, "runner", "start-sync"])
    sid = user.started(running.machine_id, cast.directory("project"), "demo")
    user.say(sid, "run: echo done")
    user.approve(sid, user.asked(sid)[0])
    user.idle(sid)
    assert open_to_others(running.home) == []
    user.post(f"/api/sessions/{sid}/archive")
    user.archived(sid)
    until(lambda: running.control("/list") == {"children": []})
    running.program.end()
    assert open_to_others(running.home) == []
    assert open_to_others(cast.home(OURS, "hub")) == []


def test_no_command_line_and_no_log_shows_the_token__K01(cast):
    hub, user = cast.hub(OURS)
    running = cast.runner(OURS, user)
    user.started(running.machine_id, cast.directory("project"), "demo")
    lines = cast.command_lines()
    assert len(lines) >= 4, lines  # hub, runner, holder, session
    assert not [line for line in lines if CANARY in line]
    assert CANARY not in running.program.output
    assert hub.program.running
