"""Short runs of the driver, for each change. `make growth` is the long one."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from tests.growth.plan import FAULTS, ROLLING
from tests.support.paths import ROOT

SEED = os.environ.get("HAPI_SEED", "13")
SHORT = ("--short", "--pace", "0.3", "--stop-seconds", "11", "--drain-seconds", "3")
ALONE = "kill,drain"
STANDBY = "kill,cut-commit,crash-database,hold-lock,promote"
ACTIVE = "kill,drain,stop,cut-database,silence-database,cut-hubs,cut-commit"
UPGRADED = "upgrade"
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


def of_postgres(hubs: int, faults: str, *words: str) -> None:
    given = ["--store", "postgres", "--hubs", str(hubs), "--prompts", "60", "--spawns", "30"]
    carry_out(*given, "--faults", faults, *SHORT, *words)


@pytest.mark.program
@pytest.mark.peer("haproxy")
def test_a_hub_that_is_killed_and_restarted_loses_and_doubles_nothing():
    carry_out("--seconds", "15", "--messages", "2000", "--prompts", "80", "--faults", ALONE)


@pytest.mark.program
@pytest.mark.postgres
@pytest.mark.peer("haproxy")
def test_a_standby_takes_over_and_what_the_database_suffers_doubles_nothing():
    of_postgres(2, STANDBY, "--replica", "--seconds", "15", "--messages", "1200")


@pytest.mark.program
@pytest.mark.postgres
@pytest.mark.peer("haproxy")
def test_three_active_hubs_that_are_killed_and_cut_off_lose_and_double_nothing():
    of_postgres(3, ACTIVE, "--active", "--seconds", "18", "--messages", "2000")


@pytest.mark.program
@pytest.mark.postgres
@pytest.mark.peer("nginx")
def test_clients_behind_nginx_miss_nothing_while_active_hubs_are_upgraded_one_by_one():
    # Their clocks differ, by less than signatures allow.
    words = ["--active", "--balancer", "nginx", "--clocks", "25,-25,0"]
    of_postgres(3, UPGRADED, *words, "--seconds", "10", "--messages", "800")


def test_each_fault_comes_in_one_of_these_runs_and_a_rolling_restart_with_the_upgrade():
    together = {*ALONE.split(","), *STANDBY.split(","), *ACTIVE.split(","), *UPGRADED.split(",")}
    assert together == {*FAULTS} - {ROLLING}
