"""`twistd hapi-runner`: the runner as a twistd service, with signals and exit codes as documented."""

from __future__ import annotations

import atexit
import os
import signal
import sys
from typing import Any

from twisted.application.service import MultiService
from twisted.logger import Logger
from twisted.python import usage

from hapi.home import HomeUnusable
from hapi.redaction import escape_control
from hapi.runner.config.options import RunnerOptions
from hapi.settings import ConfigurationError, InvalidSettings

FLAGS = ("max_sessions", "min_free_memory", "queue", "revive", "session_memory")


class Options(usage.Options):
    """Flags of `twistd hapi-runner`. Everything else comes from the environment and `settings.json`."""

    optParameters = [  # noqa: RUF012
        [
            "session-command",
            None,
            None,
            "The program that sessions run (HAPI_CLI_EXECUTABLE; by default our own).",
        ],
        [
            "max-sessions",
            None,
            None,
            "How many sessions may run at once (HAPI_RUNNER_MAX_SESSIONS).",
        ],
        [
            "min-free-memory",
            None,
            None,
            "Memory that must be free for a start, as 2G (HAPI_RUNNER_MIN_FREE_MEMORY).",
        ],
        [
            "queue",
            None,
            None,
            "How many starts may wait for a place (HAPI_RUNNER_QUEUE, by default 0).",
        ],
        [
            "revive",
            None,
            None,
            "`auto`: sessions that a reboot has interrupted come back by themselves (HAPI_RUNNER_REVIVE).",
        ],
        [
            "session-memory",
            None,
            None,
            "Memory that one session may take, as 4G; needs systemd (HAPI_RUNNER_SESSION_MEMORY).",
        ],
        ["home", None, None, "The runner's home directory (HAPI_HOME, by default ~/.hapi)."],
    ]

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self["workspace-roots"] = []

    def opt_workspace_root(self, path: str) -> None:
        """Limit sessions to PATH and what lies below; may be given several times."""
        self["workspace-roots"].append(path)

    def postOptions(self) -> None:
        environ = dict(os.environ)
        if self["home"]:
            environ["HAPI_HOME"] = os.path.abspath(os.path.expanduser(self["home"]))
        try:
            self["runner"] = RunnerOptions.from_environment(
                environ,
                workspace_roots=self["workspace-roots"],
                session_command=self["session-command"],
                **{name: self[name.replace("_", "-")] for name in FLAGS},
            )
        except (HomeUnusable, InvalidSettings, ConfigurationError) as error:
            raise SystemExit(
                f"hapi-runner: {escape_control(error)}"
            ) from error  # one line, status 1: this is no question of usage


class Program(MultiService):
    """The runner in a process of its own: a signal is a wish to stop, and the exit code says how it ended."""

    log = Logger()

    def __init__(self, reactor: Any) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._reactor = reactor
        self.exit_code: int | None = None

    def startService(self) -> None:
        signal.signal(
            signal.SIGHUP, lambda *_: self._reactor.callFromThread(self._reload)
        )  # first of all: unhandled, it ends us
        super().startService()  # type: ignore[no-untyped-call]
        self._reactor.callWhenRunning(self._take_signals)

    def ended(self, exit_code: int) -> None:
        """Stop the reactor, and let the process end with this code."""
        if self.exit_code is None:
            self.exit_code = exit_code
            if exit_code:
                atexit.register(_exit_with, exit_code)  # twistd itself knows 0, 1 and signals only
        if self._reactor.running:
            self._reactor.stop()

    def _take_signals(self) -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(
                number,
                lambda number, _: self._reactor.callFromThread(
                    self._stop, signal.Signals(number).name
                ),
            )

    def _stop(self, name: str) -> None:
        if self.exit_code is None:
            self.log.info("Leaving: {signal} arrived", signal=name)
            self.ended(0)

    def _reload(self) -> None:
        """SIGHUP: look again at what may have changed; never an end."""
        self.log.info("Looking again at hub and logs: SIGHUP arrived")
        for service in self:
            service.reload()


def _exit_with(exit_code: int) -> None:
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            pass
    os._exit(exit_code)


def makeService(options: Options) -> MultiService:
    lock = None
    if options.parent is not None and options.parent.get(
        "nodaemon"
    ):  # a daemon is another process than this one
        from hapi.runner.lock.early import lock_home_early
        from hapi.runner.lock.files import LockUnusable

        try:
            lock = lock_home_early(options["runner"].home)
        except LockUnusable as error:
            raise SystemExit(f"hapi-runner: {escape_control(error)}") from error

    from twisted.internet import reactor

    from hapi.runner.handoff.factories import embedded_coordinator
    from hapi.runner.process import host
    from hapi.runner.service import runner_service
    from hapi.startup import use_monotonic_time

    use_monotonic_time(reactor)
    program = Program(reactor)
    handoff = embedded_coordinator(reactor, "twistd", os.environ)
    service = runner_service(
        reactor, options["runner"], on_retired=program.ended, lock=lock, handoff=handoff
    )
    service.setServiceParent(program)  # type: ignore[no-untyped-call]
    host(reactor, service, program)
    return program
