"""`hapi attach` in a real terminal: keys, sizes, a hub that is restarted, and what it leaves."""

from __future__ import annotations

import re
import signal

import psutil
import pytest

from tests.support.attached_shell import AttachedShell
from tests.support.peers import OURS, Cast
from tests.support.programs import CANARY, until

pytestmark = pytest.mark.program
LEAVE = "\x1d"


def sleeping() -> list[list[str]]:
    """The command lines of what the killed shell has started."""
    lines = (process.info["cmdline"] or [] for process in psutil.process_iter(["cmdline"]))
    return [line for line in lines if line in (["sleep", "6543"], ["sleep", "6544"])]


@pytest.fixture
def cast(on_stage, tmp_path) -> Cast:
    return on_stage(Cast(tmp_path / "stage", token=CANARY))


def test_a_shell_in_a_terminal_outlives_its_hub_and_leaves_the_terminal_as_it_was(cast):
    hub, user = cast.hub(OURS)
    runner = cast.runner(OURS, user)
    id = user.started(runner.machine_id, cast.directory("project"), "demo")
    shells = []

    def attach(*words: str) -> AttachedShell:
        shells.append(AttachedShell.start(cast, user, id[:8], *words))
        return shells[-1]

    try:
        first = attach()
        first.shows("Ctrl+] leaves it")
        first.type("echo $((6*7))-$(stty size | tr ' ' x)-pid$$-\r")
        first.shows("42-30x100-")
        pid = re.search(r"-pid(\d+)-", first.shown)[1]
        first.resize(80, 24)
        first.type("until [ \"$(stty size)\" = '24 80' ]; do :; done; echo $((6*8))-\r")
        first.shows("48-")

        hub.program.end(signal.SIGKILL)
        first.shows("The connection to the hub is lost")
        since = len(first.shown)
        hub, user = cast.hub(OURS, port=int(user.url.rpartition(":")[2]))
        first.shows("42-30x100-", since)  # a replay
        first.type(f"echo $((6*9))-$(( $$ == {pid} ))-\r")
        first.shows("54-1-", since)
        first.type("printf '\\033[?1049h\\033[?25l'; echo on''ly\r")
        first.shows("only", since)
        first.type(LEAVE)
        assert first.exit_code() == 0
        assert "\x1b[?1049l\x1b[?25h" in first.shown
        assert first.is_restored

        again = attach()
        again.shows("48-")  # the same shell
        again.process.send_signal(signal.SIGTERM)
        assert again.exit_code() == 130
        assert again.is_restored

        last = attach("--new")
        last.shows("project")
        last.type("exit 7\r")
        assert last.exit_code() == 7
        assert "ended with code 7" in last.shown
        assert last.is_restored

        end_with_the_session(attach("--new"), user.session(id)["metadata"]["hostPid"])
    finally:
        for shell in shells:
            shell.close()


def end_with_the_session(shell: AttachedShell, session_pid: int) -> None:
    """Kill the session: nothing that was started in its shell outlives it."""
    shell.type("(trap '' HUP TERM; setsid nohup sleep 6543 & exec sleep 6544)\r")
    until(lambda: len(sleeping()) == 2)
    psutil.Process(session_pid).kill()
    until(lambda: not sleeping())
    assert shell.exit_code() != 0
    assert "The shell was ended by SIGHUP" in shell.shown
    assert shell.is_restored
