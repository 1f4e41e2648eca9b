"""Hand-offs of the real runner: to builds that work and to builds that don't, under load, and
stopped in the middle.

Killed in the middle, at every point, it is in test_kill_program.py.
"""

import fcntl
import os
import signal
import socket
import sys
import threading

import psutil
import pytest

from tests.support.programs import CANARY, Stage, alive, free_port, level, until
from tests.support.restart_machine import SCRIPT, Installed

pytestmark = pytest.mark.program
GENERATIONS, FAILURES = level(10, 100), level(1, 50)
IN_REPLACEMENT = "import os, sys, time\nif 'HAPI_RUNNER_HANDOFF_FDS' in os.environ:\n    "


@pytest.fixture(scope="module")
def hub(tmp_path_factory):
    """A hub for all tests of this module."""
    stage = Stage(tmp_path_factory.mktemp("hub"))
    port = free_port()
    environment = {"HAPI_HOME": str(stage.path / "hub"), "CLI_API_TOKEN": CANARY}
    program = stage.start(
        "hub",
        [sys.executable, "-m", "hapi", "hub", "--port", str(port)],
        environment,
        output=".printed",
    )
    program.ready(lambda: "Page:" in program.output)
    yield f"http://127.0.0.1:{port}"
    stage.end()


@pytest.fixture
def machine(stage, hub):
    return Installed(stage, hub)


class Load:
    """Callers that ask all the time, and one that tries to take the lock."""

    def __init__(self, machine: Installed, sessions: set[str]) -> None:
        self.machine, self.sessions = machine, sessions
        self.requests = self.probes = 0
        self.failed: list[str] = []
        self.over = threading.Event()
        self.port = machine.state()["httpPort"]
        self.threads = [threading.Thread(target=work) for work in (self.ask, self.ask, self.probe)]

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        for thread in self.threads:
            thread.join(30)

    def ask(self) -> None:
        while not self.over.wait(0.01):
            try:
                found = set(self.machine.listed())
                if found != self.sessions:
                    self.failed.append(f"listed {found}")
            except Exception as error:
                self.failed.append(f"{type(error).__name__}: {error}")
            self.requests += 1

    def probe(self) -> None:
        while not self.over.wait(0.001):
            self.probes += 1
            try:
                if not self.machine.home.npm_lock.read_text().isdigit():
                    self.failed.append("the npm lock holds no pid")
                with self.machine.home.runner_lock.open() as file:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                self.failed.append("the lock was free")
            except BlockingIOError:
                pass
            except OSError as error:
                self.failed.append(f"the lock: {error}")


def test_generations_under_load_lose_no_request_no_session_and_never_the_lock__G5_H09_H14(
    machine, capsys
):
    program = machine.run("--workspace-root", str(machine.stage.directory("work")))
    sessions = {machine.session() for _ in range(3)}
    pid, token = program.pid, machine.state()["controlToken"]
    with Load(machine, sessions) as load:
        for generation in range(GENERATIONS):
            machine.install(f"GENERATION = {generation}")
            old, pid = pid, machine.new_pid(pid)
            until(lambda old=old: not alive(old), what="the old runner to be gone")
            until(lambda: machine.look().get("current"), what="the new one to know its build")
    assert load.failed == []
    machine.assert_owned_by(pid)
    assert machine.state()["controlToken"] == token
    assert machine.look()["workspaceRoots"] == [str(machine.stage.path / "work")]
    assert program.exit_code() == 0
    for session in sessions:
        assert machine.stop(session) == "stopped"
    os.kill(pid, signal.SIGTERM)
    until(lambda: not alive(pid))
    machine.assert_left()
    with capsys.disabled():
        print(
            f" [{GENERATIONS} hand-offs, {load.requests} requests, "
            f"{load.probes} probes of the lock]",
            end="",
        )


BROKEN = {
    "exits": (IN_REPLACEMENT + "sys.exit(1)", "exited with code 1"),
    "raises": (IN_REPLACEMENT + "raise ImportError('half a copy')", "exited with code 1"),
    "is killed": (IN_REPLACEMENT + "os.kill(os.getpid(), 9)", "SIGKILL"),
    "drops an argument": (
        IN_REPLACEMENT + "del sys.argv[-2:]",
        "another arguments and workspace roots",
    ),
    "goes to another hub": (
        IN_REPLACEMENT + "os.environ['HAPI_API_URL'] = 'http://127.0.0.1:1'",
        "another hub",
    ),
    "has another token": (
        IN_REPLACEMENT + "os.environ['CLI_API_TOKEN'] = 'other'",
        "another identity at the hub",
    ),
    "changes under our eyes": (
        IN_REPLACEMENT + "open(__file__, 'a').write('# again')",
        "another build",
    ),
    "dies before the lock": (
        IN_REPLACEMENT + "os.environ['HAPI_TEST_AT'] = 'locking=SIGKILL'",
        "SIGKILL",
    ),
    "dies with the lock": (
        IN_REPLACEMENT + "os.environ['HAPI_TEST_AT'] = 'lock held=SIGKILL'",
        "SIGKILL",
    ),
    "dies after writing its pid": (
        IN_REPLACEMENT + "os.environ['HAPI_TEST_AT'] = 'state written=SIGKILL'",
        "SIGKILL",
    ),
    "dies while serving": (
        IN_REPLACEMENT + "os.environ['HAPI_TEST_AT'] = 'serving=SIGKILL'",
        "SIGKILL",
    ),
}
HANGING = {
    "hangs with a child": (IN_REPLACEMENT + "os.system('sleep 1000')", "within 3 s"),
    "hangs in the middle": (
        IN_REPLACEMENT + "os.environ['HAPI_TEST_AT'] = 'state written=SIGSTOP'",
        "within 3 s",
    ),
}


@pytest.mark.parametrize(
    ("kinds", "patience"), [(BROKEN, 60.0), (HANGING, 3.0)], ids=["failing", "hanging"]
)
def test_a_build_that_fails_changes_nothing__G6_H01_H02_H03_H04(machine, kinds, patience):
    program = machine.run(
        "--workspace-root", str(machine.stage.directory("work")), patience=patience
    )
    session = machine.session()
    for kind, (more, expected) in [*kinds.items()] * FAILURES:
        before = (machine.look()["handoff"]["lastFailure"] or {}).get("at")
        machine.install(more)

        def failed(before=before):
            failure = machine.look().get("handoff", {}).get("lastFailure") or {}
            return failure.get("at") != before and failure.get("reason")

        reason = until(failed, what=f"the build that {kind} to fail")
        machine.first.write_text(machine.good)
        assert expected in reason, kind
        until(machine.is_calm, what=f"calm after: {kind}")
        assert machine.look()["pid"] == program.pid
        machine.assert_owned_by(program.pid)
        assert set(machine.listed()) == {session}, kind
        left = [
            child.cmdline()
            for child in psutil.Process(program.pid).children()
            if str(SCRIPT) in " ".join(child.cmdline())
        ]
        assert left == [], kind
    until(lambda: machine.look()["hub"]["phase"] == "connected")
    assert machine.spawn()["success"]
    assert program.end() == 0
    machine.assert_left()


@pytest.mark.parametrize("step", ["locking", "lock held", "state written"])
def test_the_old_one_is_stopped_in_the_middle__H13_P01(machine, step):
    program = machine.run()
    session = machine.session()
    machine.install(IN_REPLACEMENT + f"os.environ['HAPI_TEST_AT'] = '{step}=SIGSTOP'")
    new = machine.child_of(program.pid)
    until(lambda: new.status() == psutil.STATUS_STOPPED)
    assert program.end(signal.SIGTERM) == 0
    until(lambda: not alive(new.pid))
    machine.assert_left()
    assert alive(machine.attempt(session).process.child.pid)


def test_the_new_one_is_stopped_in_the_middle__H13(machine):
    """It serves, and the old one has not let go yet: who stops it means the runner."""
    program = machine.run()
    machine.install(IN_REPLACEMENT + "os.environ['HAPI_TEST_AT'] = 'lock held=SIGSTOP'")
    new = machine.child_of(program.pid)
    until(lambda: new.status() == psutil.STATUS_STOPPED)
    new.send_signal(signal.SIGTERM)
    new.send_signal(signal.SIGCONT)
    code = program.exit_code(20)
    until(lambda: not alive(new.pid))
    if not machine.home.runner_state.exists():  # it was asked in time
        assert code == 0
        machine.assert_left()


def test_touched_files_start_nothing__H05(machine):
    program = machine.run()
    beat = machine.state().get("lastHeartbeat")  # none yet where starting was faster than the beat
    for path in machine.site.rglob("*.py"):
        os.utime(path)
    machine.first.write_text(machine.good)
    until(lambda: machine.state().get("lastHeartbeat") != beat, what="a beat or more")
    assert machine.look()["current"] is True
    assert machine.look()["pid"] == program.pid
    assert machine.look()["handoff"]["lastFailure"] is None


def test_a_runner_with_the_hand_off_off_stays_and_later_commands_leave_it__H08(machine):
    program = machine.run(HAPI_DISABLE_VERSION_HANDOFF="1")
    machine.install("GENERATION = 1")
    until(lambda: machine.look().get("current") is False)
    state = machine.state()
    assert (state["handoffDisabled"], state["startedWithVersionHandoffDisabled"]) == (True, True)
    beat = state.get("lastHeartbeat")
    until(lambda: machine.state().get("lastHeartbeat") != beat)
    started = machine.command("runner", "start")
    assert started.returncode == 0
    assert started.stdout.endswith(f"with this version and these flags (pid {program.pid})\n")
    shown = machine.command("runner", "status").stdout
    assert "outdated: another build is installed, HAPI_DISABLE_VERSION_HANDOFF=1" in shown
    assert machine.look()["pid"] == program.pid


def test_a_drifted_runner_is_replaced_by_runner_start(machine):
    machine.environment["HAPI_RUNNER_HEARTBEAT_INTERVAL"] = "600000"
    program = machine.run()
    assert not machine.state().get("handoffDisabled")
    session = machine.session()
    machine.install("GENERATION = 1")
    started = machine.command("runner", "start")
    assert started.returncode == 0, started
    assert program.exit_code() == 0
    assert machine.look()["current"] is True
    assert set(machine.listed()) == {session}


def test_a_supervised_runner_asks_for_a_restart_when_its_sessions_have_ended__H07_V02(machine):
    program = machine.run(HAPI_RUNNER_SUPERVISED="1")
    session = machine.session()
    machine.install("GENERATION = 1")
    waits = until(lambda: machine.look().get("handoff", {}).get("waitsFor"))
    assert "when its 1 live sessions have ended" in waits
    refused = machine.command("runner", "start")
    assert refused.returncode == 3
    assert "`hapi runner restart` has it restarted with the installed version" in refused.stderr
    assert machine.stop(session) == "stopped"
    assert program.exit_code() == 75
    machine.assert_left()


def test_systemd_is_told_the_new_main_process__H07(machine, tmp_path):
    address = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(address)
        systemd.settimeout(60)
        program = machine.run(NOTIFY_SOCKET=address, INVOCATION_ID="x")
        machine.install("GENERATION = 1")
        pid = machine.new_pid(program.pid)
        while f"MAINPID={pid}".encode() not in systemd.recv(4096).split(b"\n"):
            pass
        assert program.exit_code() == 0


def test_forged_words_are_a_normal_start__H12(machine):
    forged = {
        "HAPI_RUNNER_HANDOFF_FROM_PID": str(os.getpid()),
        "HAPI_RUNNER_HANDOFF_FDS": "0,1,2,3",
    }
    program = machine.run(**forged)
    machine.assert_owned_by(program.pid)
    session = machine.session()
    environment = psutil.Process(machine.attempt(session).process.child.pid).environ()
    assert not set(forged) & set(environment)
    assert program.end() == 0
    machine.assert_left()
