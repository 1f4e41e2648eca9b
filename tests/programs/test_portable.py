"""The runner on the portable process layer: Python's Linux-only names and all of /proc are gone."""

import os
import shutil
import signal
import subprocess
import sys

import psutil
import pytest

from tests.support.kills import running_hub
from tests.support.machine import OURS, Machine
from tests.support.paths import SUPPORT
from tests.support.programs import ROOT, Program, Stage, alive, until

pytestmark = pytest.mark.program
WITHOUT_LINUX = SUPPORT / "without_linux"

IMPORT_ALL = """
import importlib, os, pkgutil, sys
assert not hasattr(os, "O_PATH") and not os.path.exists("/proc/self/stat")
from hapi.process.kernel import choose_layer
assert choose_layer() == "portable"
import hapi
for module in pkgutil.walk_packages(hapi.__path__, "hapi."):
    if module.name != "hapi.__main__":
        importlib.import_module(module.name)
"""


class PortableMachine(Machine):
    """A home with a copy of the package that can be upgraded, without Linux's names."""

    def __init__(self, stage: Stage, hub: str = "http://127.0.0.1:1") -> None:
        super().__init__(stage, hub)
        self.site = stage.path / "site"
        for name in ("hapi", "twisted"):
            ignored = shutil.ignore_patterns("__pycache__", "dropin.cache")
            shutil.copytree(ROOT / name, self.site / name, ignore=ignored)
        self.environment |= {
            "PYTHONPATH": os.pathsep.join([str(WITHOUT_LINUX), str(self.site)]),
            "HAPI_RUNNER_HEARTBEAT_INTERVAL": "150",
        }

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "hapi", *words],
            env={**self.stage.base, **self.environment},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            cwd=self.stage.path,
        )


@pytest.fixture
def machine(stage):
    return PortableMachine(stage)


def test_every_module_can_be_imported_without_linux_names():
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(WITHOUT_LINUX), str(ROOT)])}
    subprocess.run([sys.executable, "-c", IMPORT_ALL], env=environment, timeout=60, check=True)


def test_sessions_start_are_listed_stopped_adopted_and_their_ends_are_known(machine):
    program = machine.start("hapi")
    first, second, third = (machine.session() for _ in range(3))
    assert set(machine.listed()) == {first, second, third}
    assert [process.boot_id[:9] for process in identities(machine, first)] == ["portable:"] * 2
    assert machine.stop(first) == "stopped"
    assert set(machine.listed()) == {second, third}

    program.end(signal.SIGKILL)
    after = machine.start("hapi")
    assert set(machine.listed()) == {second, third}

    pid = machine.attempt(second).process.child.pid
    os.kill(pid, signal.SIGKILL)
    until(lambda: set(machine.listed()) == {third}, what="the killed session to be noticed")
    assert machine.attempt(second).end.signal == "SIGKILL"

    assert machine.run("runner", "stop").returncode == 0
    assert after.exit_code() == 0
    assert alive(machine.attempt(third).process.child.pid)
    machine.start("hapi")
    assert machine.stop(third) == "stopped"


def test_what_leaves_its_parents_is_found_by_its_mark_and_ended(machine):
    machine.start("hapi")
    session = machine.session("brood")
    below = until(
        lambda: [each for each in of_attempt(machine, session) if each.ppid() == 1],
        what="a process that left its parents",
    )
    assert machine.stop(session) == "stopped"
    until(lambda: not any(alive(each.pid) for each in below))


def test_commands_reach_the_runner_and_its_unix_socket_knows_who_calls(machine):
    machine.start("hapi")
    machine.session()
    status = machine.run("runner", "status")
    assert status.returncode == 0, status.stderr
    assert "Callers of the control port cannot be looked up" not in logs(machine)
    listed = machine.run("runner", "list")
    assert listed.returncode == 0, listed.stderr
    checked = machine.run("doctor")
    assert "Traceback" not in checked.stdout + checked.stderr


def test_a_new_build_takes_over_with_all_sessions(on_stage, tmp_path):
    with running_hub(tmp_path / "hub") as hub:
        machine = PortableMachine(on_stage(Stage(tmp_path / "stage")), hub)
        program = start_registered(machine)
        sessions = {machine.session() for _ in range(2)}
        first = machine.site / "hapi/__init__.py"
        first.write_text(first.read_text() + "\nGENERATION = 2\n")
        until(lambda: machine.state().get("pid") not in (None, program.pid), 60)
        assert program.exit_code(30) == 0
        until(machine.answers)
        assert set(machine.listed()) == sessions
        for session in sessions:
            assert machine.stop(session) == "stopped"
        os.kill(machine.state()["pid"], signal.SIGTERM)
        until(lambda: not machine.home.runner_state.exists())


def start_registered(machine: PortableMachine) -> Program:
    program = machine.stage.start("runner", OURS, machine.environment)
    program.ready(lambda: machine.answers() and machine.post("/status").get("registered"))
    program.ready(lambda: machine.post("/status").get("current"))
    return program


def identities(machine: Machine, session: str) -> list:
    process = machine.attempt(session).process
    return [process.child, process.holder]


def of_attempt(machine: Machine, session: str) -> list[psutil.Process]:
    """The live processes that carry the mark of the session's attempt."""
    attempt, found = machine.attempt(session).id, []
    for process in psutil.process_iter():
        try:
            is_marked = process.environ().get("HAPI_ATTEMPT") == attempt
            if is_marked and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except psutil.Error:
            continue
    return found


def logs(machine: Machine) -> str:
    return "".join(path.read_text() for path in machine.home.logs.glob("*.log"))
