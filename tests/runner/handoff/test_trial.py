"""Trial starts of small programs: what they are given, and how each of their ends is told."""

import errno
import json
import os
import sys
from pathlib import Path

import pytest
import pytest_twisted
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import deferLater

from hapi.build import Build
from hapi.home import write_atomically
from hapi.process import SystemProcesses
from hapi.runner.handoff import trial as trial_module
from hapi.runner.handoff.descriptors import StartCommand
from hapi.runner.handoff.trial import Trial, TrialFailed, TrialRuns, without_home
from tests.support.programs import alive

TOKEN = "secret-token"
SHOW = """
import json, os, pathlib, sys
home = pathlib.Path(os.environ["HAPI_HOME"])
found = dict(os.environ) | {"settings": (home / "settings.json").read_text(), "at": str(home)}
print(json.dumps(found))
sys.exit(7)
"""
WAIT = "import time; time.sleep(600)"  # a build that hangs while it is imported
ENVIRONMENT = {
    **os.environ,
    "CLI_API_TOKEN": TOKEN,
    "HAPI_API_URL": "https://hub.example",
    "NOTIFY_SOCKET": "/run/systemd/notify",
    "WATCHDOG_USEC": "1",
    "HAPI_EXTRA_HEADERS_JSON": '{"X-Key": "k"}',
}
UP = {"version": "2", "build": {"version": "2", "digest": "b"}, "hub": {"reason": "refused"}}


@pytest.fixture
def trial(home, reactor):
    """Makes a trial start of `python -c PROGRAM`; `status` is what it answers, None for nothing."""

    def make(program, status=None, cwd="/", **more):
        async def query(directory):
            if status is None:
                raise ConnectionError("nobody answers")
            return {"pid": started[0], **status}

        class Processes(SystemProcesses):
            def identify(self, pid):
                started.append(pid)
                return super().identify(pid)

        started = []
        start = StartCommand((sys.executable, "-c", program), cwd, ENVIRONMENT)
        made = Trial(reactor, Processes(reactor), start, home, query, **more)
        return made, started

    return make


def left_in(home):
    return [*home.path.glob(".trial-*"), *home.logs.glob("*-trial.out")]


async def failure_of(made):
    with pytest.raises(TrialFailed) as failed:
        await made.run()
    return failed.value


@pytest_twisted.ensureDeferred
async def test_a_trial_gets_the_settings_but_no_token_hub_or_supervisor__K02(home, trial):
    settings = {"cliApiToken": TOKEN, "apiUrl": "http://h", "machineId": "m", "maxSessions": 3}
    home.settings.write_text(json.dumps(settings))
    failed = await failure_of(trial(SHOW)[0])
    output = failed.output.read_text()
    found = json.loads(output)
    assert TOKEN not in output
    assert json.loads(found["settings"]) == {"machineId": "m", "maxSessions": 3}
    assert found["HAPI_API_URL"] == "https://127.0.0.1:1"
    assert not {"NOTIFY_SOCKET", "WATCHDOG_USEC", "HAPI_EXTRA_HEADERS_JSON"} & set(found)
    assert Path(found["at"]).parent == home.path
    assert str(failed).startswith("the trial start exited with code 7: {")
    assert left_in(home) == [failed.output]


@pytest_twisted.ensureDeferred
async def test_a_program_that_answers_is_killed_and_leaves_nothing(home, trial):
    made, started = trial(WAIT, UP, expected=Build("2", "b"))
    await made.run()
    assert not alive(started[0])
    assert left_in(home) == []


@pytest_twisted.ensureDeferred
async def test_a_program_that_runs_another_build_has_not_proven_anything__H04(home, trial):
    made, started = trial(WAIT, UP, expected=Build("2", "another"))
    assert "another build than the installed one" in str(await failure_of(made))
    assert not alive(started[0])


@pytest_twisted.ensureDeferred
async def test_a_program_that_does_not_come_up_is_killed__H03(home, trial):
    made, started = trial(f"print('stuck', flush=True); {WAIT}", timeout=1.0)
    failed = await failure_of(made)
    assert str(failed) == "the trial start did not come up within 1 s: stuck"
    assert not alive(started[0])


@pytest_twisted.ensureDeferred
async def test_the_marks_below_the_place_of_an_error_are_not_told_as_lines_of_it(trial):
    lines = ["place", "    cause", "    ~~^^~~", "^^^^^", "RuntimeError: broken"]
    program = f"print(*{lines}, sep=chr(10)); raise SystemExit(1)"
    failed = await failure_of(trial(program)[0])
    told = "the trial start exited with code 1: place / cause / RuntimeError: broken"
    assert str(failed) == told


@pytest_twisted.ensureDeferred
async def test_a_program_that_never_tries_to_reach_a_hub_has_not_come_up__H04(trial):
    made, _ = trial(WAIT, UP | {"hub": {"reason": None}}, timeout=0.5)
    assert "did not come up within 0.5 s" in str(await failure_of(made))


@pytest_twisted.ensureDeferred
async def test_a_trial_that_is_cancelled_is_killed_and_leaves_no_directory__H13(
    home, trial, reactor
):
    made, started = trial(WAIT)
    runs = TrialRuns(lambda build: made)
    running = Deferred.fromCoroutine(runs.failure_of(None))
    while not started:
        await deferLater(reactor, 0.01)
    await runs.cancel()
    assert "the runner was stopped" in str(await running)
    assert not alive(started[0])
    assert list(home.path.glob(".trial-*")) == []
    assert not runs.in_progress


@pytest_twisted.ensureDeferred
async def test_a_trial_that_is_cancelled_while_its_program_is_asked_ends_as_well__H13(
    home, trial, reactor
):
    asked = []

    async def query(directory):
        asked.append(Deferred())
        return await asked[-1]

    made, started = trial(WAIT)
    made._query_status = query
    running = Deferred.fromCoroutine(made.run())
    while not asked:
        await deferLater(reactor, 0.01)
    running.cancel()
    with pytest.raises(CancelledError):
        await running.addTimeout(5, reactor)
    assert not alive(started[0])
    assert len(asked) == 1


@pytest.mark.parametrize(
    ("settings", "reason"), [("{", "settings.json"), ('{"apiUrl": "x", "cliApiToken": 1}', "")]
)
@pytest_twisted.ensureDeferred
async def test_settings_with_which_no_runner_starts_fail_without_a_trial__S16(
    home, trial, settings, reason
):
    home.settings.write_text(settings)
    made, started = trial(WAIT, UP)
    if reason:
        assert reason in str(await failure_of(made))
        assert started == []
    else:  # the environment overrides them
        await made.run()


@pytest_twisted.ensureDeferred
async def test_a_home_that_takes_no_settings_is_replaced_by_a_temporary_directory__S03(
    home, trial, monkeypatch, tmp_path_factory
):
    elsewhere = tmp_path_factory.mktemp("temporary")
    monkeypatch.setattr("tempfile.tempdir", str(elsewhere))

    def full(path, *arguments, **more):
        if home.path in path.parents or not elsewhere.exists():
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return write_atomically(path, *arguments, **more)

    monkeypatch.setattr(trial_module, "write_atomically", full)
    found = json.loads((await failure_of(trial(SHOW)[0])).output.read_text())
    assert Path(found["at"]).parent == elsewhere
    elsewhere.rmdir()
    failed = await failure_of(trial(SHOW)[0])
    assert failed.clause.startswith("it could not be tried whether the installed version starts: ")
    assert list(home.path.glob(".trial-*")) == []


@pytest_twisted.ensureDeferred
async def test_a_program_that_is_missing_is_told__H01(home, trial):
    made, _ = trial(WAIT, cwd=None)
    assert "the directory in which this runner was started is gone" in str(await failure_of(made))
    assert left_in(home) == []


@pytest.mark.parametrize(
    ("argv", "left"),
    [
        (("hapi", "runner", "start-sync"), ("hapi", "runner", "start-sync")),
        (("hapi", "runner", "--home", "/h", "start-sync"), ("hapi", "runner", "start-sync")),
        (("hapi", "runner", "--home=/h", "start-sync"), ("hapi", "runner", "start-sync")),
        (("hapi", "start-sync", "--home=/h"), ("hapi", "start-sync", "--home=/h")),
    ],
)
def test_the_flag_that_names_the_real_home_is_left_out(argv, left):
    assert without_home(argv) == left
