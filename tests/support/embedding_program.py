"""A program that embeds the process layer, and says how a session and its holder ended.

Run as `python -m tests.support.embedding_program HOME SIGCHLD`. SIGCHLD is who handles that signal:
`twisted`, or else, with a reactor that installs no handlers, `default`, `ignored` or `own` (a
handler that reaps all children it finds). Prints one line; logs to standard error.
"""

import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
from twisted.internet import reactor as _reactor
from twisted.internet.defer import Deferred
from twisted.logger import globalLogBeginner, textFileLogObserver

from hapi.attempts import AttemptFolder
from hapi.home import Home
from hapi.process import LaunchPlan, SystemProcesses
from hapi.process.launch import reactor_reaps_children
from hapi.protocol.attempt import AttemptRequest

reactor: Any = _reactor


def reap_everything(*_: object) -> None:
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        pass


HANDLERS: dict[str, Callable[..., None] | signal.Handlers] = {
    "default": signal.SIG_DFL,
    "ignored": signal.SIG_IGN,
    "own": reap_everything,
}


async def run(home: Home) -> None:
    argv = ("/bin/sh", "-c", "exit 5")
    folder = AttemptFolder.create(home, AttemptRequest(argv, str(home.path), time.time()))
    processes = SystemProcesses(reactor)
    plan = LaunchPlan(argv, str(home.path), dict(os.environ), folder)
    launched = await processes.launch(plan).addTimeout(20.0, reactor)
    holder = await processes.when_exited(launched.holder).addTimeout(20.0, reactor)
    zombies = [
        each for each in psutil.Process().children() if each.status() == psutil.STATUS_ZOMBIE
    ]
    assert folder.end is not None
    by_twisted = reactor_reaps_children()
    print(folder.end.exit_code, holder.exit_code, f"zombies={len(zombies)} {by_twisted=}")


def main(home: str, handling: str) -> None:
    globalLogBeginner.beginLoggingTo([textFileLogObserver(sys.stderr)], redirectStandardIO=False)
    if handling != "twisted":
        signal.signal(signal.SIGCHLD, HANDLERS[handling])

    def start() -> None:
        running = Deferred.fromCoroutine(run(Home(Path(home))))
        running.addErrback(lambda failure: failure.printTraceback())
        running.addBoth(lambda _: reactor.stop())

    reactor.callWhenRunning(start)
    reactor.run(installSignalHandlers=handling == "twisted")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
