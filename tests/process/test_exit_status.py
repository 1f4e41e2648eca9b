"""How a process ended, asked of the kernel: before anybody has waited for it, and after."""

import os
import select
import signal
import subprocess

import pytest

from hapi.process.exit_status import decode_wait_status, wait_status
from hapi.process.identity import open_pidfd


def ended(pidfd):
    look = select.poll()
    look.register(pidfd, select.POLLIN)
    assert look.poll(10_000)


@pytest.mark.parametrize(
    ("script", "how"),
    [("exit 0", (0, None)), ("exit 7", (7, None)), ("kill -9 $$", (None, "SIGKILL"))],
)
def test_a_status_is_known_until_somebody_waits_and_on_new_kernels_afterwards__C15_C06(script, how):
    process = subprocess.Popen(["/bin/sh", "-c", script])
    with open_pidfd(process.pid) as pidfd:
        ended(pidfd)
        assert decode_wait_status(wait_status(pidfd, process.pid)) == how
        process.wait()
        assert decode_wait_status(wait_status(pidfd, process.pid)) in (how, (None, None))


def test_a_running_process_has_no_status():
    with open_pidfd(os.getpid()) as pidfd:
        assert wait_status(pidfd, os.getpid()) is None


def test_a_descriptor_that_is_no_pidfd_tells_nothing():
    with open("/dev/null") as nothing:
        assert wait_status(nothing.fileno(), (1 << 22) + 1) is None


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (None, (None, None)),
        (0, (0, None)),
        (0x700, (7, None)),
        (9, (None, "SIGKILL")),
        (0x8B, (None, "SIGSEGV")),
        (signal.SIGRTMIN + 1, (None, "SIG35")),
    ],
)
def test_a_wait_status_in_words(status, words):
    assert decode_wait_status(status) == words
