"""A trial start: whether the installed build starts, found out before the running runner is ended.

The program is started with the same command line, directory and environment in a home directory of
its own inside HAPI_HOME, with the settings of the real home. It is to lock that home, open its
control API, adopt, and try to connect to a hub; then it is killed. It gets an address at which no
hub is, and no access token, so that no hub ever learns of it. Nothing in the program knows of
trials: builds from before there were any can be tried as well.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from pathlib import Path
from tempfile import mkdtemp
from typing import Any, Protocol

import msgspec
from attrs import define, evolve, field
from twisted.internet.defer import CancelledError, Deferred, FailureGroup, race
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure

from hapi.build import Build
from hapi.home import Home, write_atomically
from hapi.one_shot import OneShotObserver
from hapi.process import IProcesses
from hapi.redaction import Secrets
from hapi.runner.handoff.descriptors import DESCRIPTORS, FROM_PID, StartCommand
from hapi.runner.handoff.program import (
    ProgramNotStarted,
    StartedProgram,
    open_output,
    spawn_program,
)
from hapi.runner.handoff.streams import STREAMS
from hapi.settings import ConfigurationError, InvalidSettings, hub_access, read_settings

TRIAL_TIMEOUT = 20.0  # seconds until the trial must have come up; a hub waits 30 for an answer
POLL_INTERVAL = 0.05  # seconds between two requests for its status
STATUS_TIMEOUT = 5.0  # seconds for one of these requests
HOME_PREFIX = ".trial-"  # of the directory in HAPI_HOME; the pid of its maker follows
UNUSED_TOKEN = "trial"  # no hub ever sees it
HUB_OF_TRIAL = "127.0.0.1:1"  # nobody serves HTTP at this port (tcpmux)
KEPT_FROM_TRIAL = ("cliApiToken", "apiUrl", "serverUrl", "extraHeaders")  # keys of settings.json
NOT_FOR_TRIAL = (  # prefixes of variables that belong to the running runner alone
    *("NOTIFY_SOCKET", "LISTEN_", "WATCHDOG_", "HAPI_EXTRA_HEADERS_JSON"),
    *(FROM_PID, DESCRIPTORS, STREAMS),
)


class TrialFailed(Exception):
    """The installed build does not start. The message is the reason, `output` what it printed."""

    def __init__(self, reason: str, output: Path | None = None) -> None:
        super().__init__(reason)
        self.output = output

    @property
    def clause(self) -> str:
        """What is known of the installed version now, for a person."""
        place = f"; see {self.output}" if self.output is not None else ""
        return f"the installed version does not start: {self}{place}"


class TrialNotPossible(TrialFailed):
    """Nothing was tried, so that the installed build may well start. The message is the reason."""

    @property
    def clause(self) -> str:
        return f"it could not be tried whether the installed version starts: {self}"


@define(eq=False, repr=False)
class Trial:
    """One trial start of `start` for the runner of `home`. `run` may be called once.

    `query_status` asks the runner of a home for its status.
    """

    _reactor: Any
    _processes: IProcesses
    _start: StartCommand
    _home: Home
    _query_status: Callable[[Home], Awaitable[Mapping[str, Any]]] | None = None
    _expected: Build | None = None  # the build that it must be; None: any
    _timeout: float = field(factory=lambda: TRIAL_TIMEOUT)
    _hidden: Secrets = field(init=False, factory=Secrets)
    _output: Path | None = field(init=False, default=None)
    log = Logger()

    async def run(self) -> None:
        """Return once the program has proven that it starts. Raises TrialFailed.

        When it is cancelled the program is killed as well.
        """
        try:
            settings = read_settings(self._home)
            environment = self._environment(settings)
        except (ConfigurationError, InvalidSettings) as error:
            raise TrialFailed(str(error)) from error
        # Without what is secret or names a hub.
        kept = {key: settings[key] for key in settings if key not in KEPT_FROM_TRIAL}
        try:
            directory = self._make_directory(msgspec.json.encode(kept))
        except OSError as error:
            raise TrialNotPossible(f"there is no place for a trial start: {error}") from error
        try:
            start = evolve(
                self._start,
                argv=without_home(self._start.argv),
                environment={**environment, "HAPI_HOME": str(directory)},
            )
            await self._run_in(Home(directory), start)
        except OSError as error:
            raise TrialNotPossible(str(error)) from error
        finally:
            shutil.rmtree(directory, ignore_errors=True)

    def _make_directory(self, settings: bytes) -> Path:
        """A private directory with these settings for one trial. Raises OSError.

        What trials that were killed have left is removed.
        """
        for left in self._home.path.glob(f"{HOME_PREFIX}*"):
            maker = re.match(rf"{re.escape(HOME_PREFIX)}(\d+)-", left.name)
            if maker is not None and self._processes.identify(int(maker[1])) is None:
                shutil.rmtree(left, ignore_errors=True)
        prefix = f"{HOME_PREFIX}{os.getpid()}-"
        try:
            return new_home(Path(mkdtemp(prefix=prefix, dir=self._home.path)), settings)
        except OSError:  # the disk of the home is full, say
            return new_home(Path(mkdtemp(prefix=f"hapi{prefix}")), settings)

    def _environment(self, settings: Mapping[str, Any]) -> dict[str, str]:
        """The environment without what names the real hub. Raises ConfigurationError."""
        kept = {
            name: value
            for name, value in self._start.environment.items()
            if not name.startswith(NOT_FOR_TRIAL)
        }
        access = hub_access(self._start.environment, settings)
        self._hidden.add(access.token)
        scheme = access.url.partition(":")[0]  # https loads more than http
        return kept | {
            "HAPI_API_URL": f"{scheme}://{HUB_OF_TRIAL}",
            "CLI_API_TOKEN": UNUSED_TOKEN,
            "HAPI_DISABLE_VERSION_HANDOFF": "1",
        }

    async def _run_in(self, directory: Home, start: StartCommand) -> None:
        try:
            output, self._output = open_output(self._home, "trial")
        except OSError:  # the disk of the home is full, say
            output, self._output = open_output(directory, "trial")
        try:
            spawned = spawn_program(
                self._reactor, start, {}, output=output, name="the trial start", with_parent=True
            )
        except ProgramNotStarted as error:
            self._output.unlink()
            raise TrialFailed(str(error)) from error
        finally:
            os.close(output)
        program = StartedProgram(
            self._reactor,
            self._processes,
            spawned.child,
            spawned.mark,
            "the trial start",
            self._output,
            self._hidden,
        )
        self.log.info("Process {pid} tries whether the installed build starts", pid=program.pid)
        try:
            await self._await_up(program, directory)
        finally:
            await program.end()
        with suppress(OSError):
            self._output.unlink()

    async def _await_up(self, program: StartedProgram, directory: Home) -> None:
        up = Deferred.fromCoroutine(self._poll(program.pid, directory))
        overdue: Deferred[None] = deferLater(self._reactor, self._timeout)
        contest: list[Deferred[Any]] = [up, program.ended.when_fired(), overdue]
        try:
            first, result = await race(contest)
        except FailureGroup as error:  # all of them, because this was cancelled
            raise CancelledError from error
        if first == 0 and result is None:
            return
        reason = f"the trial start did not come up within {self._timeout:g} s"
        if first != 2:
            reason = str(result)
        raise TrialFailed(program.explain(reason), self._output)

    async def _poll(self, pid: int, directory: Home) -> str | None:
        """Wait until the process serves; a sentence if it is not what was to be tried."""
        while True:
            try:
                status = await self._query(directory)
            except CancelledError:
                raise
            except Exception as error:
                self.log.debug("The trial start does not answer yet: {reason}", reason=str(error))
            else:
                hub = status.get("hub") or {}
                if status.get("pid") == pid and hub.get("reason"):  # it has tried to connect
                    return self._mismatch(status)
            await deferLater(self._reactor, POLL_INTERVAL)

    async def _query(self, directory: Home) -> Mapping[str, Any]:
        if self._query_status is not None:
            return await self._query_status(directory)
        from hapi.runner.control.client import ControlClient

        asked = Deferred.fromCoroutine(ControlClient(self._reactor, directory, {}).status())
        return await asked.addTimeout(STATUS_TIMEOUT, self._reactor)

    def _mismatch(self, status: Mapping[str, Any]) -> str | None:
        found = status.get("build")
        wanted = self._expected
        if wanted is None or not isinstance(found, Mapping):
            return None
        if (found.get("version"), found.get("digest")) != (wanted.version, wanted.digest):
            return "the trial start ran another build than the installed one"
        return None


class ITrial(Protocol):
    """A trial start, as a runner uses it."""

    async def run(self) -> None:
        """Return once the build has proven that it starts. Raises TrialFailed."""


@define(eq=False, repr=False)
class TrialRuns:
    """The trial starts that one runner has under way. `make` makes the next one.

    It gets the build that is to be tried, None for whichever is installed.
    """

    _make: Callable[[Build | None], ITrial]
    _running: dict[Deferred[None], OneShotObserver[TrialFailed | None]] = field(factory=dict)
    log = Logger()

    @property
    def in_progress(self) -> bool:
        return bool(self._running)

    async def failure_of(self, build: Build | None) -> TrialFailed | None:
        """Try `build`; the reason why it does not start, None if it does."""
        running = Deferred.fromCoroutine(self._make(build).run())
        done = self._running[running] = OneShotObserver()
        running.addErrback(self._failure).addCallback(done.fire)
        try:
            return await done.when_fired()
        finally:
            del self._running[running]

    def _failure(self, reason: Failure) -> TrialFailed:
        error = reason.value
        if isinstance(error, TrialFailed):
            return error
        if reason.check(CancelledError) is not None:
            return TrialFailed("the runner was stopped during the trial start")
        self.log.failure("A trial start failed with an unexpected error", reason)
        return TrialFailed(f"unexpected error: {error}")

    async def cancel(self) -> None:
        """End the trials under way, and return when they are gone."""
        for running, done in list(self._running.items()):
            running.cancel()
            await done.when_fired()


def new_home(directory: Path, settings: bytes) -> Path:
    """`directory` with a settings.json. Raises OSError, and `directory` is removed then."""
    try:
        write_atomically(Home(directory).settings, settings, durable=False)
    except OSError:
        shutil.rmtree(directory, ignore_errors=True)
        raise
    return directory


def without_home(argv: tuple[str, ...]) -> tuple[str, ...]:
    """`argv` without `--home DIR`, which overrides HAPI_HOME; `hapi runner` takes it before its
    verb."""
    verb = argv.index("start-sync") if "start-sync" in argv else len(argv)
    for index, word in enumerate(argv[:verb]):
        if word == "--home" or word.startswith("--home="):
            rest = argv[index + (2 if word == "--home" else 1) :]
            return without_home((*argv[:index], *rest))
    return argv
