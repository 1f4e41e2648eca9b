"""`twistd hapi-runner`: the runner as a twistd service, with the documented exit codes."""

from __future__ import annotations

import os
import sys

from attrs import evolve
from twisted.application.service import IService
from twisted.python import usage

from hapi.home import HomeUnusable
from hapi.redaction import escape_control
from hapi.runner.config.options import RunnerOptions
from hapi.runner.handoff.descriptors import StartCommand
from hapi.settings import ConfigurationError, InvalidSettings

FLAGS = (
    *("max_sessions", "min_free_memory", "queue", "revive", "session_memory", "idle_agent"),
    *("git_actions", "terminal"),
)


class Options(usage.Options):
    """Flags of `twistd hapi-runner`.

    Everything else comes from the environment and `settings.json`.
    """

    optParameters = [  # noqa: RUF012
        [
            "session-command",
            None,
            None,
            "Program to run for each session (HAPI_CLI_EXECUTABLE; default: this hapi).",
        ],
        [
            "max-sessions",
            None,
            None,
            "Maximum number of sessions (HAPI_RUNNER_MAX_SESSIONS; default: unlimited).",
        ],
        [
            "min-free-memory",
            None,
            None,
            "Free memory required to start a session, e.g. 2G (HAPI_RUNNER_MIN_FREE_MEMORY).",
        ],
        [
            "queue",
            None,
            None,
            "Number of starts that may wait for a free place (HAPI_RUNNER_QUEUE; default: 0).",
        ],
        [
            "revive",
            None,
            None,
            (
                "Sessions interrupted by a reboot: `auto` resumes, `offer` (default) lists them "
                "(HAPI_RUNNER_REVIVE)."
            ),
        ],
        [
            "session-memory",
            None,
            None,
            "Memory limit per session, e.g. 4G, requires systemd (HAPI_RUNNER_SESSION_MEMORY).",
        ],
        [
            "idle-agent",
            None,
            None,
            "Time after which an idle agent rests, e.g. 30m (HAPI_IDLE_AGENT; default: off).",
        ],
        [
            "git-actions",
            None,
            None,
            "Let people stage, commit and push from the page (HAPI_GIT_ACTIONS; default: no).",
        ],
        [
            "terminal",
            None,
            None,
            (
                "Let people open a shell in sessions (HAPI_TERMINAL; default: yes, without "
                "workspace roots)."
            ),
        ],
        ["home", None, None, "Directory of the runner's files (HAPI_HOME; default: ~/.hapi)."],
    ]

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self["workspace-roots"] = []

    def opt_workspace_root(self, path: str) -> None:
        """Restrict sessions to PATH and its subdirectories; may be repeated."""
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
            raise SystemExit(f"hapi-runner: {escape_control(error)}") from error


def start_command(options: RunnerOptions) -> StartCommand:
    """The command that starts the same runner in the foreground of another twistd."""
    program = (sys.executable, "-c", "from twisted.scripts.twistd import run; run()")
    flags = options.argv[2:]  # after `runner start-sync`
    start = StartCommand.capture()
    return evolve(start, argv=(*program, "-n", "--pidfile=", "hapi-runner", *flags))


def makeService(options: Options) -> IService:
    lock = None
    # A daemon is another process than this one.
    if options.parent is not None and options.parent.get("nodaemon"):
        from hapi.file_lock import LockUnusable
        from hapi.runner.lock.early import lock_home_early

        try:
            lock = lock_home_early(options["runner"].home)
        except LockUnusable as error:
            raise SystemExit(f"hapi-runner: {escape_control(error)}") from error

    from twisted.internet import reactor

    from hapi.process_host import TwistdHost
    from hapi.runner.handoff.factories import embedded_coordinator
    from hapi.runner.process import supervise_process
    from hapi.runner.service import runner_service
    from hapi.startup import use_monotonic_time

    use_monotonic_time(reactor)
    host = TwistdHost(reactor, name="hapi-runner")
    handoff = embedded_coordinator(reactor, "twistd", os.environ, start_command(options["runner"]))
    runner = runner_service(
        reactor, options["runner"], on_retired=host.leave, lock=lock, handoff=handoff
    )
    runner.setServiceParent(host.services)  # type: ignore[no-untyped-call]
    notifier = supervise_process(reactor, runner, host.services)

    def reload() -> None:
        runner.reload()
        if notifier is not None:
            notifier.reload()

    host.on_hangup = reload
    return host.services
