"""Commands that an agent has left running are told from its own helpers."""

import signal
import subprocess
import sys
import time
from contextlib import contextmanager

import pytest
import pytest_twisted

from hapi.process.kernel import kernel
from hapi.session.agent.tree import has_background_commands
from tests.support.programs import until

# An agent that starts the command of its arguments when it is told to.
AGENT = """
import subprocess, sys
for line in sys.stdin:
    child = subprocess.Popen(sys.argv[2:], start_new_session=sys.argv[1] == "detached")
    print(child.pid, flush=True)
"""
SHELL = ["sh", "-c", "sleep 300; true"]
PLAIN = ["sleep", "300"]


@contextmanager
def agent(how, command):
    argv = [sys.executable, "-c", AGENT, how, *command]
    streams = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(argv, text=True, start_new_session=True, **streams) as process:
        pids = [process.pid]

        def begin():
            process.stdin.write("begin\n")
            process.stdin.flush()
            pids.append(int(process.stdout.readline()))
            until(lambda: kernel().read_command_line(pids[-1]), what="the command's program")

        try:
            yield kernel().identify(process.pid), begin
        finally:
            for pid in reversed(pids):
                for one in [*(kernel().children_of(pid) or []), pid]:
                    if (found := kernel().identify(one)) is not None:
                        kernel().send(found, signal.SIGKILL)


@pytest.mark.parametrize(
    ("how", "command", "expected"),
    [
        ("attached", SHELL, True),
        ("detached", SHELL, True),
        ("detached", PLAIN, True),
        ("attached", PLAIN, False),  # as an MCP server is started
    ],
)
@pytest_twisted.ensureDeferred
async def test_a_command_in_a_shell_or_a_session_of_its_own_counts(how, command, expected):
    from twisted.internet import reactor

    with agent(how, command) as (identity, begin):
        before = time.time() - 1
        assert not await has_background_commands(reactor, identity, before)
        begin()
        assert await has_background_commands(reactor, identity, before) is expected


@pytest_twisted.ensureDeferred
async def test_what_ran_before_the_first_prompt_does_not_count():
    from twisted.internet import reactor

    with agent("attached", SHELL) as (identity, begin):
        begin()
        assert not await has_background_commands(reactor, identity, time.time() + 1)


@pytest_twisted.ensureDeferred
async def test_a_command_that_has_not_loaded_its_program_yet_counts(monkeypatch):
    from twisted.internet import reactor

    with agent("attached", PLAIN) as (identity, begin):
        before = time.time() - 1
        begin()
        monkeypatch.setattr(kernel(), "read_command_line", lambda pid: b"")
        assert await has_background_commands(reactor, identity, before)
