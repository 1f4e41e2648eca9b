"""A start that loses the race against another start of the same home."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from hapi.cli.base.errors import HELD, CommandError
from hapi.cli.runner.background import Readiness
from hapi.cli.runner.wait_for_start import wait_for_other_start
from hapi.process.identity import read_stat
from tests.support.programs import Stage, until

CHECK = SynchronousTestCase()
SILENT, ANSWERS = Readiness(False, False, {}), Readiness(True, False, {"pid": 7})
REFUSAL = CommandError(
    "the runner exited during start-up: in use by the runner with process id 7", HELD
)


class Second:
    """One that lost the race for the home."""

    def __init__(self, is_wanted=True, stopped=None):
        self.clock, self.found = Clock(), SILENT

        async def query():
            return self.found

        self.result = Deferred.fromCoroutine(
            wait_for_other_start(
                self.clock, REFUSAL, query, lambda status: is_wanted, lambda: stopped, 20.0
            )
        )


def test_the_runner_that_was_faster_is_taken_as_soon_as_it_answers__L01():
    second = Second()
    second.clock.pump([0.05] * 20)
    CHECK.assertNoResult(second.result)
    second.found = ANSWERS
    second.clock.advance(0.05)
    assert CHECK.successResultOf(second.result) == 7


def test_a_faster_runner_with_other_flags_is_none_that_was_asked_for():
    second = Second(is_wanted=False)
    second.found = ANSWERS
    second.clock.advance(0.05)
    assert CHECK.failureResultOf(second.result).value is REFUSAL


def test_a_home_whose_holder_never_answers_stays_held():
    second = Second()
    second.clock.pump([0.5] * 41)
    assert CHECK.failureResultOf(second.result).value is REFUSAL


def test_a_holder_that_is_stopped_is_named():
    error = CHECK.failureResultOf(Second(stopped=7).result).value
    assert (error.exit_code, "(pid 7) is suspended" in str(error)) == (HELD, True)


@pytest.fixture
def stage(tmp_path, canary):
    made = Stage(tmp_path)
    made.base |= {
        "HAPI_HOME": str(tmp_path / "home"),
        "HAPI_API_URL": "http://127.0.0.1:1",
        "CLI_API_TOKEN": canary,
    }
    yield made
    made.end()


def begin(stage, *words, **environ):
    command = [sys.executable, "-m", "hapi", "runner", *words]
    return subprocess.Popen(
        command,
        env={**stage.base, **environ},
        cwd=stage.path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def ran(stage, *words, **environ):
    process = begin(stage, *words, **environ)
    return process.communicate(timeout=60), process.returncode


@pytest.mark.program
def test_starts_at_the_same_time_all_come_to_the_one_runner__L01(stage):
    starts = [begin(stage, "start", "--wait", "api-only", "--json") for _ in range(3)]
    told = [(process.communicate(timeout=60), process.returncode) for process in starts]
    assert [code for _, code in told] == [0] * 3, told
    assert len({json.loads(out)["pid"] for (out, _), _ in told}) == 1
    assert sum(json.loads(out)["started"] for (out, _), _ in told) == 1
    assert ran(stage, "stop")[1] == 0


@pytest.mark.program
def test_commands_say_that_the_runner_is_stopped__P05(stage):
    (out, _), _ = ran(stage, "start", "--wait", "api-only", "--json")
    pid = json.loads(out)["pid"]
    os.kill(pid, signal.SIGSTOP)
    try:
        until(lambda: read_stat(pid).state == "T")
        for verb, code in (("status", 1), ("stop", 1), ("start", HELD)):
            (_, told), left = ran(stage, verb, HAPI_RUNNER_HTTP_TIMEOUT="300")
            assert (left, str(pid) in told, "is suspended" in told, told.count("\n")) == (
                code,
                True,
                True,
                1,
            ), told
    finally:
        os.kill(pid, signal.SIGCONT)
    assert ran(stage, "stop")[1] == 0
