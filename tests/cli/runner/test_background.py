"""Waiting for a runner in the background: ready, ended, or late, each with its own words."""

from __future__ import annotations

import pytest
from attrs import define
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from hapi.cli.base.errors import CommandError
from hapi.cli.checks.hub_check import HubVerdict
from hapi.cli.runner.background import BackgroundProcess, Readiness, wait_until_ready
from hapi.redaction import Secrets

result_of = SynchronousTestCase().successResultOf
failure_of = SynchronousTestCase().failureResultOf
NOTHING = Readiness(False, False, {})
ANSWERS = Readiness(
    True,
    False,
    {"hub": {"url": "http://hub:1", "phase": "connecting", "reason": "refused: token s3cret-base"}},
)
REGISTERED = Readiness(True, True, {})


@define
class Process:
    """As much of a Popen as is looked at."""

    pid: int = 77
    code: int | None = None

    def poll(self) -> int | None:
        return self.code


@define
class Waiting:
    clock: Clock
    process: Process
    found: Readiness
    result: Deferred


@pytest.fixture
def waiting(tmp_path):
    def begin(wanted: str, ask_hub=None) -> Waiting:
        secrets = Secrets()
        secrets.add("s3cret-base")
        clock, process = Clock(), Process()
        made = Waiting(clock, process, NOTHING, Deferred())

        async def query() -> Readiness:
            return made.found

        output = tmp_path / "start.out"
        output.write_text("\n\x1b[1mhello\nhapi: port 7 is in use\n")
        made.result = Deferred.fromCoroutine(
            wait_until_ready(
                clock, BackgroundProcess(process, output), wanted, 5.0, query, secrets, ask_hub
            )
        )
        return made

    return begin


def test_full_means_registered_at_the_hub(waiting):
    wait = waiting("full")
    wait.found = ANSWERS
    wait.clock.pump([0.1] * 10)
    assert not wait.result.called
    wait.found = REGISTERED
    wait.clock.advance(0.1)
    assert result_of(wait.result) == REGISTERED


def test_api_only_means_it_answers(waiting):
    wait = waiting("api-only")
    wait.clock.advance(0.1)
    assert not wait.result.called
    wait.found = ANSWERS
    wait.clock.advance(0.1)
    assert result_of(wait.result) == ANSWERS


def test_one_that_ends_while_starting_is_reported_with_its_last_words_and_code__K03(waiting):
    wait = waiting("full")
    wait.process.code = 3
    wait.clock.advance(0.1)
    error = failure_of(wait.result, CommandError).value
    assert (str(error), error.exit_code) == (
        "the runner exited during start-up: \\x1b[1mhello / port 7 is in use",
        3,
    )


def test_one_killed_by_a_signal_is_an_error(waiting):
    wait = waiting("full")
    wait.process.code = -9
    wait.clock.advance(0.1)
    assert failure_of(wait.result, CommandError).value.exit_code == 1


def test_one_that_is_not_registered_in_time_is_left_running_and_the_reason_is_told__K02(waiting):
    wait = waiting("full")
    wait.found = ANSWERS
    wait.clock.pump([0.1] * 60)
    told = str(failure_of(wait.result, CommandError).value)
    assert told.startswith(
        "the runner (pid 77) is running but not registered at http://hub:1 after 5 s: "
        "refused: token [hidden]; the runner keeps"
    )


def test_one_that_never_answers_is_told_with_its_output(waiting):
    wait = waiting("full")
    wait.clock.pump([0.1] * 60)
    told = str(failure_of(wait.result, CommandError).value)
    assert told.startswith(
        "the runner (pid 77) does not answer after 5 s: \\x1b[1mhello / port 7 is in use; see /"
    )


@pytest.mark.parametrize("answers", [True, False])
def test_a_token_that_the_hub_refuses_ends_with_7_even_when_the_runner_knows_it_not_yet(
    waiting, answers
):
    async def ask_hub() -> HubVerdict:
        return HubVerdict("refused", "Invalid token")

    wait = waiting("full", ask_hub)
    wait.found = Readiness(answers, False, {})
    wait.clock.pump([0.1] * 60)
    error = failure_of(wait.result, CommandError).value
    assert error.exit_code == 7
    assert str(error).startswith("the hub refuses the access token of this runner (pid 77): ")


def test_a_hub_that_the_runner_has_not_heard_of_in_time_is_asked_why(waiting):
    async def ask_hub() -> HubVerdict:
        return HubVerdict("unreachable", "nothing listens there")

    wait = waiting("full", ask_hub)
    wait.found = Readiness(
        True, False, {"hub": {"url": "http://hub:1", "phase": "connecting", "reason": None}}
    )
    wait.clock.pump([0.1] * 60)
    told = str(failure_of(wait.result, CommandError).value)
    assert (
        "not registered at http://hub:1 after 5 s: nothing listens there; the runner keeps retrying"
        in told
    )
