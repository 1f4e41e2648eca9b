"""The runner as a real program on strange machines: no descriptors left, other locales, networks
cut, callers from within."""

import contextlib
import json
import os
import resource
import signal
import subprocess
import time
from http.client import HTTPConnection, HTTPException
from pathlib import Path

import pytest

from hapi.attempts import attempts
from hapi.runner.storage.state_file import StateFile
from tests.support.machine import OURS, SESSION, Machine
from tests.support.programs import until

pytestmark = pytest.mark.program


@pytest.fixture
def machine(stage):
    return Machine(stage)


def events(machine, name):
    lines = machine.home.events.read_text().splitlines() if machine.home.events.exists() else []
    return [event for event in map(json.loads, lines) if event["event"] == name]


def lowest_free(pid: int) -> int:
    taken = {int(name) for name in os.listdir(f"/proc/{pid}/fd")}
    return next(number for number in range(len(taken) + 1) if number not in taken)


def use_up_descriptors(pid: int, hard: int) -> None:
    """Leave `pid` no descriptor to open. A descriptor that was open only for a moment lowers the
    limit again."""

    def is_used_up() -> bool:
        limit = lowest_free(pid)
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (limit, hard))
        time.sleep(0.3)  # longer than a refused connection to the hub lives
        return lowest_free(pid) == limit

    until(is_used_up, what="no descriptor to be free")


def test_without_free_descriptors_a_start_is_refused_and_callers_are_served_again_later__X09(
    machine,
):
    runner = machine.start()
    session = machine.session()
    with contextlib.closing(
        HTTPConnection("127.0.0.1", machine.state()["httpPort"], timeout=60)
    ) as kept:
        kept.request("POST", "/list", "{}", {"Content-Type": "application/json"})
        assert kept.getresponse().read()
        soft, hard = resource.prlimit(runner.pid, resource.RLIMIT_NOFILE)
        use_up_descriptors(runner.pid, hard)
        body = json.dumps({"directory": str(machine.stage.path / "work/plain-more")})
        kept.request("POST", "/spawn-session", body, {"Content-Type": "application/json"})
        answer = json.loads(kept.getresponse().read())
    assert answer["success"] is False
    assert "Too many open files" in answer["error"]
    with contextlib.suppress(
        OSError, ValueError, HTTPException
    ):  # taken and closed at once, or left to wait
        machine.post("/status", timeout=2.0)
    resource.prlimit(runner.pid, resource.RLIMIT_NOFILE, (soft, hard))
    until(machine.answers)
    assert set(machine.listed()) == {session}
    assert machine.session("plain-again")


def test_a_spawn_asked_for_from_within_a_session_is_recorded_with_that_session__X18(machine):
    machine.start()
    session = machine.session("asks-spawn")
    until(lambda: len(events(machine, "spawn")) == 2)
    first, second = events(machine, "spawn")
    assert first["actor"] == f"control: pid {os.getpid()}"
    assert second["actor"].startswith("control: pid ")
    assert second["actor"].endswith(f", session {session}")


def test_a_stop_of_the_runner_from_within_a_session_is_recorded_with_that_session__X18(machine):
    runner = machine.start()
    session = machine.session("asks-stop")
    assert runner.exit_code(60) == 0
    (asked,) = events(machine, "stop-runner-asked")
    assert asked["actor"].startswith("control: pid ")
    assert asked["actor"].endswith(f", session {session}")


def test_a_session_may_not_control_its_runner_where_the_settings_forbid_it__X18(machine):
    (machine.home.path / "settings.json").write_text(json.dumps({"sessionsMayControl": False}))
    runner = machine.start()
    session = machine.session("asks-stop")
    refused = until(lambda: events(machine, "control-refused"))
    assert (refused[0]["session"], refused[0]["actor"][:12]) == (session, "control: pid")
    assert runner.running
    assert set(machine.listed()) == {session}  # it may look, and others may do all
    assert machine.stop(session) == "stopped"


def test_the_runner_works_in_any_locale_and_time_zone_and_logs_in_utc__M05(machine):
    program = machine.start("hapi", LC_ALL="C", TZ="Pacific/Kiritimati")
    session = machine.session("plain-\u00fc\u4e2d")
    assert machine.attempt(session).request.cwd.endswith("plain-\u00fc\u4e2d")
    assert program.end() == 0
    (log,) = machine.home.logs.glob("*-runner.log")
    assert all(json.loads(line)["time"].endswith("Z") for line in log.read_text().splitlines())
    began = events(machine, "runner-started")[0]["time"]
    assert abs(began - log.stat().st_mtime) < 3600  # not the fourteen hours of that zone


def test_a_root_whose_name_is_no_utf8_is_one_sentence__M05(machine):
    root = os.fsencode(machine.stage.directory("work")) + b"/ro\xfft"
    os.mkdir(root)
    output = machine.stage.path / "refused.log"
    with output.open("wb") as file:
        argv = [*OURS, b"--workspace-root", root]
        environment = machine.stage.base | machine.environment | {"LC_ALL": "C"}
        done = subprocess.run(
            argv,
            check=False,
            env=environment,
            cwd=machine.stage.path,
            stdout=file,
            stderr=file,
            timeout=60,
        )
    assert done.returncode == 1
    assert "UTF-8" in output.read_text()
    assert "Traceback" not in output.read_text()
    assert StateFile(machine.home).read() is None


APART = ["unshare", "--user", "--map-root-user", "--net"]


def can_be_apart() -> bool:
    try:
        return (
            subprocess.run(
                [*APART, "true"], check=False, capture_output=True, timeout=20
            ).returncode
            == 0
        )
    except OSError:
        return False


@pytest.mark.skipif(not can_be_apart(), reason="no namespaces may be made here")
def test_a_session_in_another_network_is_ended_when_its_lease_expires_and_the_start_refused__M07(
    machine,
):
    Path(machine.environment["HAPI_CLI_EXECUTABLE"]).write_text(
        f'#!/bin/sh\nexec {" ".join(APART)} {SESSION} "$@"\n'
    )
    machine.start(HAPI_RUNNER_WEBHOOK_TIMEOUT_MS="1500")
    answer = machine.spawn("cut")
    assert answer["success"] is False
    assert "webhook timeout" in answer["error"]
    (folder,) = attempts(machine.home)
    until(lambda: folder.end is not None)
    assert folder.stop.reason == "Start timed out"


def test_a_runner_that_was_stopped_for_a_while_goes_on_with_its_sessions__P05(machine):
    runner = machine.start()
    session = machine.session()
    os.kill(runner.pid, signal.SIGSTOP)
    try:
        until(
            lambda: (
                Path(f"/proc/{runner.pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"
            )
        )
    finally:
        os.kill(runner.pid, signal.SIGCONT)
    assert set(machine.listed()) == {session}
    assert machine.session("plain-after")
