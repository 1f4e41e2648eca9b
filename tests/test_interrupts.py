"""Programs that tests start can be interrupted, however the tests themselves were started."""

import signal
import subprocess

from tests.support.interrupts import accept_interrupts

INTERRUPTED = ["sh", "-c", "kill -INT $$; echo survived"]


def test_programs_can_be_interrupted_in_tests_that_a_shell_runs_in_the_background():
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        assert subprocess.check_output(INTERRUPTED) == b"survived\n"
        accept_interrupts()
        assert subprocess.run(INTERRUPTED, check=False).returncode == -signal.SIGINT
    finally:
        signal.signal(signal.SIGINT, before)
