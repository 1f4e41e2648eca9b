"""Seeing a process end by its descriptor."""

import os
import subprocess
import sys

import pytest

from hapi.process.exit_watch import _PidfdReader


@pytest.fixture
def sleeper():
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    pidfd = os.pidfd_open(process.pid)
    yield process, pidfd
    process.kill()
    process.communicate()
    os.close(pidfd)


def test_an_event_that_was_meant_for_another_descriptor_ends_nobody(sleeper):
    _, pidfd = sleeper
    ends = []
    _PidfdReader(pidfd, lambda: ends.append(1)).doRead()
    assert ends == []


def test_an_end_is_told_once_whoever_tells_it(sleeper):
    process, pidfd = sleeper
    ends = []
    watch = _PidfdReader(pidfd, lambda: ends.append(1))
    process.kill()
    os.waitid(os.P_PIDFD, pidfd, os.WEXITED | os.WNOWAIT)
    watch.doRead()
    watch.doRead()
    watch.connectionLost(None)
    assert ends == [1]
