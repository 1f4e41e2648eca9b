"""The runner as a real program on a disk whose fsync takes as long as the test wants."""

import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from hapi.attempts import attempts
from tests.support.machine import MODES, Machine
from tests.support.paths import SUPPORT
from tests.support.programs import Program, until

pytestmark = pytest.mark.program

PROGRAM = str(SUPPORT / "slow_disk.py")


@pytest.fixture
def gate(stage):
    """While this file is there, nothing is synced."""
    return stage.path / "slow"


@pytest.fixture
def machine(stage):
    return Machine(stage)


@pytest.fixture
def runner(machine, gate, monkeypatch) -> Program:
    monkeypatch.setitem(MODES, "slow", [sys.executable, PROGRAM, "runner", "start-sync"])
    return machine.start("slow", SLOW_DISK=str(gate), HAPI_RUNNER_HEARTBEAT_INTERVAL="50")


def beat_waits(machine: Machine) -> bool:
    """Its state is written, and not synced."""
    return any(machine.home.path.glob(f".{machine.home.runner_state.name}.*"))


def test_while_the_disk_syncs_everybody_is_answered_who_does_not_need_it__S12(
    runner, machine, gate
):
    session = machine.session()
    folder = machine.attempt(session)
    gate.touch()
    before = attempts(machine.home)
    until(lambda: beat_waits(machine))
    with ThreadPoolExecutor() as callers:
        stop, spawn = callers.submit(machine.stop, session), callers.submit(machine.session)
        for _ in range(20):
            assert session in machine.listed(), (
                "nobody is signalled before the reason is on the disk"
            )
        assert folder.stop is None
        assert attempts(machine.home) == before, (
            "nothing is launched before it is on the disk that it will be"
        )
        assert not stop.done()
        assert not spawn.done()
        gate.unlink()
        assert stop.result() == "stopped"
        started = spawn.result()
    assert list(machine.listed()) == [started]
    beats = machine.post("/status")["beats"]
    until(lambda: machine.post("/status")["beats"] > beats, what="the next beat")
    assert machine.stop(started) == "stopped"


def test_a_runner_leaves_while_the_disk_syncs__S12_P01(runner, machine, gate):
    gate.touch()
    until(lambda: beat_waits(machine))
    assert runner.end() == 0
    assert not machine.home.runner_state.exists()
    assert not machine.home.npm_lock.exists()
