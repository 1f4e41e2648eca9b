"""The holder keeps the log of its session small, and sleeps while nothing is written."""

import os
import subprocess
import sys
import time

import pytest

from hapi.process import holder
from tests.support.programs import until

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="F_NOTIFY is Linux's")
# Writes as many bytes as each line of the FIFO says.
SESSION = "import os, sys\nfor line in open(sys.argv[1]): os.write(1, b'x' * int(line))"


@pytest.fixture
def held(tmp_path):
    """(the holder's pid, output.log, write(bytes))."""
    folder, fifo = tmp_path / "attempt", tmp_path / "fifo"
    folder.mkdir()
    os.mkfifo(fifo)
    log = folder / "output.log"
    session = [sys.executable, "-I", "-S", "-c", SESSION, str(fifo)]
    options = ["-I", "-S", "-E", "-X", "hapi-holder"]
    with log.open("ab") as output:
        process = subprocess.Popen(
            [
                *("sh", "-c", 'exec "$@" 3>/dev/null', "sh"),
                *(sys.executable, *options, holder.__file__),
                *(str(folder), str(tmp_path), *session),
            ],
            stdout=output,
            stderr=output,
        )
    with fifo.open("w", buffering=1) as orders:
        yield process.pid, log, lambda size: orders.write(f"{size}\n")
    process.wait(60)


def sleeps(pid: int) -> int:
    """How often the process has gone to sleep."""
    with open(f"/proc/{pid}/status") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("voluntary"))


def test_a_quiet_log_wakes_nobody_and_a_burst_after_it_is_rotated(held):
    pid, log, write = held
    write(1)
    until(lambda: log.stat().st_size == 1)

    def is_asleep() -> bool:
        before = sleeps(pid)
        # Real time of another process: longer than the longest pause between two checks of the log.
        time.sleep(3.5 * holder.MAX_LOG_POLL_INTERVAL)
        return sleeps(pid) == before

    until(is_asleep, what="a holder that sleeps")
    write(holder.LARGEST + 1000)
    until(lambda: log.stat().st_size == 0, seconds=holder.QUIET_LOG_POLL_INTERVAL / 2)
    assert log.with_name("output.log.1").stat().st_size == holder.LARGEST
