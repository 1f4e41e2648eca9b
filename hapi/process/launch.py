"""Start a session below a holder, as a child process that Twisted manages.

`reactor.spawnProcess` starts the holder, and a `ProcessProtocol` receives what becomes of it: the
report that it writes on descriptor 3 once the session runs, and its exit. The session itself is the
holder's child. Nothing here depends on Linux.

Costs, measured on Linux 6.18 with Python 3.11 and Twisted 26.10: see `start_holder`.
"""

from __future__ import annotations

import errno
import importlib
import importlib.util
import os
import shutil
import signal
import struct
import sys
from collections.abc import Callable, Mapping
from functools import cache, partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.process import unregisterReapProcessHandler
from twisted.internet.protocol import ProcessProtocol
from twisted.python.failure import Failure

from hapi.attempts import ATTEMPT_VARIABLE
from hapi.one_shot import OneShotObserver
from hapi.process.child_limits import holder_environment
from hapi.process.interface import HOLDER_NAME, Launched, LaunchFailed, LaunchPlan
from hapi.protocol.attempt import ProcessIdentity

INTERPRETER_OPTIONS = ("-I", "-S", "-E", "-X", HOLDER_NAME)
RUNNER_ONLY_VARIABLES = (  # prefixes of variables that a session does not inherit
    *("HAPI_RUNNER_HANDOFF_FROM_PID", "NOTIFY_SOCKET", "LISTEN_", "WATCHDOG_"),
    # A session is not the systemd unit of the runner. A runner started in it is a unit of its own.
    *("INVOCATION_ID", "SYSTEMD_EXEC_PID", "JOURNAL_STREAM"),
)
REPORT_DESCRIPTOR = 3
MAX_REPORT_SIZE = 4096  # bytes
REPORT_TIMEOUT = 10.0  # seconds until a holder must have reported that its session runs
SUSPENSION_THRESHOLD = 1.0  # seconds: a timer that is later than this means we were suspended
REAP_INTERVAL = 10.0  # seconds between attempts to reap a child whose exit cannot be watched


class HolderFailed(LaunchFailed):
    """The holder ended or timed out before it reported: the session program was never tried."""


class ChildProtocol(ProcessProtocol):
    """A child process; `exited` fires once with its wait status, or None if that is unknown."""

    transport: Any  # Twisted's process.Process: `reapProcess` is not part of IProcessTransport
    pid: int

    def __init__(self) -> None:
        self.exited: OneShotObserver[int | None] = OneShotObserver()

    def connectionMade(self) -> None:
        self.pid = int(self.transport.pid)  # the transport forgets it when the child has ended

    def processExited(self, reason: Failure) -> None:
        ended: Any = reason.value  # ProcessDone or ProcessTerminated
        self.exited.fire(ended.status)

    def reap(self) -> bool:
        """Take the exit status of the child, for a program without Twisted's SIGCHLD handler.

        Returns False while it runs. Calls `processExited` and `processEnded` as Twisted does.
        """
        if self.exited.has_fired:
            return True
        try:
            if os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
                return False
        except ChildProcessError:  # another part of this program has reaped it
            unregisterReapProcessHandler(self.pid, self.transport)
            self.exited.fire(None)
            self.abandoned()
            return True
        self.transport.reapProcess()
        return self.exited.has_fired

    def abandoned(self) -> None:
        """The child was reaped by another part of this program; `processEnded` will not come."""


class HolderProtocol(ChildProtocol):
    """The holder of one session. `report` fires with the line that it writes on descriptor 3.

    A holder that exits without a report fires it with what came before, most often b"". `report`
    errs with TimeoutError after `timeout` seconds in which this process was not suspended.
    """

    def __init__(self, reactor: Any, timeout: float = REPORT_TIMEOUT) -> None:
        super().__init__()
        self._reactor, self._timeout = reactor, timeout
        self._received = b""
        self._due: float
        self._timer: IDelayedCall | None = None
        self.report: Deferred[bytes] = Deferred(lambda _: self._stop_timer())

    def connectionMade(self) -> None:
        super().connectionMade()
        self._start_timer()

    def childDataReceived(self, childFD: int, data: bytes) -> None:
        self._received += data
        if self._received.endswith(b"\n") or len(self._received) > MAX_REPORT_SIZE:
            self._reported()

    # `childConnectionLost` decides nothing: a stopping reactor closes the pipe of a living holder.
    # Its session comes up and belongs to the next runner, so no failed launch may be recorded.

    def processEnded(self, reason: Failure) -> None:
        """The holder has exited, and all that it wrote was received."""
        self._reported()

    def abandoned(self) -> None:
        self._reported()

    def _reported(self) -> None:
        self._stop_timer()
        if not self.report.called:
            self.report.callback(self._received)

    # --- the time limit

    def _start_timer(self) -> None:
        self._due = self._reactor.seconds() + self._timeout
        self._timer = self._reactor.callLater(self._timeout, self._overdue)

    def _stop_timer(self) -> None:
        if self._timer is not None and self._timer.active():
            self._timer.cancel()

    def _overdue(self) -> None:
        """Wait one more turn: after SIGCONT a reactor runs overdue calls before it reads."""
        self._timer = self._reactor.callLater(0, self._timed_out)

    def _timed_out(self) -> None:
        if self._reactor.seconds() - self._due > SUSPENSION_THRESHOLD:
            self._start_timer()
        elif not self.report.called:
            message = f"its holder did not report within {self._timeout:.0f} s"
            self.report.errback(TimeoutError(message))


def start_holder(
    reactor: Any,
    plan: LaunchPlan,
    prefix: tuple[str, ...] = (),
    timeout: float = REPORT_TIMEOUT,
    variables: Mapping[str, str] = MappingProxyType({}),
) -> HolderProtocol:
    """Start the holder of `plan`. Raises LaunchFailed.

    `prefix`: absolute path and arguments of a program that then becomes the holder (systemd-run).
    `variables`: for the holder alone, in addition to its limits; the session does not see them.
    """
    if not plan.argv or not plan.argv[0]:
        raise LaunchFailed("the session", "the command line is empty")
    program = plan.argv[0]
    if any("\0" in word for word in (*plan.argv, plan.cwd)):
        raise LaunchFailed(program.replace("\0", ""), "an argument contains a NUL byte")
    argv = [*session_prefix(), *prefix, sys.executable, *INTERPRETER_OPTIONS, holder_program()]
    argv += [str(plan.attempt.path), plan.cwd, *plan.argv]
    holder = HolderProtocol(reactor, timeout)
    descriptors: list[int] = []
    try:
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptors.append(os.open(plan.attempt.output, flags, 0o600))
        descriptors.append(os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC))
        output, null = descriptors
        # Without `path`, `uid` and a pty Twisted spawns without a fork of this process, however
        # large it is. The holder changes the directory and starts a session of its own.
        # CPU time of one call: 1.1 ms; 1.3 ms in a process of 500 MB; 4.0 ms with 1,000 open
        # descriptors, whose close-on-exec flags Twisted reads one by one.
        reactor.spawnProcess(
            holder,
            argv[0],
            [os.fsencode(word) for word in argv],
            env=encoded(
                session_environment(plan) | holder_environment(plan.limits) | dict(variables)
            ),
            childFDs={0: null, 1: output, 2: output, REPORT_DESCRIPTOR: "r"},
        )
    except (OSError, ValueError, TypeError) as error:
        raise LaunchFailed(program, describe_error(error)) from error
    finally:
        for descriptor in descriptors:
            os.close(descriptor)
    return holder


@cache
def session_prefix() -> tuple[str, ...]:
    """`setsid` of util-linux, where it is installed: the holder then leaves the runner's session
    before its interpreter starts, not after.

    Under `sched_autogroup` a session is one party to the CPU's time, so that starting holders would
    take the runner's part. 20 starts at once on a busy 2-core machine: the longest silence of the
    control API 250-540 ms without this and 125-160 ms with it. It costs 1 ms per start.
    """
    program = shutil.which("setsid")
    return () if program is None else (program,)


def encoded(environment: Mapping[str, str]) -> dict[bytes, bytes]:
    """`environment` as the kernel gets it: Twisted refuses text that is not valid UTF-8."""
    return {os.fsencode(name): os.fsencode(value) for name, value in environment.items()}


# --- exits


def reactor_reaps_children() -> bool:
    """Whether Twisted's SIGCHLD handler is installed, so that `processExited` comes by itself.

    It is not where an embedding program runs the reactor with `installSignalHandlers=False`, runs
    it outside the main thread, or has installed a handler of its own.
    """
    handler = signal.getsignal(signal.SIGCHLD)
    return getattr(handler, "__module__", "").startswith("twisted.")


def reap_on_exit(
    reactor: Any,
    child: ChildProtocol,
    identify: Callable[[int], ProcessIdentity | None],
    when_exited: Callable[[ProcessIdentity], Deferred[Any]],
) -> None:
    """Reap `child` once it has exited, where the reactor does not (see `reactor_reaps_children`).

    `identify` and `when_exited` are those of IProcesses; `when_exited` must not depend on `child`.
    """
    if child.exited.has_fired:
        return
    try:
        identity = identify(child.pid)
    except OSError:  # no descriptor is free
        identity = None
    again = partial(reap_on_exit, reactor, child, identify, when_exited)
    if identity is not None:
        when_exited(identity).addBoth(lambda _: again())
    elif not child.reap():
        reactor.callLater(REAP_INTERVAL, again)


# --- the holder's program, its environment and its report


@cache
def holder_program() -> str:
    """Path of the holder's byte code: twice as fast to start as the source, and 1 MB less."""
    source = Path(__file__).with_name("holder.py")
    try:
        importlib.import_module(
            "hapi.process.holder"
        )  # writes the byte code if it is missing or old
        found = importlib.util.cache_from_source(str(source))
        with open(found, "rb") as file:
            flags, mtime, size = struct.unpack("<4xIII", file.read(16))  # PEP 552
        facts = source.stat()
        if (flags, mtime, size) == (
            0,
            int(facts.st_mtime) & 0xFFFFFFFF,
            facts.st_size & 0xFFFFFFFF,
        ):
            return found
    except (OSError, ImportError, NotImplementedError, struct.error):
        pass
    return str(source)


def session_environment(plan: LaunchPlan) -> dict[str, str]:
    """The environment of `plan` without the runner's own variables, with the attempt's mark."""
    kept = {
        name: value
        for name, value in plan.environment.items()
        if not name.startswith(RUNNER_ONLY_VARIABLES)
    }
    return {**kept, ATTEMPT_VARIABLE: plan.attempt.id}


def describe_error(error: Exception) -> str:
    if isinstance(error, OSError) and error.errno is not None:
        return os.strerror(error.errno)
    return str(error)


def parse_report(line: bytes, plan: LaunchPlan, boot_id: str) -> Launched:
    """The processes that a holder reported. Raises LaunchFailed."""
    program = plan.argv[0] if plan.argv else "the session"
    words = line.decode(errors="replace").split()
    match words:
        case ["held", *numbers] if len(numbers) == 6 and line.endswith(b"\n"):
            holder, child = (
                ProcessIdentity(pid, ticks, boot_id, inode or None)
                for pid, ticks, inode in (map(int, numbers[:3]), map(int, numbers[3:]))
            )
            return Launched(holder, child)
        case ["failed", number, "directory"]:
            reason = os.strerror(int(number)).lower()
            raise LaunchFailed(program, f"its directory {plan.cwd} cannot be used ({reason})")
        case ["failed", number, _what]:
            raise LaunchFailed(program, explain_errno(int(number)))
    output = " ".join(plan.attempt.tail(400).split())
    raise HolderFailed(
        program, "its holder ended without a report" + (f" ({output})" if output else "")
    )


def explain_errno(number: int) -> str:
    match number:
        case errno.ENOENT:
            return "there is no such program, or the interpreter its first line names is missing"
        case errno.EACCES:
            return "it is not executable"
        case errno.ENOEXEC:
            return "it is not a program for this machine"
        case errno.E2BIG:
            return "its arguments are too long"
    return os.strerror(number).lower()
