"""Programs in the foreground: orderly shutdown on signals, one sentence for each failure."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

pytestmark = pytest.mark.program

PROGRAM = """
import sys
from twisted.application.service import Service
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from hapi.cli.base.errors import SUPERSEDED, CommandError
from hapi.cli.base.process_host import process_host
from hapi.log import start_logging

class Patient(Service):
    async def stopService(self):
        await deferLater(reactor, 0.05)
        print("left in order", flush=True)

how = sys.argv[1]
logging = start_logging("test", terminal=sys.stderr)
host = process_host(reactor)

async def start():
    host.services.addService(Patient())
    host.services.startService()
    if how == "refuse":
        raise CommandError("this is why", 3)
    if how == "bug":
        raise ZeroDivisionError("a bug")
    if how == "retire":
        host.leave(SUPERSEDED)
        host.leave()
    print("serving", flush=True)

sys.exit(host.run(lambda: Deferred.fromCoroutine(start())))
"""


def begin(how: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, how], stdout=-1, stderr=-1, text=True, env=dict(os.environ)
    )


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_ends_it_in_order_with_status_0(number):
    program = begin("serve")
    assert program.stdout.readline() == "serving\n"
    program.send_signal(number)
    out, err = program.communicate(timeout=30)
    assert (program.returncode, out, err) == (0, "left in order\n", "")


def test_a_second_signal_does_not_cut_the_leave_short():
    program = begin("serve")
    program.stdout.readline()
    program.send_signal(signal.SIGTERM)
    program.send_signal(signal.SIGTERM)
    out, _ = program.communicate(timeout=30)
    assert (program.returncode, out) == (0, "left in order\n")


def test_a_start_that_is_refused_is_told_in_one_sentence_and_what_ran_leaves_in_order():
    program = begin("refuse")
    assert program.communicate(timeout=30) == ("left in order\n", "hapi: this is why\n")
    assert program.returncode == 3


def test_a_bug_while_starting_ends_with_status_1_and_no_traceback_on_the_terminal():
    program = begin("bug")
    out, err = program.communicate(timeout=30)
    assert (program.returncode, out) == (1, "left in order\n")
    assert err.endswith(
        "hapi: internal error: ZeroDivisionError: a bug (the traceback is in the log)\n"
    )
    assert "Traceback" not in err


def test_the_first_reason_to_leave_stands():
    program = begin("retire")
    program.communicate(timeout=30)
    assert program.returncode == 4
