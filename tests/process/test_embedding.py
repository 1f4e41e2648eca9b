"""Programs that embed the process layer: whoever handles SIGCHLD, exits are known and reaped."""

import subprocess
import sys

import pytest

WATCHED = "the exits of session holders are watched by pidfd instead"


@pytest.mark.parametrize(
    ("handling", "printed"),
    [
        ("twisted", "5 0 zombies=0 by_twisted=True"),
        ("default", "5 0 zombies=0 by_twisted=False"),
        ("ignored", "5 None zombies=0 by_twisted=False"),  # the kernel reaps, and keeps no status
        ("own", "5 None zombies=0 by_twisted=False"),
    ],
)
def test_the_end_of_a_session_is_known_whoever_handles_the_signal_of_children(
    home, handling, printed
):
    argv = [sys.executable, "-m", "tests.support.embedding_program", str(home.path), handling]
    ran = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=True)
    assert ran.stdout == f"{printed}\n"
    assert (WATCHED in ran.stderr) is (handling != "twisted")
    assert "Traceback" not in ran.stderr
