"""Short runs of the driver, for each change. `make growth` is the long one."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from tests.support.paths import ROOT

SEED = os.environ.get("HAPI_SEED", "13")
RUN_TIMEOUT = 600.0  # seconds; bounds a failure


def carry_out(*words: str) -> None:
    """Fails with the report of a run in which something was wrong."""
    argv = [sys.executable, "-m", "tests.growth", "--seed", SEED, *words]
    run = subprocess.Popen(
        argv, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    try:
        told, _ = run.communicate(timeout=RUN_TIMEOUT)
    except BaseException:
        run.send_signal(signal.SIGTERM)  # it ends all that it has started
        run.wait(60.0)
        raise
    print(told)
    assert run.returncode == 0, told


@pytest.mark.program
@pytest.mark.postgres
@pytest.mark.peer("nginx")
def test_clients_behind_nginx_miss_nothing_while_active_hubs_are_restarted_one_by_one():
    words = ["--balancer", "nginx", "--store", "postgres", "--hubs", "3", "--active"]
    carry_out(
        *words, "--seconds", "15", "--messages", "900", "--prompts", "40", "--faults", "rolling"
    )


@pytest.mark.program
@pytest.mark.peer("haproxy")
def test_a_hub_that_is_killed_and_restarted_loses_and_doubles_nothing():
    carry_out("--seconds", "15", "--messages", "2000", "--prompts", "80", "--faults", "kill,drain")


@pytest.mark.program
@pytest.mark.postgres
@pytest.mark.peer("haproxy")
def test_a_standby_takes_over_and_a_lost_answer_to_commit_doubles_nothing():
    words = ["--store", "postgres", "--hubs", "2", "--seconds", "20", "--messages", "1500"]
    carry_out(*words, "--prompts", "60", "--faults", "kill,cut-commit")


@pytest.mark.program
@pytest.mark.postgres
@pytest.mark.peer("haproxy")
def test_three_active_hubs_that_are_killed_and_cut_off_lose_and_double_nothing():
    words = ["--store", "postgres", "--hubs", "3", "--active", "--seconds", "36"]
    words += ["--messages", "2000", "--prompts", "80", "--spawns", "30"]
    carry_out(*words, "--faults", "kill,drain,cut-database,cut-hubs,cut-commit")
