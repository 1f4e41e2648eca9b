"""The runner as a real program: started as people start it, killed as machines kill it, with real
sessions and sockets."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
import pytest_twisted

from hapi.attempts import attempts
from hapi.runner.control.client import ControlClient, RunnerNotRunning
from tests.support.machine import MODES, TWISTD, Machine
from tests.support.programs import until

pytestmark = pytest.mark.program


@pytest.fixture
def machine(stage):
    return Machine(stage)


def is_gone(pid: int) -> bool:
    return not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


@pytest.mark.parametrize("mode", MODES)
def test_each_way_to_start_is_the_same_runner__L19(machine, mode):
    program = machine.start(mode)
    shown = subprocess.run(
        ["ps", "-o", "command=", "-p", str(program.pid)], capture_output=True, text=True, check=True
    )
    assert {"runner", "start-sync"} <= set(shown.stdout.split())
    status = machine.post("/status")
    assert (status["pid"], status["registered"]) == (program.pid, False)
    assert status["hub"]["phase"] == "connecting"  # N01: no hub, and yet control works
    until(lambda: machine.post("/status")["hub"]["reason"])
    session = machine.session()
    assert program.end() in (0, -signal.SIGTERM) if mode == "embedded" else program.end() == 0
    assert not machine.home.runner_state.exists()
    assert not machine.home.npm_lock.exists()
    assert not machine.home.runner_socket.exists()
    assert not is_gone(machine.attempt(session).process.child.pid)


def test_a_daemon_is_the_process_that_its_files_name__V07(machine):
    pid_file, log = machine.stage.path / "twistd.pid", machine.stage.path / "twistd.log"
    argv = [*TWISTD[:3], f"--pidfile={pid_file}", f"--logfile={log}", "hapi-runner"]
    assert machine.stage.start("daemon", argv, machine.environment).exit_code(20) == 0
    until(machine.answers)
    pid = int(pid_file.read_text())
    assert (
        machine.state()["pid"]
        == machine.post("/status")["pid"]
        == int(machine.home.npm_lock.read_text())
        == pid
    )
    os.kill(pid, signal.SIGTERM)
    until(lambda: is_gone(pid))
    assert not machine.home.runner_state.exists()
    assert "Traceback" not in log.read_text()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_in_order_with_code_zero__P01_V02(machine, number):
    program = machine.start()
    assert program.end(number) == 0
    assert not machine.home.runner_state.exists()
    assert "Traceback" not in program.output


def test_a_hangup_is_no_end__P03(machine):
    program = machine.start()
    program.process.send_signal(signal.SIGHUP)
    until(lambda: "SIGHUP" in program.output)
    assert machine.answers()


def test_a_hub_that_accepts_and_never_answers_delays_no_leaving__P01_N03(stage):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        machine = Machine(stage, f"http://127.0.0.1:{silent.getsockname()[1]}")
        program = machine.start()
        machine.post("/stop")
        assert program.exit_code(2.0) == 0  # after two seconds npm's `runner stop` would kill it


@pytest.mark.parametrize("mode", ["twistd", "hapi"])
def test_a_second_runner_names_the_first_and_ends_with_three__L01_V10(machine, mode):
    first = machine.start()
    second = machine.stage.start("second", MODES[mode], machine.environment)
    assert second.exit_code(20) == 3
    assert f"{first.pid}" in second.output
    assert "Traceback" not in second.output
    assert machine.post("/status")["pid"] == first.pid


@pytest.mark.parametrize(
    "environment",
    [{"CLI_API_TOKEN": ""}, {"HAPI_API_URL": "http://h/path"}, {"HAPI_CLI_EXECUTABLE": "relative"}],
)
def test_what_is_wrong_is_one_sentence_and_code_one__V10(machine, environment):
    program = machine.stage.start("wrong", TWISTD, machine.environment | environment)
    assert program.exit_code(20) == 1
    assert "Traceback" not in program.output
    assert program.output.strip()


def test_a_session_lives_and_ends_with_all_it_started__C02(machine):
    machine.start()
    session = machine.session("brood")
    folder = machine.attempt(session)
    mark = f"HAPI_ATTEMPT={folder.id}".encode()

    def marked() -> list[int]:
        found = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error, OSError):
                if mark in Path(f"/proc/{process.pid}/environ").read_bytes().split(b"\0"):
                    found.append(process.pid)
        return found

    until(lambda: len(marked()) >= 3)
    assert machine.listed()[session]["startedBy"] == "runner"
    assert machine.stop(session) == "stopped"
    until(lambda: not marked())
    assert machine.listed() == {}
    assert machine.stop(session) == "already_gone"
    assert (folder.stop.method, folder.end.signal) == ("control", "SIGTERM")
    assert folder.stop.actor.startswith("control: pid ")


def test_a_deaf_session_is_killed__C01(machine):
    machine.start()
    session = machine.session("deaf")
    assert machine.stop(session) == "stopped"
    assert machine.attempt(session).end.signal == "SIGKILL"


def test_a_session_that_dies_young_tells_code_and_last_words__C07(machine):
    machine.start()
    answer = machine.spawn("exit-7")
    assert answer["success"] is False
    assert "(exit code 7)" in answer["error"]
    assert "last words" in answer["error"]


def test_a_silent_session_is_ended_when_its_lease_is_over__W01(machine):
    machine.start(HAPI_RUNNER_WEBHOOK_TIMEOUT_MS="300")
    answer = machine.spawn("silent")
    assert "webhook timeout" in answer["error"]
    (folder,) = attempts(machine.home)
    until(lambda: folder.end is not None)
    assert is_gone(folder.process.child.pid)
    assert folder.stop.reason == "Start timed out"


def test_a_killed_runner_loses_no_session__C14_P04_L12(machine):
    runner = machine.start()
    sessions = [machine.session(f"plain-{number}") for number in range(3)] + [
        machine.session("chatty")
    ]
    runner.end(signal.SIGKILL)
    ended = machine.attempt(sessions[0])
    (machine.stage.path / "work/plain-0/end").write_text("9")
    until(lambda: ended.end is not None)  # while no runner runs
    assert ended.end.exit_code == 9
    machine.start()
    assert set(machine.listed()) == set(sessions[1:])
    assert machine.stop(sessions[0]) == "already_gone"
    (machine.stage.path / "work/plain-1/end").write_text("4")
    until(lambda: set(machine.listed()) == set(sessions[2:]))
    assert machine.attempt(sessions[1]).end.exit_code == 4
    for session in sessions[2:]:  # C05: the chatty one wrote into its file all the time
        assert machine.stop(session) == "stopped"
    assert machine.listed() == {}


def test_a_lease_that_runs_while_the_runner_is_replaced_is_kept__W08(machine):
    runner = machine.start(HAPI_RUNNER_WEBHOOK_TIMEOUT_MS="60000")
    with contextlib.suppress(TimeoutError):
        machine.post(
            "/spawn-session", {"directory": str(machine.stage.path / "work/silent")}, timeout=0.5
        )
    until(lambda: attempts(machine.home) and attempts(machine.home)[0].process)
    runner.end(signal.SIGKILL)
    machine.start(HAPI_RUNNER_WEBHOOK_TIMEOUT_MS="1")
    (folder,) = attempts(machine.home)
    until(lambda: folder.end is not None)
    assert folder.stop.reason == "Start timed out"


def open_files(pid: int) -> set[str]:
    found = set()
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            found.add(os.readlink(entry))
    return found


def test_no_session_holds_the_lock_or_a_listener__L14_C18(machine):
    runner = machine.start()
    session = machine.session()
    shared = open_files(machine.attempt(session).process.child.pid) & open_files(runner.pid)
    assert not [name for name in shared if "runner.lock" in name or name.startswith("socket:")]
    runner.end(signal.SIGKILL)
    machine.start()
    assert set(machine.listed()) == {session}


def test_a_forged_announcement_gets_nobody_signalled__W03(machine):
    machine.start()
    bystander = machine.stage.start("bystander", ["sleep", "600"])
    answer = machine.post(
        "/session-started",
        {"sessionId": "f", "metadata": {"hostPid": bystander.pid, "startedBy": "runner"}},
    )
    assert answer["statusCode"] == 403
    answer = machine.post(
        "/session-started",
        {"sessionId": "f", "metadata": {"hostPid": bystander.pid, "startedBy": "terminal"}},
    )
    assert answer["statusCode"] == 403  # we are not that process
    assert machine.listed() == {}
    assert machine.stop(f"PID-{bystander.pid}") == "still_alive"
    assert bystander.running


STRANGER = """
import os, socket, sys
os.setgid(65534); os.setuid(65534)
port = int(sys.argv[1])
body = b'{}'
request = b'POST /stop HTTP/1.1\\r\\nHost: 127.0.0.1:%d\\r\\n' % port
request += b'Content-Type: application/json\\r\\n'
request += b'Content-Length: 2\\r\\n\\r\\n{}'
for number in range(int(sys.argv[2])):
    with socket.socket() as connection:
        connection.connect(('127.0.0.1', port))
        connection.sendall(request)
        if sys.argv[3] == 'wait':
            print(connection.recv(100).split(b' ')[1].decode())
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
@pytest.mark.parametrize(("times", "how", "said"), [("1", "wait", "403"), ("300", "close", "")])
def test_another_user_is_refused__X01_X02(machine, times, how, said):
    runner = machine.start()
    port = str(machine.state()["httpPort"])
    done = subprocess.run(
        [sys.executable, "-c", STRANGER, port, times, how],
        capture_output=True,
        text=True,
        check=True,
        cwd="/",
    )
    assert done.stdout.strip() == said
    assert machine.post("/status")["pid"] == runner.pid
    assert "Leaving" not in runner.output


def test_roots_hold_for_the_control_port_too__X17(machine):
    root = machine.stage.directory("work")
    machine.start("twistd", "--workspace-root", str(root))
    assert machine.session("inside")
    answer = machine.post("/spawn-session", {"directory": str(machine.stage.path / "elsewhere")})
    assert answer["code"] == "outside_workspace_roots"
    assert not (machine.stage.path / "elsewhere").exists()


@pytest_twisted.ensureDeferred
async def test_our_client_prefers_the_unix_socket__X14(machine, reactor):
    runner = machine.start()
    client = ControlClient(reactor, machine.home, {})
    assert (await client.status())["pid"] == runner.pid
    answer = await client.spawn(str(machine.stage.path / "work/plain"))
    assert answer["success"]
    assert [child["happySessionId"] for child in await client.list()] == [answer["sessionId"]]
    assert await client.stop_session(answer["sessionId"]) == "stopped"
    assert machine.attempt(answer["sessionId"]).stop.actor == f"control: pid {os.getpid()}"
    refused = await client.spawn("/etc/hostname")
    assert refused["success"] is False
    await client.stop()
    assert runner.exit_code() == 0
    with pytest.raises(RunnerNotRunning):
        await client.status()


@pytest_twisted.ensureDeferred
async def test_a_runner_that_was_killed_is_said_to_have_ended(machine, reactor):
    with subprocess.Popen(["true"]) as ended, socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        ended.wait()
        machine.home.runner_state.write_text(
            json.dumps({"pid": ended.pid, "httpPort": port, "controlToken": "t"})
        )
        with pytest.raises(RunnerNotRunning, match=f"process {ended.pid}, has ended"):
            await ControlClient(reactor, machine.home, {}).status()


@pytest_twisted.ensureDeferred
async def test_our_client_sends_nothing_to_a_port_that_is_another_programs__X14(machine, reactor):
    with socket.create_server(("127.0.0.1", 0)) as squatter:
        port = squatter.getsockname()[1]
        machine.home.runner_state.write_text(
            json.dumps({"pid": 1, "httpPort": port, "controlToken": "t"})
        )
        with pytest.raises(RunnerNotRunning, match="process 1, does not listen on its port"):
            await ControlClient(reactor, machine.home, {}).status()
        squatter.setblocking(False)
        with pytest.raises(BlockingIOError):
            squatter.accept()
