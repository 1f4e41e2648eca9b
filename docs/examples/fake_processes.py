"""What a test of a program that embeds a runner looks like: its sessions are entries of a table,
and nothing is started."""

import os
import sys
import tempfile

from twisted.internet.defer import ensureDeferred
from twisted.internet.task import react

from hapi.process import MemoryProcesses
from hapi.process.in_memory import FakeProgram
from hapi.protocol.spawn import SpawnRequest
from hapi.runner import RunnerOptions, RunnerService

# The program that sessions run; the table knows programs by name.
SESSION = os.path.basename(sys.executable)


async def refused_when_the_session_dies(reactor, home):
    """A session that ends before it has announced itself: what does the runner answer?"""
    processes = MemoryProcesses({SESSION: FakeProgram(exit_code=5)})
    environ = {
        "HAPI_HOME": home,
        "CLI_API_TOKEN": "a-token-for-tests",
        "HAPI_API_URL": "http://127.0.0.1:1",
        "PATH": "/bin",
    }
    runner = RunnerService(
        reactor, RunnerOptions.from_environment(environ, sets_title=False), processes
    )
    runner.startService()
    await runner.when_up()
    try:
        return await runner.spawn(
            SpawnRequest(directory=home, agent="demo"), "a test"
        ), processes.launched
    finally:
        await runner.stopService()


async def main(reactor):
    with tempfile.TemporaryDirectory() as home:
        result, launched = await refused_when_the_session_dies(reactor, home)
    print(f"{len(launched)} started: {result.message}")


react(lambda reactor: ensureDeferred(main(reactor)))
