"""No command ends a working runner before the installed build has proven that it starts: restarts
and starts with builds that are broken, with a real runner and hub."""

import json
import shutil
import signal
import socket
import sys
from pathlib import Path

import psutil
import pytest

from hapi.protocol.attempt import AttemptReport
from tests.support.machine import MODES, TWISTD
from tests.support.programs import CANARY, ROOT, Stage, alive, free_port, until
from tests.support.restart_machine import (
    IN_THE_REAL_HOME,
    SCRIPT,
    Installed,
    change_service,
    is_runner,
    restart_by_the_page,
)

pytestmark = pytest.mark.program
SYNTAX_ERROR = "def broken(:\n    pass\n"
BROKEN = {  # file of the package → what is put at its end
    "the service": ("runner/service.py", SYNTAX_ERROR),
    "the hub's client": ("net/client/hub_client.py", SYNTAX_ERROR),
    "an import": ("runner/sessions.py", "import module_that_is_missing\n"),
}


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


@pytest.fixture
def quiet_machine(machine):
    """Its runner sees no other build by itself."""
    machine.environment["HAPI_RUNNER_HEARTBEAT_INTERVAL"] = "600000"
    return machine


def break_build(machine, kind):
    name, more = BROKEN[kind]
    path = machine.site / "hapi" / name
    path.write_text(f"{path.read_text()}\n{more}")
    return path


@pytest.mark.parametrize("kind", BROKEN)
@pytest.mark.parametrize("words", [["restart"], ["start"]], ids=["restart", "start"])
def test_a_broken_build_ends_no_runner_whatever_command_is_given(quiet_machine, kind, words):
    machine = quiet_machine
    program = machine.run()
    session = machine.session()
    path = break_build(machine, kind)
    done = machine.command("runner", *words)
    assert done.returncode == 1, done
    assert f"the runner (pid {program.pid}) was left running" in done.stderr
    assert path.name in done.stderr or "module_that_is_missing" in done.stderr
    output = Path(done.stderr.rpartition("see ")[2].strip())
    assert "Error" in output.read_text()
    assert alive(program.pid)
    journal = map(json.loads, machine.command("runner", "events", "--json").stdout.splitlines())
    (told,) = (line for line in journal if line["event"] == "trial-start-failed")
    assert told["output"] == str(output)
    assert told["reason"] in done.stderr
    status = machine.look()
    assert status["handoff"]["lastFailure"]["reason"] == told["reason"]
    assert machine.command("doctor").returncode == 1
    assert (status["pid"], status["admission"]["accepting"]) == (program.pid, True)
    assert set(machine.listed()) == {session}
    assert list(machine.home.path.glob(".trial-*")) == []
    machine.assert_owned_by(program.pid)


def test_a_working_build_replaces_the_runner_and_no_trial_is_left(quiet_machine):
    machine = quiet_machine
    program = machine.run()
    machine.install("GENERATION = 1")
    done = machine.command("runner", "restart")
    assert done.returncode == 0, done
    assert not alive(program.pid)
    status = machine.look()
    assert status["current"] is True
    assert list(machine.home.path.glob(".trial-*")) == []
    assert list(machine.home.logs.glob("*-trial.out")) == []


DIES = "os._exit(9)"
LOADS = """
import os
if "/.trial-" not in os.environ["HAPI_HOME"]:
    raise RuntimeError("only in the real home")
"""


@pytest.mark.parametrize("at", ["load", "locking", "state written", "registered"])
@pytest.mark.parametrize("words", [["restart"], ["start"]], ids=["restart", "start"])
def test_a_build_that_dies_only_in_the_real_home_leaves_the_old_runner_online__H01_H02(
    quiet_machine, words, at
):
    machine = quiet_machine
    program = machine.run()
    session = machine.session()
    change_service(machine, LOADS if at == "load" else IN_THE_REAL_HOME.format(at=at, act=DIES))
    done = machine.command("runner", *words)
    assert done.returncode == 1, done
    kept = f"the runner (pid {program.pid}) was left running, because the installed version does "
    assert kept in done.stderr
    assert "RuntimeError: only in the real home" in done.stderr
    output = Path(done.stderr.rpartition("see ")[2].strip())
    assert "only in the real home" in output.read_text()
    status = machine.look()
    assert (status["pid"], status["admission"]["accepting"]) == (program.pid, True)
    assert status["handoff"]["lastFailure"]["output"] == str(output)
    until(lambda: machine.look()["hub"]["phase"] == "connected", what="the machine to be online")
    assert set(machine.listed()) == {session}
    machine.assert_owned_by(program.pid)
    change_service(machine, "")
    mended = machine.command("runner", "restart")
    assert mended.returncode == 0, mended
    assert not alive(program.pid)
    machine.assert_owned_by(machine.look()["pid"])
    assert set(machine.listed()) == {session}


def test_the_button_of_the_page_replaces_a_runner_that_nothing_would_start_again(
    quiet_machine, hub
):
    machine = quiet_machine
    program = machine.run("--max-sessions", "7")
    session = machine.session()
    machine.install("GENERATION = 1")
    assert restart_by_the_page(hub, machine) == {"message": "The runner has been restarted"}
    until(lambda: not alive(program.pid), what="the old runner to exit")
    status = machine.look()
    assert (status["current"], status["registered"]) == (True, True)
    assert status["admission"]["maxSessions"] == 7
    assert set(machine.listed()) == {session}
    machine.assert_owned_by(status["pid"])


@pytest.mark.parametrize("at", ["load", "registered"])
def test_the_page_is_told_why_the_old_runner_keeps_running__H01(quiet_machine, hub, at):
    machine = quiet_machine
    program = machine.run()
    session = machine.session()
    change_service(machine, LOADS if at == "load" else IN_THE_REAL_HOME.format(at=at, act=DIES))
    refused = restart_by_the_page(hub, machine)
    assert refused["code"] == "restart_failed"
    assert "The runner keeps running, because the installed version does not" in refused["error"]
    assert "RuntimeError: only in the real home" in refused["error"]
    until(lambda: machine.look()["hub"]["phase"] == "connected", what="the machine to be online")
    assert set(machine.listed()) == {session}
    machine.assert_owned_by(program.pid)


@pytest.mark.parametrize(
    ("mode", "owner"),
    [("embedded", "the program that it is part of"), ("twistd", "twistd")],
)
def test_a_runner_that_only_its_program_can_start_ends_for_no_restart(
    quiet_machine, hub, mode, owner
):
    machine = quiet_machine
    program = machine.run(argv=MODES[mode])
    refused = restart_by_the_page(hub, machine)
    assert refused["error"] == f"The runner keeps running, because only {owner} may restart it"
    for words in (["restart"], ["start", "--max-sessions", "3"]):
        done = machine.command("runner", *words)
        told = f"hapi: the runner (pid {program.pid}) can only be restarted by {owner}\n"
        assert (done.returncode, done.stderr) == (3, told)
    assert program.running
    assert (machine.look()["pid"], machine.look()["admission"]["accepting"]) == (program.pid, True)


def test_other_flags_take_over_from_the_runner_that_has_none(quiet_machine):
    machine = quiet_machine
    program = machine.run()
    work = str(machine.stage.directory("work"))
    done = machine.command("runner", "start", "--workspace-root", work)
    assert done.returncode == 0, done
    assert f"Replacing the running runner (pid {program.pid}, " in done.stdout
    assert not alive(program.pid)
    status = machine.look()
    assert (status["workspaceRoots"], status["registered"]) == ([work], True)
    journal = machine.command("runner", "events", "--json").stdout.splitlines()
    assert any(json.loads(line)["event"] == "handoff-done" for line in journal)


@pytest.mark.parametrize("at", ["locking", "state written", "registered"])
@pytest.mark.parametrize("whom", ["old", "command"])
def test_whoever_is_killed_while_a_restart_hands_over_one_runner_serves__H13(
    quiet_machine, whom, at
):
    machine = quiet_machine
    program = machine.run()
    act = f"open({str(machine.stage.path / 'here')!r}, 'w').close(); os.kill(os.getpid(), 19)"
    change_service(machine, IN_THE_REAL_HOME.format(at=at, act=act))
    argv = [sys.executable, "-m", "hapi", "runner", "restart", "--no-wait"]
    restart = machine.stage.start("restart", argv, machine.environment)
    until((machine.stage.path / "here").exists, what="the replacement at that step")
    (new,) = (child.pid for child in psutil.Process(program.pid).children() if is_runner(child))
    if whom == "old":
        program.end(signal.SIGKILL)
    else:
        restart.end(signal.SIGINT)
        assert f"interrupted: process {new} goes on to replace the runner" in restart.output
    until(lambda: psutil.Process(new).status() == psutil.STATUS_STOPPED, what="its stop")
    psutil.Process(new).resume()
    until(lambda: machine.look().get("pid") == new, what="the new runner to serve")
    until(lambda: machine.look()["handoff"]["underWay"] is False, what="the hand-off to end")
    if whom == "old":
        assert restart.exit_code(60) == 0, restart.output
    until(lambda: not alive(program.pid), what="the old runner to exit")
    machine.assert_owned_by(new)


@pytest.mark.parametrize("how", ["SIGKILL", "SIGTERM"])
def test_a_replacement_that_is_ended_while_a_restart_hands_over_is_told_of__H13(quiet_machine, how):
    machine = quiet_machine
    program = machine.run()
    number = int(signal.Signals[how])
    act = f"os.kill(os.getpid(), {number})"
    change_service(machine, IN_THE_REAL_HOME.format(at="state written", act=act))
    done = machine.command("runner", "restart")
    assert done.returncode == 1, done
    if how == "SIGKILL":
        assert "was ended by SIGKILL: RuntimeError: only in the real home" in done.stderr
        assert machine.look()["pid"] == program.pid
    else:  # somebody meant the runner
        assert "have both exited; `hapi runner events` shows why" in done.stderr
        machine.assert_left()


def failure_of(machine):
    return until(
        lambda: machine.look().get("handoff", {}).get("lastFailure"), what="the upgrade to fail"
    )


def test_why_a_hand_off_failed_is_told_everywhere_with_the_file_of_its_output__H01(machine):
    program = machine.run()
    path = break_build(machine, "the service")
    failure = failure_of(machine)
    assert "exited with code 1" in failure["reason"]
    assert "runner/service.py" in failure["reason"]
    assert "SyntaxError" in failure["reason"]
    assert "SyntaxError" in Path(failure["output"]).read_text()
    shown = machine.command("runner", "status").stdout
    assert f"SyntaxError: invalid syntax (output: {failure['output']})" in shown
    doctor = machine.command("doctor")
    assert doctor.returncode == 1
    assert "the installed version does not start: the replacement exited" in doctor.stdout
    journal = machine.command("runner", "events", "--json").stdout.splitlines()
    (failed, *_) = (line for line in map(json.loads, journal) if line["event"] == "handoff-failed")
    assert (failed["reason"], failed["output"]) == (failure["reason"], failure["output"])
    assert "hapi_runner_upgrade_failure_timestamp_seconds{" in machine.figures()
    path.write_text(path.read_text().replace(SYNTAX_ERROR, "GENERATION = 1\n"))
    # A replacement that was started before the repair is ended, and the next one takes over.
    assert program.exit_code(60) == 0
    new = machine.look()["pid"]
    # Its output has gone to a file during the hand-off and now goes where that of the old one went.
    until(lambda: program.output.count("Hapi runner started.") == 2, what="the output to be moved")
    assert alive(new)


IMPATIENT_TWISTD = """
from hapi.runner.handoff import upgrade
upgrade.CONFIRM_DELAY, upgrade.FAILURE_DELAY, upgrade.MAX_TRIES = 0.2, 1.5, 1000
from twisted.scripts.twistd import run
run()
"""
SUPERVISED = {
    "start-sync": [sys.executable, str(SCRIPT), "30", "runner", "start-sync"],
    "twistd": [sys.executable, "-c", IMPATIENT_TWISTD, *TWISTD[3:]],
}


@pytest.mark.parametrize("mode", SUPERVISED)
def test_a_supervised_runner_leaves_for_no_build_that_does_not_start__H01_V02(machine, mode):
    program = machine.run(argv=SUPERVISED[mode], HAPI_RUNNER_SUPERVISED="1")
    path = break_build(machine, "the service")
    failure = failure_of(machine)
    assert "SyntaxError" in failure["reason"]
    assert program.running
    assert machine.look()["pid"] == program.pid
    path.write_text(path.read_text().replace(SYNTAX_ERROR, "GENERATION = 1\n"))
    assert program.exit_code(60) == 75
    assert list(machine.home.path.glob(".trial-*")) == []


@pytest.fixture
def supervisor(machine):
    """A real supervisord that keeps the runner of `machine`."""
    pytest.importorskip(
        "supervisor", reason="supervisord is not installed (pip install supervisor)"
    )
    config = machine.stage.path / "supervisord.conf"
    config.write_text(
        f"""
[supervisord]
nodaemon=true
logfile={machine.stage.path}/supervisord.log
pidfile={machine.stage.path}/supervisord.pid
[program:hapi-runner]
command={" ".join(SUPERVISED["start-sync"])}
environment=HAPI_RUNNER_SUPERVISED="1"
autorestart=unexpected
exitcodes=0,2,3,4
startsecs=0
stopwaitsecs=20
stdout_logfile={machine.stage.path}/runner.out
redirect_stderr=true
"""
    )
    argv = [sys.executable, "-m", "supervisor.supervisord", "-c", str(config)]
    return machine.stage.start("supervisord", argv, machine.environment)


def test_supervisord_restarts_no_runner_into_a_build_that_does_not_start__H01_V02(
    machine, hub, supervisor
):
    first = supervisor.ready(lambda: machine.look().get("registered") and machine.look()["pid"])
    path = break_build(machine, "the service")
    assert "SyntaxError" in failure_of(machine)["reason"]
    refused = restart_by_the_page(hub, machine)
    assert "The runner keeps running, because the installed version does not" in refused["error"]
    assert machine.look()["pid"] == first
    assert "exited" not in (machine.stage.path / "supervisord.log").read_text()
    path.write_text(path.read_text().replace(SYNTAX_ERROR, "GENERATION = 1\n"))
    second = machine.new_pid(first)
    assert machine.look()["current"] is True
    until(lambda: machine.look().get("registered"))
    assert "message" in restart_by_the_page(hub, machine)
    machine.new_pid(second)


@pytest.mark.parametrize("how", ["SIGINT", "SIGTERM", "SIGKILL"])
def test_an_interrupted_restart_leaves_no_drained_runner(quiet_machine, how):
    machine = quiet_machine
    program = machine.run()
    session = machine.session()
    machine.attempt(session).report = AttemptReport(at=1.0, ready=True, turn_since=1.0)
    argv = [sys.executable, "-m", "hapi", "runner", "restart"]
    restart = machine.stage.start("restart", argv, machine.environment)
    waits = f"Waiting for running turns to end: {session} ("
    restart.ready(lambda: waits in restart.output)
    assert machine.look()["admission"]["accepting"] is False
    code = restart.end(signal.Signals[how])
    until(lambda: machine.look()["admission"]["accepting"], what="sessions to be accepted")
    if how != "SIGKILL":
        assert code == 130
        assert restart.output.endswith("hapi: interrupted: the runner was not restarted\n")
    assert machine.look()["pid"] == program.pid


def test_two_restarts_at_once_both_end_with_the_new_runner(quiet_machine):
    machine = quiet_machine
    program = machine.run()
    session = machine.session()
    attempt = machine.attempt(session)
    attempt.report = AttemptReport(at=1.0, ready=True, turn_since=1.0)
    argv = [sys.executable, "-m", "hapi", "runner", "restart"]
    restarts = [
        machine.stage.start(f"restart-{number}", argv, machine.environment) for number in (1, 2)
    ]
    for restart in restarts:
        restart.ready(lambda restart=restart: "Waiting for running turns" in restart.output)
    attempt.report = AttemptReport(at=2.0, ready=True)
    codes = [restart.exit_code(90) for restart in restarts]
    assert codes == [0, 0], [restart.output for restart in restarts]
    assert machine.look()["pid"] != program.pid
    machine.assert_owned_by(machine.look()["pid"])


def catches_sigterm(pid):
    """Whether the process has got as far as its reactor: Python alone does not catch it."""
    status = Path(f"/proc/{pid}/status").read_text()
    (caught,) = [line.split()[1] for line in status.splitlines() if line.startswith("SigCgt")]
    return bool(int(caught, 16) >> signal.SIGTERM - 1 & 1)


def has_connection(pid):
    return bool(psutil.Process(pid).net_connections("unix"))


@pytest.mark.parametrize("how", ["SIGINT", "SIGTERM"])
def test_a_restart_that_is_interrupted_before_the_runner_answers_says_so(quiet_machine, how):
    machine = quiet_machine
    program = machine.run()
    program.process.send_signal(signal.SIGSTOP)
    argv = [sys.executable, "-m", "hapi", "runner", "restart", "--no-wait"]
    restart = machine.stage.start("restart", argv, machine.environment)
    until(lambda: catches_sigterm(restart.pid) and has_connection(restart.pid), what="its request")
    code = restart.end(signal.Signals[how])
    program.process.send_signal(signal.SIGCONT)
    assert (code, restart.output) == (130, "hapi: interrupted: the runner was not restarted\n")
    assert machine.look()["pid"] == program.pid


@pytest.mark.parametrize("how", ["SIGKILL", "SIGINT", "SIGTERM"])
def test_a_trial_start_ends_with_the_command_that_is_ended(quiet_machine, how):
    machine = quiet_machine
    program = machine.run()
    (machine.site / "hapi/runner/sessions.py").write_text("import time\ntime.sleep(1000)\n")
    argv = [sys.executable, "-m", "hapi", "runner", "restart"]
    restart = machine.stage.start("restart", argv, machine.environment)
    trial = until(lambda: psutil.Process(restart.pid).children(), what="the trial start")[0]
    until(lambda: list(machine.home.path.glob(".trial-*")), what="its directory")
    code = restart.end(signal.Signals[how])
    until(lambda: not alive(trial.pid), what="the trial start to end")
    if how != "SIGKILL":
        assert code == 130
        assert f"hapi: interrupted: the runner (pid {program.pid}) runs on" in restart.output
        assert list(machine.home.path.glob(".trial-*")) == []
    assert machine.look()["pid"] == program.pid
    shutil.copy(ROOT / "hapi/runner/sessions.py", machine.site / "hapi/runner/sessions.py")
    assert machine.command("runner", "restart").returncode == 0
    assert list(machine.home.path.glob(".trial-*")) == []


def test_the_command_has_supervisord_restart_the_runner_after_a_trial_start__H01_V02(
    quiet_machine, supervisor
):
    machine = quiet_machine
    first = supervisor.ready(lambda: machine.look().get("registered") and machine.look()["pid"])
    path = break_build(machine, "the service")
    refused = machine.command("runner", "restart")
    assert refused.returncode == 1, refused
    assert f"the runner (pid {first}) was left running, because the installed" in refused.stderr
    assert "SyntaxError" in refused.stderr
    assert machine.look()["pid"] == first
    assert machine.look()["admission"]["accepting"] is True
    path.write_text(path.read_text().replace(SYNTAX_ERROR, "GENERATION = 1\n"))
    done = machine.command("runner", "restart")
    assert done.returncode == 0, done
    second = machine.look()["pid"]
    assert second != first
    assert done.stdout.endswith(f"Runner restarted (pid {second})\n")
    assert "exit status 75" in (machine.stage.path / "supervisord.log").read_text()


def test_systemd_hears_nothing_of_a_trial_start_and_restarts_no_runner_into_a_broken_build__H07_V02(
    quiet_machine, tmp_path
):
    machine, address = quiet_machine, str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(address)
        systemd.setblocking(False)
        program = machine.run(NOTIFY_SOCKET=address, INVOCATION_ID="x")
        path = break_build(machine, "the service")
        refused = machine.command("runner", "restart")
        assert refused.returncode == 1, refused
        assert "SyntaxError" in refused.stderr
        assert program.running
        path.write_text(path.read_text().replace(SYNTAX_ERROR, "GENERATION = 1\n"))
        restart = machine.stage.start(
            "restart", [sys.executable, "-m", "hapi", "runner", "restart"], machine.environment
        )
        assert program.exit_code(60) == 75
        restart.end(signal.SIGKILL)  # no systemd is here that would start the next one
        heard = b"\n".join(iter(lambda: received(systemd), b""))
    assert heard.count(b"READY=1") == 1
    assert heard.count(b"STOPPING=1") == 1
    assert b"MAINPID=" not in heard


def received(systemd):
    try:
        return systemd.recv(4096)
    except BlockingIOError:
        return b""
