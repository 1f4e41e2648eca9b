"""Limits of a session: valid settings, and their effect on the process and its children."""

import os
import resource
import sys
import time
from pathlib import Path

import pytest
import pytest_twisted
from twisted.internet.task import deferLater

from hapi.attempts import AttemptFolder
from hapi.process import LaunchPlan
from hapi.process.child_limits import SessionLimits, apply_limits
from hapi.process.system import SystemProcesses
from hapi.protocol.attempt import AttemptRequest

linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="prlimit is Linux's")


def score(pid):
    return int(Path(f"/proc/{pid}/oom_score_adj").read_text())


@linux
@pytest_twisted.ensureDeferred
async def test_a_session_is_confined_and_goes_before_the_runner__P10_K07(reactor, home, tmp_path):
    processes = SystemProcesses(reactor)
    folder = AttemptFolder.create(home, AttemptRequest(("sleep",), str(tmp_path), time.time()))
    limits = SessionLimits.read({"sessionLimits": {"openFiles": 64}})
    launched = await processes.launch(
        LaunchPlan(("/bin/sleep", "60"), str(tmp_path), dict(os.environ), folder, limits)
    )
    pid = launched.child.pid
    try:
        assert resource.prlimit(pid, resource.RLIMIT_NOFILE) == (64, 64)
        assert resource.prlimit(pid, resource.RLIMIT_CORE) == (0, 0)
        ours, theirs = (score(one) for one in (os.getpid(), pid))
        assert theirs == max(500, ours)
        assert score(launched.holder.pid) == ours  # it has to tell the end
    finally:
        await processes.end_tree(launched.child, folder.id)


@linux
@pytest_twisted.ensureDeferred
async def test_limits_apply_to_a_session_before_its_first_instruction_and_not_to_its_holder__P10(
    reactor, home, tmp_path
):
    processes = SystemProcesses(reactor)
    folder = AttemptFolder.create(home, AttemptRequest(("sh",), str(tmp_path), time.time()))
    limits = SessionLimits.read({"sessionLimits": {"openFiles": 64}})
    script = "ulimit -Sn; exec sleep 60"
    launched = await processes.launch(
        LaunchPlan(("/bin/sh", "-c", script), str(tmp_path), dict(os.environ), folder, limits)
    )
    try:
        while not folder.tail():
            await deferLater(reactor, 0.02)
        assert folder.tail().splitlines()[0] == "64"
        assert resource.prlimit(launched.holder.pid, resource.RLIMIT_NOFILE) == resource.getrlimit(
            resource.RLIMIT_NOFILE
        )
        assert "HAPI_HOLDER_LIMITS" not in processes.environment(launched.child.pid)
    finally:
        await processes.end_tree(launched.child, folder.id)


@linux
def test_a_process_that_is_gone_is_no_error():
    apply_limits((1 << 22) + 1, SessionLimits())


def test_settings_come_over_the_defaults():
    assert SessionLimits.read({}) == SessionLimits({"RLIMIT_CORE": 0}, 500)
    read = SessionLimits.read(
        {"sessionLimits": {"processes": 200, "coreSize": 5, "oomScoreAdj": 0}}
    )
    assert read == SessionLimits({"RLIMIT_CORE": 5, "RLIMIT_NPROC": 200}, 0)


@pytest.mark.parametrize(
    "given",
    [
        {"memory": 5},
        {"openFiles": "many"},
        {"openFiles": True},
        {"openFiles": -1},
        {"oomScoreAdj": 2000},
        7,
    ],
)
def test_limits_that_make_no_sense_are_named(given):
    with pytest.raises(ValueError, match="sessionLimits"):
        SessionLimits.read({"sessionLimits": given})
