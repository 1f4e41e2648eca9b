"""`hapi attach` on npm's hub, with a session of npm."""

from __future__ import annotations

import pytest

from tests.support.attached_shell import AttachedShell
from tests.support.peers import NPM

pytestmark = pytest.mark.peer("hapi", "claude")


def test_a_shell_of_npms_session_on_npms_hub_is_shown_in_a_terminal(cast):
    _, user = cast.hub(NPM)
    running = cast.runner(NPM, user)
    id = user.started(running.machine_id, cast.directory("project"), "claude")
    shell = AttachedShell.start(cast, user, id)
    try:
        shell.type("echo $((6*7))-$(stty size | tr ' ' x)-\r")
        shell.shows("42-30x100-")
        shell.type("exit 3\r")
        assert shell.exit_code() == 1  # npm's hub does not tell the code
        assert "The shell has ended" in shell.shown
        assert shell.is_restored
    finally:
        shell.close()
