"""Sessions in control groups of their own, seen from outside: a runner with a systemd beside it,
made up or real."""

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.machine import Machine
from tests.support.programs import until

pytestmark = pytest.mark.program

# Stands in for systemd-run: writes down its words and becomes the command.
FAKE = """#!/bin/sh
echo "$@" >> {place}/asked
while [ "$1" != -- ]; do shift; done
shift
exec "$@"
"""


@pytest.fixture
def machine(stage):
    return Machine(stage)


@pytest.fixture
def around(stage):
    """Variables of a user whose systemd is there, as far as a runner can see."""
    place = stage.directory("systemd")
    (place / "systemd-run").write_text(FAKE.format(place=place))
    (place / "systemd-run").chmod(0o755)
    (place / "systemd").mkdir()
    (place / "systemd/private").touch()
    return {"XDG_RUNTIME_DIR": str(place), "PATH": f"{place}:{os.environ['PATH']}"}


@pytest.mark.parametrize("mode", ["hapi", "twistd"])
def test_a_session_with_a_limit_of_memory_is_started_through_systemd__V01_P10(
    machine, around, mode
):
    machine.start(mode, "--session-memory", "1G", **around)
    session = machine.session()
    (words,) = (Path(around["XDG_RUNTIME_DIR"]) / "asked").read_text().splitlines()
    assert words.startswith("--user --scope --quiet --collect --unit=hapi-session-")
    assert f"-p MemoryMax={1 << 30} " in words
    status = machine.post("/status")
    assert status["sessionMemory"] == 1 << 30
    assert any(
        "systemd made no scope" in sentence for sentence in status["warnings"]
    )  # it looks, and that one made none
    assert machine.stop(session) == "stopped"
    assert machine.attempt(session).end is not None


def test_without_systemd_a_session_runs_under_its_resource_limits_and_status_warns_of_it__V01(
    machine,
):
    machine.start(
        "hapi", "--session-memory", "1G", XDG_RUNTIME_DIR="/nowhere", PATH=os.environ["PATH"]
    )
    session = machine.session()
    status = machine.post("/status")
    assert not status["sessionScopes"]
    assert any("resource limits" in sentence for sentence in status["warnings"])
    assert machine.stop(session) == "stopped"


def test_a_runner_with_another_limit_is_another_runner(machine, around):
    environment = {**machine.stage.base, **machine.environment, **around}
    begin = [
        sys.executable,
        "-m",
        "hapi",
        "runner",
        "start",
        "--wait",
        "api-only",
        "--timeout",
        "50",
    ]

    def start(*flags):
        done = subprocess.run(
            [*begin, *flags],
            env=environment,
            capture_output=True,
            text=True,
            timeout=90,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    start("--session-memory", "1G")
    assert start("--session-memory", "1024M").startswith("The runner is already running")
    assert start("--session-memory", "2G").startswith("Replacing")
    os.kill(machine.state()["pid"], signal.SIGTERM)
    until(lambda: not machine.home.runner_state.exists(), what="the end of the runner")


def managed(*words: str) -> bool:
    """Whether the user's systemd does that."""
    done = subprocess.run(
        ["systemd-run", "--user", "--quiet", *words],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return done.returncode == 0


@pytest.fixture
def unit(machine):
    """A name for a unit of the user's systemd, which is stopped in the end."""
    if shutil.which("systemd-run") is None or not managed("--scope", "--collect", "--", "true"):
        pytest.skip("no systemd of a user here that makes scopes")
    name = f"hapi-test-{os.getpid()}"
    yield name
    subprocess.run(
        ["systemctl", "--user", "stop", name], capture_output=True, timeout=60, check=False
    )


def test_a_real_systemd_that_ends_everything_of_a_unit_leaves_the_sessions_alone__V01(
    machine, unit
):
    variables = [
        f"--setenv={name}={value}"
        for name, value in {**machine.environment, "PATH": os.environ["PATH"]}.items()
    ]
    service = [
        "--service-type=notify",
        "--property=KillMode=control-group",
        "--collect",
        *variables,
    ]
    runner = [sys.executable, "-m", "hapi", "runner", "start-sync"]
    assert managed(f"--unit={unit}", f"--working-directory={machine.stage.path}", *service, *runner)
    session = machine.session()
    assert machine.post("/status")["sessionScopes"]
    assert machine.post("/status")["warnings"] == []
    pid = machine.listed()[session]["pid"]
    subprocess.run(["systemctl", "--user", "stop", unit], check=True, timeout=60)
    assert not machine.home.runner_state.exists()
    os.kill(pid, 0)  # it lives
    machine.start("hapi")
    assert machine.listed()[session]["pid"] == pid
    assert machine.stop(session) == "stopped"
