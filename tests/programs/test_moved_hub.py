"""The hub moves to another address and gets another token while a session runs."""

import os
import signal
import stat

import pytest

from tests.support.hub_absence import Move, end_hub
from tests.support.peers import OURS, Cast
from tests.support.programs import CANARY, free_port, until

pytestmark = pytest.mark.program


@pytest.fixture
def move(on_stage, tmp_path):
    return Move(on_stage(Cast(tmp_path / "stage", token=CANARY)))


def test_a_live_session_follows_a_runner_that_was_restarted_with_the_new_hub(move):
    url = move.move_hub()
    move.configure(url, CANARY)
    move.runner.end(signal.SIGTERM)
    move.runner = move.start_runner()
    move.session_answers("two")
    until(lambda: move.folder.report.hub.url == url)
    until(lambda: not move.folder.hub_path.exists())
    assert move.status()["warnings"] == []


def test_a_live_session_follows_a_runner_that_reads_its_settings_again(move):
    url = move.move_hub()
    move.configure(url, CANARY)
    os.kill(move.runner.pid, signal.SIGHUP)
    move.session_answers("two")


def test_a_live_session_follows_a_new_token_at_the_same_address(move):
    port = int(move.user.url.rpartition(":")[2])
    end_hub(move.hub)
    move.cast.token = CANARY
    move.hub, move.user = move.cast.hub(OURS, port)
    until(lambda: move.folder.report.hub.phase == "refused", 60.0)
    (warning,) = until(lambda: move.status()["warnings"], 60.0)
    assert "the hub refused us: Invalid token" in warning
    assert "hapi auth login" in warning
    (listed,) = move.control("/list")["children"]
    assert "Invalid token" in listed["activity"]["hub"]
    move.configure(move.user.url, CANARY)
    os.kill(move.runner.pid, signal.SIGHUP)
    move.session_answers("two")


def test_a_live_session_without_a_runner_follows_the_settings(move):
    url = move.move_hub()
    move.runner.end(signal.SIGTERM)
    move.configure(url, CANARY)
    move.session_answers("two")


def test_the_file_with_the_token_is_private_and_goes_with_the_session(move):
    end_hub(move.hub)
    elsewhere, move.cast.token = free_port(), CANARY
    os.kill(move.folder.process.child.pid, signal.SIGSTOP)
    move.hub, move.user = move.cast.hub(OURS, elsewhere)
    move.configure(move.user.url, CANARY)
    os.kill(move.runner.pid, signal.SIGHUP)
    until(move.folder.hub_path.exists, 60.0)
    assert stat.S_IMODE(move.folder.hub_path.stat().st_mode) == 0o600
    assert move.folder.hub.token == CANARY
    os.kill(move.folder.process.child.pid, signal.SIGKILL)
    until(lambda: not move.folder.hub_path.exists(), 60.0)
