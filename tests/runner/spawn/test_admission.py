"""Admission: limits of sessions and memory, a queue in order and with an end, draining."""

import errno
import os
from types import SimpleNamespace

import psutil
import pytest

from hapi.protocol.spawn import Spawned, SpawnRefused
from hapi.runner.config.admission_limits import AdmissionLimits
from hapi.runner.config.options import RunnerOptions
from hapi.runner.spawn.memory import available_memory
from hapi.settings import ConfigurationError
from hapi.units import format_size, parse_size
from tests.support.runner_stage import Stage, assert_waiting, result_of


def staged(home, **limits):
    return Stage(home, limits=AdmissionLimits(**limits))


def test_a_start_beyond_the_session_limit_is_refused_with_the_figures__M01(home):
    stage = staged(home, sessions=2)
    stage.started("s1"), stage.started("s2")
    refused = result_of(stage.spawn())
    assert (refused.code, len(stage.processes.launched)) == ("session_limit", 2)
    assert "2 of at most 2 sessions" in refused.message
    stage.processes.exit(stage.children.find_all("s1")[0].identity, 0)
    stage.started("s3")
    assert len(stage.children.listed()) == 2


def test_starts_count_before_they_have_announced_themselves__M01(home):
    stage = staged(home, sessions=1)
    first = stage.spawn()
    assert result_of(stage.spawn()).code == "session_limit"
    stage.announce(stage.pid, "s1")
    assert result_of(first) == Spawned("s1")


def test_a_start_that_fails_releases_its_slot__C08(home):
    stage = Stage(home, programs=(), limits=AdmissionLimits(sessions=1))
    for _ in range(3):
        assert "no PID returned" in result_of(stage.spawn()).message


def test_joining_a_live_session_needs_no_slot__C16(home):
    stage = staged(home, sessions=1)
    stage.started("e1", existingSessionId="e1")
    assert result_of(stage.spawn(existingSessionId="e1")) == Spawned("e1")


def test_too_little_memory_is_a_refusal_with_the_figures__M01(home):
    stage = staged(home, free_memory=2 << 30)
    stage.free = 1 << 30
    refused = result_of(stage.spawn())
    assert (refused.code, stage.processes.launched) == ("memory_limit", [])
    assert "1G of free memory, less than the required 2G" in refused.message
    stage.free = None  # nobody can tell
    stage.started("s1")


def test_refused_starts_leave_no_directory_behind__D07(home, tmp_path):
    stage = staged(home, sessions=0)
    assert result_of(stage.spawn(tmp_path / "new")).code == "session_limit"
    assert not (tmp_path / "new").exists()


def test_the_queue_admits_in_order_and_refuses_beyond_its_length__M01(home):
    stage = staged(home, sessions=1, queue=2)
    stage.started("s1")
    first, second, third = stage.spawn(asked_by="1"), stage.spawn(asked_by="2"), stage.spawn()
    refused = result_of(third)
    assert refused.code == "queue_full"
    assert "the queue is full: 2 starts waiting" in refused.message
    assert_waiting(first), assert_waiting(second)
    stage.processes.exit(stage.children.find_all("s1")[0].identity, 0)
    assert stage.children.live()[-1].folder.request.asked_by == "1"
    stage.announce(stage.pid, "s2")
    assert result_of(first) == Spawned("s2")
    assert_waiting(second)
    stage.processes.exit(stage.children.find_all("s2")[0].identity, 0)
    stage.announce(stage.pid, "s3")
    assert result_of(second) == Spawned("s3")
    stage.clock.advance(1)


def test_a_queued_start_is_answered_before_the_hub_gives_up__M01(home):
    stage = staged(home, sessions=1, queue=1)
    stage.started("s1")
    answer = stage.spawn()
    for _ in range(19):
        stage.clock.advance(1)
    assert_waiting(answer)
    stage.clock.advance(1)
    refused = result_of(answer)
    assert refused.code == "session_limit"
    assert "within 20 s" in refused.message
    stage.clock.advance(200)
    assert stage.clock.getDelayedCalls() == []


def test_memory_that_becomes_free_is_noticed_while_a_start_waits(home):
    stage = staged(home, free_memory=1000, queue=1)
    stage.free = 10
    answer = stage.spawn()
    assert_waiting(answer)
    stage.free = 2000
    stage.clock.advance(1)
    stage.announce(stage.pid, "s1")
    assert result_of(answer) == Spawned("s1")


def test_a_new_start_does_not_overtake_queued_starts(home):
    stage = staged(home, free_memory=1000, queue=2)
    stage.free = 10
    stage.spawn(asked_by="first")
    stage.free = 2000
    stage.spawn(asked_by="second")
    assert stage.processes.launched == []
    stage.clock.advance(1)
    assert [plan.attempt.request.asked_by for plan in stage.processes.launched] == [
        "first",
        "second",
    ]
    stage.children.detach()


def test_draining_refuses_new_and_queued_starts(home):
    stage = staged(home, sessions=1, queue=1)
    stage.started("s1")
    waiting = stage.spawn()
    stage.admission.drain("This runner is being drained")
    assert result_of(waiting) == SpawnRefused("This runner is being drained", "draining")
    assert result_of(stage.spawn()).code == "draining"
    assert len(stage.children.listed()) == 1
    stage.processes.exit(stage.children.find_all("s1")[0].identity, 0)
    stage.admission.resume()
    stage.started("s2")


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("0", 0),
        ("1048576", 1 << 20),
        ("512M", 512 << 20),
        ("2G", 2 << 30),
        ("2gb", 2 << 30),
        ("1 GiB", 1 << 30),
        ("3k", 3072),
    ],
)
def test_sizes_are_read_as_people_write_them(text, size):
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "-1", "1.5G", "G", "much", "1X", "９", "1" * 40])
def test_invalid_sizes_are_refused(text):
    with pytest.raises(ValueError, match=r"number of bytes|too large"):
        parse_size(text)


def test_sizes_are_written_as_people_read_them():
    assert [format_size(size) for size in (5, 2048, 3 << 20, 3 << 29)] == ["5", "2K", "3M", "1.5G"]


def test_the_flag_wins_over_the_variable_over_the_setting():
    environ, settings = (
        {"HAPI_RUNNER_MAX_SESSIONS": "5"},
        {"maxSessions": 7, "minFreeMemory": "1G", "spawnQueue": 3},
    )
    assert AdmissionLimits.read({"max_sessions": "2"}, environ, settings) == AdmissionLimits(
        2, 1 << 30, 3
    )
    assert AdmissionLimits.read({}, environ, settings).sessions == 5
    assert AdmissionLimits.read({}, {}, settings).sessions == 7
    assert AdmissionLimits.read({}, {}, {}) == AdmissionLimits(None, None, 0)


@pytest.mark.parametrize(
    ("environ", "settings", "names"),
    [
        ({"HAPI_RUNNER_MAX_SESSIONS": "many"}, {}, "HAPI_RUNNER_MAX_SESSIONS"),
        ({}, {"minFreeMemory": True}, "minFreeMemory"),
        ({}, {"spawnQueue": -1}, "spawnQueue"),
    ],
)
def test_an_invalid_limit_is_reported_with_its_source(environ, settings, names):
    with pytest.raises(ConfigurationError, match=names):
        AdmissionLimits.read({}, environ, settings)


def test_flags_of_admission_are_part_of_the_command_line_that_starts_the_same_runner(home):
    environ = {"HAPI_HOME": str(home.path), "CLI_API_TOKEN": "t"}
    options = RunnerOptions.from_environment(
        environ, max_sessions="3", min_free_memory="1G", queue="2"
    )
    assert options.limits == AdmissionLimits(3, 1 << 30, 2)
    assert options.argv == (
        "runner",
        "start-sync",
        "--max-sessions",
        "3",
        "--min-free-memory",
        "1G",
        "--queue",
        "2",
    )


def test_free_memory_is_what_the_machine_and_the_control_group_leave(tmp_path, monkeypatch):
    def refuse():
        raise OSError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(psutil, "virtual_memory", refuse)
    assert available_memory(tmp_path) is None
    memory = SimpleNamespace(available=2048 * 1024)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: memory)
    assert available_memory(tmp_path) == 2048 * 1024
    group = tmp_path / "sys/fs/cgroup"
    group.mkdir(parents=True)
    (group / "memory.max").write_text("5000\n")
    (group / "memory.current").write_text("2000\n")
    assert available_memory(tmp_path) == 3000
    (group / "memory.max").write_text("max\n")
    assert available_memory(tmp_path) == 2048 * 1024


def test_this_machine_has_available_memory():
    assert (available_memory() or 0) > 0
