"""The runner under supervisors: a fake systemd that listens, the real supervisord, and the words
and codes both act upon."""

from __future__ import annotations

import json
import os
import resource
import secrets
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from hapi.attempts import attempts
from hapi.home import Home
from tests.support.paths import SUPPORT
from tests.support.programs import CANARY, Stage, alive, until

pytestmark = pytest.mark.program

TWISTD = [
    sys.executable,
    "-c",
    "from twisted.scripts.twistd import run; run()",
    "-n",
    "--pidfile=",
    "hapi-runner",
]
OURS = [sys.executable, "-m", "hapi", "runner", "start-sync"]
MODES = pytest.mark.parametrize("argv", [OURS, TWISTD], ids=["hapi", "twistd"])
SESSION = f"{sys.executable} {SUPPORT / 'scripted_session.py'}"


@pytest.fixture
def stage(tmp_path):
    made = Stage(tmp_path)
    made.base.update(
        HAPI_HOME=str(tmp_path / "home"),
        HAPI_API_URL="http://127.0.0.1:1",
        CLI_API_TOKEN=CANARY,
        HAPI_CLAUDE_PATH="/bin/true",
        HAPI_DISABLE_VERSION_HANDOFF="1",
    )
    yield made
    made.end()


@pytest.fixture
def home(stage):
    return Home(Path(stage.base["HAPI_HOME"])).prepare()


class Systemd:
    """The far end of NOTIFY_SOCKET; `heard` keeps every message."""

    def __init__(self) -> None:
        self.name = f"@hapi-test-{secrets.token_hex(8)}"
        self.heard: list[str] = []
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind("\0" + self.name[1:])
        self._socket.setblocking(False)

    def hears(self, words: str) -> bool:
        while True:
            try:
                self.heard.append(self._socket.recv(65536).decode())
            except BlockingIOError:
                return any(words in message for message in self.heard)

    def close(self) -> None:
        self._socket.close()


@pytest.fixture
def systemd():
    made = Systemd()
    yield made
    made.close()


@pytest.mark.parametrize(
    "words", [["up", "--port", "0"], ["hub", "--port", "0"]], ids=["up", "hub"]
)
def test_a_hub_without_a_terminal_reopens_its_log_on_sighup_and_goes_on__V02(stage, home, words):
    program = stage.start(
        "hub",
        [sys.executable, "-m", "hapi", *words],
        {"CLI_API_TOKEN": "t" * 20},
        output=".printed",
    )
    program.ready(lambda: "Page:" in program.output or "registered" in program.output)
    (log,) = home.logs.glob(f"*-{words[0]}.log")
    log.rename(moved := log.with_suffix(".moved"))
    os.kill(program.pid, signal.SIGHUP)
    # Two signals at once may be handled in any order, by two threads.
    program.ready(lambda: "received SIGHUP" in moved.read_text())
    assert program.end() == 0
    assert "received SIGTERM" in log.read_text()
    assert "received SIGTERM" not in moved.read_text()


def test_up_tells_systemd_when_it_is_ready_and_that_it_lives__V03(stage, systemd):
    told = {"CLI_API_TOKEN": "t" * 20, "NOTIFY_SOCKET": systemd.name, "WATCHDOG_USEC": "400000"}
    program = stage.start(
        "up", [sys.executable, "-m", "hapi", "up", "--port", "0"], told, output=".printed"
    )
    until(lambda: systemd.hears("READY=1") and systemd.hears("WATCHDOG=1"), what="signs of life")
    assert program.end() == 0
    assert systemd.hears("STOPPING=1")


def test_a_hub_tells_systemd_when_it_listens_and_when_it_stops__V03(stage, systemd):
    told = {"CLI_API_TOKEN": "t" * 20, "NOTIFY_SOCKET": systemd.name}
    program = stage.start("hub", [sys.executable, "-m", "hapi", "hub", "--port", "0"], told)
    program.ready(lambda: systemd.hears("READY=1"))
    assert "STATUS=listens on http://127.0.0.1:" in systemd.heard[0]
    assert program.end() == 0
    assert systemd.hears("STOPPING=1")


@MODES
def test_systemd_hears_of_a_runner_that_has_no_hub_yet_and_of_its_leave__V03_V04_P03(
    stage, systemd, argv
):
    supervised = {"NOTIFY_SOCKET": systemd.name, "WATCHDOG_USEC": "400000"}
    program = stage.start("runner", argv, supervised)
    program.ready(lambda: systemd.hears("READY=1"))
    assert "STATUS=connecting: http://127.0.0.1:1" in next(
        text for text in systemd.heard if text.startswith("READY=1")
    )
    program.ready(lambda: [systemd.hears("WATCHDOG=1"), systemd.heard.count("WATCHDOG=1") >= 3][1])
    os.kill(program.pid, signal.SIGHUP)
    program.ready(lambda: systemd.hears("RELOADING=1\nMONOTONIC_USEC="))
    program.end()
    assert systemd.hears("STOPPING=1")


def test_sighup_goes_on_in_a_new_log_file__P03(stage, home):
    program = stage.start("runner", OURS)
    log = program.ready(lambda: next(home.logs.glob("*-runner.log"), None))
    program.ready(lambda: "Hapi runner started." in program.output)
    log.rename(log.with_suffix(".moved"))
    os.kill(program.pid, signal.SIGHUP)
    program.ready(log.exists)
    assert program.end() == 0


@MODES
def test_the_descriptor_limit_is_raised_to_what_the_system_allows__M02(stage, home, argv):
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    limited = ["/bin/sh", "-c", 'ulimit -S -n 256; exec "$@"', "sh", *argv]
    program = stage.start("runner", limited)
    program.ready(home.runner_state.exists)
    assert resource.prlimit(program.pid, resource.RLIMIT_NOFILE)[0] == min(hard, 1 << 20)


@MODES
def test_a_runner_whose_output_nobody_reads_any_more_runs_on__P06(stage, home, argv):
    reading, writing = os.pipe()
    running = subprocess.Popen(
        argv,
        env=stage.base,
        cwd=stage.path,
        stdin=subprocess.DEVNULL,
        stdout=writing,
        stderr=writing,
    )
    os.close(writing)
    os.close(reading)
    until(home.runner_socket.exists, what="the control socket")
    for _ in range(3):
        os.kill(running.pid, signal.SIGHUP)  # each is a line for the log
        asked = stage.start("status", [sys.executable, "-m", "hapi", "runner", "status", "--json"])
        assert asked.exit_code(60) == 0, asked.output
    running.terminate()
    assert running.wait(20) in (0, -signal.SIGTERM)
    for log in home.logs.glob("*.log"):
        assert "Traceback" not in log.read_text()


def test_a_stale_pid_file_of_twistd_whose_number_is_reused_keeps_nothing_from_starting__V07(
    stage, home
):
    (stage.path / "twistd.pid").write_text(str(os.getpid()))  # somebody else, alive
    program = stage.start("runner", TWISTD)
    program.ready(home.runner_state.exists)


@pytest.fixture
def supervisor(stage, home):
    """A real supervisord that keeps our runner, told to kill whole process groups."""
    pytest.importorskip(
        "supervisor", reason="supervisord is not installed (pip install supervisor)"
    )
    session = stage.path / "session"
    session.write_text(f'#!/bin/sh\nexec {SESSION} "$@"\n')
    session.chmod(0o755)
    address = stage.path / "supervisor.sock"
    runner = " ".join(OURS)
    config = stage.path / "supervisord.conf"
    config.write_text(
        f"""
[supervisord]
nodaemon=true
logfile={stage.path}/supervisord.log
pidfile={stage.path}/supervisord.pid
[unix_http_server]
file={address}
[supervisorctl]
serverurl=unix://{address}
[rpcinterface:supervisor]
supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface
[program:hapi-runner]
command={runner} --session-command {session}
environment=HAPI_RUNNER_SUPERVISED="1"
autorestart=unexpected
exitcodes=0,2,3,4
startsecs=0
stopwaitsecs=20
stopasgroup=true
killasgroup=true
stdout_logfile={stage.path}/runner.out
redirect_stderr=true
"""
    )
    program = stage.start(
        "supervisord", [sys.executable, "-m", "supervisor.supervisord", "-c", str(config)]
    )
    control = [sys.executable, "-m", "supervisor.supervisorctl", "-c", str(config)]
    return program, lambda *words: stage.start("supervisorctl", [*control, *words]).exit_code(60)


def test_supervisord_that_kills_groups_harms_no_session__V05_V02(stage, home, supervisor):
    program, control = supervisor

    def state() -> dict:
        try:
            return json.loads(home.runner_state.read_text())
        except (OSError, ValueError):
            return {}

    def spawn() -> bool:
        body = json.dumps({"directory": str(stage.path), "agent": "claude"})
        return (
            stage.start(
                "spawn", [sys.executable, "-c", SPAWN, str(state()["httpPort"]), body]
            ).exit_code(60)
            == 0
        )

    first = program.ready(lambda: state().get("pid"))
    assert spawn(), program.output
    (attempt,) = attempts(home)
    session = attempt.process.child.pid
    assert control("restart", "hapi-runner") == 0
    second = until(lambda: (pid := state().get("pid")) != first and pid, what="the next runner")
    assert alive(session)
    os.kill(second, signal.SIGKILL)  # not an expected end: started again
    third = until(
        lambda: (pid := state().get("pid")) != second and pid, what="the runner after the kill"
    )
    assert third
    assert alive(session)
    program.end(seconds=30)
    assert not alive(third)
    assert alive(session)


SPAWN = """
import sys, http.client
asking = http.client.HTTPConnection("127.0.0.1", int(sys.argv[1]), timeout=50)
asking.request("POST", "/spawn-session", sys.argv[2], {"content-type": "application/json"})
answer = asking.getresponse()
print(answer.status, answer.read())
sys.exit(answer.status != 200)
"""
