"""What `hapi doctor` says of the answers of runner and hub."""

import socket

import pytest_twisted

from hapi.cli.checks.hub_check import check_hub
from hapi.cli.checks.live_checks import runner_finding
from hapi.settings import HubAccess

STATUS = {
    "pid": 7,
    "version": "1",
    "registered": True,
    "hub": {"url": "http://hub"},
    "current": False,
    "handoff": {"lastFailure": {"reason": "SyntaxError", "at": 1, "output": "/logs/1-trial.out"}},
}


def test_an_installed_version_that_does_not_start_is_reported_with_reason_and_file__H01():
    found = runner_finding(STATUS)
    assert found.finding == "broken"
    assert found.text == (
        "running (pid 7, version 1), registered at http://hub; the installed version does not "
        "start: SyntaxError (output: /logs/1-trial.out)"
    )


def test_a_registered_runner_without_a_connection_is_reported_with_the_reason():
    status = {**STATUS, "current": True, "hub": {"phase": "connecting", "reason": "no way"}}
    found = runner_finding(status)
    assert found.finding == "broken"
    assert found.text.endswith("connection lost: no way")


def test_a_failure_of_a_version_that_is_not_installed_any_more_is_not_reported():
    assert runner_finding({**STATUS, "current": True}).finding == "good"


@pytest_twisted.ensureDeferred
async def test_a_hub_that_does_not_answer_in_time_is_reported_in_words(reactor):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        verdict = await check_hub(reactor, HubAccess(url, "t" * 20), seconds=0.3)
    assert verdict.problem(url) == f"{url} cannot be reached: {url} did not answer in time"
