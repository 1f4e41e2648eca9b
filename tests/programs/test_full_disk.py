"""The runner on a disk that is full for a while: what could not be kept is told, and is kept as
soon as there is space."""

import json
import os
import sys

import pytest

from hapi.runner.storage.state_file import StateFile
from tests.support.disk_small import fill, mount_small_disk, unmount
from tests.support.machine import OURS, Machine
from tests.support.programs import until

pytestmark = pytest.mark.program
PAGE = 4096  # bytes that a file takes at least
SOON = 15.0  # seconds; the runner tries every two seconds, its heartbeat comes once a minute


@pytest.fixture
def machine(stage):
    place = stage.path / "home"
    mount_small_disk(place, "4m")
    yield Machine(stage)
    stage.end()
    unmount(place)


def hapi(machine, *words):
    """Exit code and output of a command."""
    machine.count += 1
    program = machine.stage.start(
        f"command-{machine.count}", [sys.executable, "-m", "hapi", *words], machine.environment
    )
    return program.exit_code(120), program.output


def status(machine):
    code, output = hapi(machine, "runner", "status", "--json")
    return json.loads(output) if code == 0 else {}


def events(machine, name):
    lines = machine.home.events.read_text().splitlines()
    return [event for event in map(json.loads, lines) if event["event"] == name]


def test_an_order_to_drain_that_cannot_be_saved_is_an_error_and_is_saved_later__S02(machine):
    runner = machine.start("hapi")
    filler = fill(machine.home.path)
    code, output = hapi(machine, "runner", "drain")
    assert code == 1
    assert "No space left on device. The next runner will not be drained" in output
    assert "No space left on device" in status(machine)["trouble"]
    filler.unlink()
    until(machine.home.runner_drained.exists, SOON)
    until(lambda: status(machine)["trouble"] is None, SOON)
    assert len(events(machine, "drain")) == 1
    assert hapi(machine, "runner", "drain")[0] == 0
    runner.end()
    machine.start("hapi")
    assert status(machine)["admission"]["accepting"] is False
    assert hapi(machine, "runner", "resume")[0] == 0


def start_with_too_little_space(machine, filler):
    """A runner whose disk had room for its lock files alone: without these, it does not start."""
    for number in range(1, 9):
        os.truncate(filler, filler.stat().st_size - PAGE)
        runner = machine.stage.start(f"full-{number}", OURS, machine.environment)
        until(lambda: not runner.running or status(machine).get("phase") == "serving")  # noqa: B023
        if runner.running:
            return runner
        assert runner.process.returncode == 1
        assert "No space left on device" in runner.output
        assert "Traceback" not in runner.output
        fill(machine.home.path)
        os.truncate(filler, filler.stat().st_size - number * PAGE)
    raise AssertionError("no runner started")


def test_a_runner_that_starts_on_a_full_disk_can_be_used_as_soon_as_there_is_space__S02(machine):
    machine.start("hapi").end()
    filler = fill(machine.home.path)
    runner = start_with_too_little_space(machine, filler)
    found = status(machine)
    assert "No space left on device" in found["trouble"]
    assert StateFile(machine.home).read() is None
    filler.unlink()
    until(lambda: machine.state().get("pid") == runner.pid, SOON)
    until(lambda: status(machine)["trouble"] is None, SOON)
    assert machine.session()
    assert [event["pid"] for event in events(machine, "runner-started")][-1] == runner.pid


def test_a_start_is_refused_with_the_true_reason_while_the_disk_is_full__S02(machine):
    machine.start("hapi")
    filler = fill(machine.home.path)
    answer = machine.spawn()
    assert answer["success"] is False
    assert "No space left on device" in answer["error"]
    filler.unlink()
    assert machine.session()


def test_sessions_start_although_the_state_file_was_removed__S02(machine):
    machine.start("hapi")
    state = machine.home.runner_state
    content = state.read_bytes()
    assert machine.answers()
    machine.state = lambda: json.loads(content)
    state.unlink()
    assert machine.session()
    assert state.exists()


def test_the_end_of_a_session_on_a_full_disk_is_saved_without_waiting_for_a_heartbeat__S02(machine):
    machine.start("hapi")
    session = machine.session()
    folder = machine.attempt(session)
    filler = fill(machine.home.path)
    machine.stop(session)
    filler.unlink()
    until(lambda: folder.stop is not None and folder.end is not None, SOON)
    until(lambda: status(machine)["trouble"] is None, SOON)
    assert events(machine, "ended")
