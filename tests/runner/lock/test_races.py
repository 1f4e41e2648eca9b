"""Many starters at once: exactly one wins (faults.md G1, G2).

HAPI_FAULTS says how many rounds (see support.level).
"""

import json
import os
import subprocess
import sys

import pytest

from tests.support.lock_starters import KINDS
from tests.support.paths import ROOT, SUPPORT
from tests.support.programs import level

ROUNDS, STARTERS = level(20, 1000), 200 if level(0, 1000) else 50
BESIDE_NPM = [(1, 1), (1, 4), (5, 1), (1, 16)]
NPM_ROUNDS = level(13, 2000)
SEED = os.environ.get("HAPI_SEED", "1")
PROGRAM = SUPPORT / "lock_starters.py"


def rounds(home, kind, count, ours, npm):
    words = [str(home.path), kind, str(count), str(ours), str(npm), SEED, "runner", "start-sync"]
    environment = {**os.environ, "HAPI_HOME": str(home.path), "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, str(PROGRAM), *words],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(found) == count
    assert [each["errors"] for each in found] == [[]] * count
    assert [each["told"] for each in found] == [ours + npm] * count
    return found


@pytest.mark.parametrize("kind", KINDS)
def test_of_many_starters_exactly_one_wins__G1_L01_L02_L04_L05_L06_L07(home, kind):
    found = rounds(home, kind, ROUNDS, STARTERS, 0)
    assert [each["ours"] for each in found] == [1] * ROUNDS
    assert [each["left"] for each in found] == [[]] * ROUNDS


@pytest.mark.parametrize(("ours", "npm"), BESIDE_NPM)
def test_never_one_of_ours_beside_a_live_npm_winner__G2_L03(home, ours, npm):
    found = rounds(home, "stale", NPM_ROUNDS, ours, npm)
    assert [each for each in found if each["ours"] and each["npm"]] == []
    assert [each for each in found if each["ours"] > 1 or not each["ours"] + each["npm"]] == []
