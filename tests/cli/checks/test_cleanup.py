"""What `hapi doctor` tries and cleans: real processes and files, one home's and no other's."""

from __future__ import annotations

import fcntl
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import pytest_twisted

from hapi.attempts import AttemptFolder, attempts
from hapi.cli.checks.cleanup import Findings, clean_up, exclusive_home, scan
from hapi.cli.checks.clock_check import check_clock, fetch_hub_time
from hapi.cli.checks.launch_check import check_launch
from hapi.home import Home
from hapi.process.identity import identify
from hapi.protocol.attempt import AttemptEnd, AttemptProcess, AttemptRequest, AttemptSession
from hapi.uploads import SessionUploads

SLEEP = (sys.executable, "-I", "-S", "-c", "import time; time.sleep(60)")


@pytest.fixture
def sleeper(home):
    """Starts processes that carry the mark of an attempt in a home."""
    running = []

    def start(attempt: str, where: Home = home) -> subprocess.Popen:
        environ = {"HAPI_ATTEMPT": attempt, "HAPI_HOME": str(where.path)}
        running.append(subprocess.Popen(SLEEP, env=environ, start_new_session=True))
        return running[-1]

    yield start
    for process in running:
        process.kill()
        process.wait()


def attempt_in(home: Home) -> AttemptFolder:
    return AttemptFolder.create(home, AttemptRequest(SLEEP, "/", 1.0, "test"))


@pytest_twisted.ensureDeferred
async def test_what_a_session_left_is_ended_and_nothing_else__C02_C11(
    reactor, home, sleeper, tmp_path
):
    over, alive, other = attempt_in(home), attempt_in(home), Home(tmp_path / "other").prepare()
    left, living, foreign = sleeper(over.id), sleeper(alive.id), sleeper(over.id, other)
    over.end = AttemptEnd(exit_code=0, signal=None, at=1.0)
    alive.process = AttemptProcess(identify(living.pid))
    found = scan(home, alone=True)
    assert [stray.identity.pid for stray in found.strays] == [left.pid]
    assert left.poll() is None  # scanning changes nothing
    assert await clean_up(reactor, Findings(strays=found.strays)) == []
    assert left.wait(10) is not None
    assert living.poll() is None
    assert foreign.poll() is None


def test_a_session_that_was_not_proved_over_keeps_its_processes__C13(home, sleeper):
    folder = attempt_in(home)
    sleeper(folder.id)
    assert scan(home, alone=True).strays == []
    sleeper("nobody-knows")
    assert scan(home, alone=True).strays == []


@pytest_twisted.ensureDeferred
async def test_a_pid_that_is_another_process_by_now_gets_no_signal__C11(reactor, home, sleeper):
    folder = attempt_in(home)
    folder.end = AttemptEnd(exit_code=0, signal=None, at=1.0)
    process = sleeper(folder.id)
    (stray,) = scan(home, alone=True).strays
    process.kill()
    process.wait()
    assert await clean_up(reactor, Findings(strays=[stray])) == []


@pytest_twisted.ensureDeferred
async def test_files_of_a_runner_that_is_gone_are_removed_and_others_stay__S14(reactor, home):
    home.runner_state.write_text('{"pid": 4194304, "httpPort": 1}')
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(home.runner_socket))
    (home.path / "runner.state.json.corrupt-1").write_text("x")
    unfinished = home.path / ".settings.json.1.abc"
    unfinished.write_text("x")
    os.utime(unfinished, (time.time() - 7200,) * 2)
    (home.path / ".settings.json.2.fresh").write_text("x")
    (home.directory("sessions") / ".new-1").mkdir()
    kept = [home.settings, home.path / "mine.txt"]
    for path in kept:
        path.write_text("{}")
    folder = attempt_in(home)
    with exclusive_home(home) as alone:
        found = scan(home, alone)
        assert sorted(leftover.path.name for leftover in found.leftovers) == [
            ".new-1",
            ".settings.json.1.abc",
            "runner.sock",
            "runner.state.json",
            "runner.state.json.corrupt-1",
        ]
        assert await clean_up(reactor, found) == []
    assert scan(home, alone=True).leftovers == []
    assert all(path.exists() for path in [*kept, home.path / ".settings.json.2.fresh", folder.path])


def test_while_a_runner_holds_the_home_its_files_are_its_own_business__S07(home):
    home.runner_state.write_text('{"pid": 4194304, "httpPort": 1}')
    with home.runner_lock.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with exclusive_home(home) as alone:
            assert not alone
            assert scan(home, alone) == Findings(runs=True)
    home.runner_state.write_text(
        f'{{"pid": {os.getpid()}, "httpPort": 1}}'
    )  # npm's runner holds no lock of ours
    assert scan(home, alone=True).runs


def upload(home: Home, session_id: str) -> Path:
    """An upload of a process that was killed."""
    uploads = SessionUploads(home, session_id)
    uploads.store("picture.png", b"png")
    os.close(uploads._lock)
    return uploads.path


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("alone", [True, False])
async def test_uploads_of_sessions_that_have_ended_are_removed_and_of_live_ones_not(
    reactor, home, sleeper, alone
):
    over, alive, unknown = (attempt_in(home), attempt_in(home), upload(home, "unknown"))
    over.session, alive.session = AttemptSession("over"), AttemptSession("alive")
    over.end = AttemptEnd(exit_code=None, signal="SIGKILL", at=1.0)
    alive.process = AttemptProcess(identify(sleeper(alive.id).pid))
    ended, living = upload(home, "over"), upload(home, "alive")
    holder = SessionUploads(home, "held")
    held = holder.store("picture.png", b"png")
    found = scan(home, alone)
    assert [leftover.path for leftover in found.leftovers] == [ended, unknown]
    taken = SessionUploads(home, "unknown")  # a session begins to use it after the scan
    taken.store("more.png", b"png")
    (trouble,) = await clean_up(reactor, Findings(leftovers=found.leftovers))
    assert "unknown could not be removed" in trouble
    assert not ended.exists()
    assert all(path.exists() for path in (living, held, unknown))


@pytest_twisted.ensureDeferred
async def test_a_child_is_really_started_and_ended_and_leaves_nothing(reactor, home):
    tried = await check_launch(reactor, home)
    assert tried.ok, tried.text
    assert attempts(home) == []
    assert list(home.path.glob(".doctor-*")) == []


@pytest_twisted.ensureDeferred
async def test_a_child_that_cannot_be_started_is_told(reactor, home, monkeypatch):
    monkeypatch.setattr("hapi.cli.checks.launch_check.CHILD_COMMAND", ("/nowhere/program",))
    tried = await check_launch(reactor, home)
    assert not tried.ok
    assert "no such program" in tried.text
    assert list(home.path.glob(".doctor-*")) == []


@pytest.mark.parametrize(
    ("dates", "wall", "ok", "words"),
    [
        (None, 1.0, True, "not compared with the hub"),
        ((1000.0, 1000.9), 1.0, True, "within 1 s"),
        ((1000.0, 1100.0), 1.0, False, "100 s ahead"),
        ((1000.0, 900.0), 1.0, False, "100 s behind"),
        ((1000.0, 1000.0), 3601.0, False, "+3600.0 s"),
    ],
)
def test_clocks_that_differ_are_told__N17(dates, wall, ok, words):
    tried = check_clock(dates, wall, monotonic=1.0)
    assert (tried.ok, words in tried.text) == (ok, True)


@pytest_twisted.ensureDeferred
async def test_the_hubs_clock_is_read_from_its_answer__N17(reactor):
    from twisted.internet.task import deferLater
    from twisted.web.resource import Resource
    from twisted.web.server import Site

    class Late(Resource):
        isLeaf = True

        def render_GET(self, request):
            request.setHeader("Date", "Thu, 01 Jan 1970 01:00:00 GMT")
            return b"{}"

    port = reactor.listenTCP(0, Site(Late()), interface="127.0.0.1")
    try:
        said, now = await fetch_hub_time(reactor, f"http://127.0.0.1:{port.getHost().port}")
        assert said == 3600.0
        assert now > 1_700_000_000
        assert "ahead of the hub's" in check_clock((said, now), 1.0, 1.0).text
        assert await fetch_hub_time(reactor, "http://127.0.0.1:1") is None
    finally:
        await port.stopListening()
        await deferLater(reactor, 0)
