"""Processes that are killed at any moment while their hub is away or silent: nothing is lost that
the documentation does not name."""

import random
import subprocess
import sys
import threading
import time

import pytest

from hapi.home import Home
from hapi.spool import claim_spools
from tests.support.paths import ROOT
from tests.support.programs import level

pytestmark = pytest.mark.program
INTERVAL = 0.001  # seconds between two events


def killed(home, how, seconds):
    """Run the program until `seconds` after its first event: what it emitted, what is on the
    disk."""
    program = subprocess.Popen(
        [sys.executable, "-m", "tests.support.spooling_program", home.path, str(INTERVAL), how],
        cwd=ROOT,
        stdout=subprocess.PIPE,
    )
    lines = [program.stdout.readline()]
    reader = threading.Thread(target=lambda: lines.extend(program.stdout))
    reader.start()
    time.sleep(seconds)
    program.kill()
    program.wait()
    reader.join()
    program.stdout.close()
    emitted = sum(line.endswith(b"\n") for line in lines)
    found = []
    for claimed in claim_spools(home):
        found += [event.args[0]["message"]["n"] for event in claimed.events]
        claimed.release()
    return emitted, found


@pytest.mark.parametrize("attempt", range(level(3, 20)))
def test_a_kill_while_the_hub_is_away_loses_nothing(tmp_path, attempt):
    home = Home(tmp_path / "home").prepare()
    emitted, found = killed(home, "away", random.Random(attempt).uniform(0, 1.5))
    assert found == list(range(len(found)))
    assert len(found) >= emitted


def test_a_kill_while_the_hub_is_silent_loses_at_most_the_last_second(tmp_path):
    home = Home(tmp_path / "home").prepare()
    emitted, found = killed(home, "silent", 2.5)
    assert found == list(range(len(found)))
    assert len(found) >= emitted
