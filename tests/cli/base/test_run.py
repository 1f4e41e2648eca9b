"""Commands that a signal ends: with one status and no traceback, after they have cleaned up."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

pytestmark = pytest.mark.program

PROGRAM = """
import sys
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import deferLater
from hapi.cli.base.errors import INTERRUPTED, CommandError
from hapi.cli.base.run import run_once, uninterrupted

how = sys.argv[1]

async def ask(reactor):
    answer = Deferred()
    if how == "fails":
        reactor.addSystemEventTrigger(
            "before", "shutdown", lambda: answer.errback(ValueError("the connection is gone"))
        )
    print("asking", flush=True)
    if how == "shielded":
        with uninterrupted():
            await deferLater(reactor, 0.5)
        return "done"
    try:
        return await answer
    except CancelledError:
        await deferLater(reactor, 0.05)
        print("cleaned up", flush=True)
        raise CommandError("interrupted: said", INTERRUPTED)

try:
    print(run_once(ask, cleans_up=how != "fails"))
except KeyboardInterrupt:
    print("KeyboardInterrupt")
except CommandError as error:
    print(error)
"""
ENDS = {
    "fails": "KeyboardInterrupt\n",
    "cleans up": "cleaned up\ninterrupted: said\n",
    "shielded": "done\n",
}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("how", ENDS)
def test_a_signal_ends_a_command_in_its_own_way_and_without_a_traceback(number, how):
    program = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, how], stdout=-1, stderr=-1, text=True
    )
    assert program.stdout.readline() == "asking\n"
    program.send_signal(number)
    out, err = program.communicate(timeout=30)
    assert (out, err) == (ENDS[how], "")


TWICE = """
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
        [sys.executable, "-c", TWICE], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.stdout, done.stderr) == ("interrupted True\n", "")
