"""One coroutine on the reactor, ended by signals."""

from __future__ import annotations

import subprocess
import sys

PROGRAM = """
import os, signal
from twisted.internet.defer import Deferred
from hapi.cli.base.run import run_once

async def ask(reactor):
    os.kill(os.getpid(), signal.SIGTERM)
    os.kill(os.getpid(), signal.SIGTERM)
    await Deferred()

try:
    run_once(ask)
except KeyboardInterrupt:
    print("interrupted", signal.getsignal(signal.SIGTERM) is signal.SIG_DFL)
"""


def test_a_command_that_gets_two_signals_ends_without_a_traceback():
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.stdout, done.stderr) == ("interrupted True\n", "")
