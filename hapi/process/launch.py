"""Starting a session below a holder: one posix_spawn here, one in the holder, and a line that comes back on a pipe."""

from __future__ import annotations

import errno
import importlib
import importlib.util
import os
import signal
import struct
import sys
from functools import cache
from pathlib import Path
from typing import Any

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionLost
from twisted.internet.interfaces import IDelayedCall
from twisted.python.failure import Failure

from hapi.attempts import MARK
from hapi.process.child_limits import holder_environment
from hapi.process.identity import boot_id
from hapi.process.interface import Launched, LaunchFailed, LaunchPlan
from hapi.protocol.attempt import ProcessIdentity

HOLDER_NAME = (
    "hapi-holder"  # an option that python ignores: holders of any installation are known by it
)
INTERPRETER_OPTIONS = ("-I", "-S", "-E", "-X", HOLDER_NAME)
RUNNER_ONLY_VARIABLES = (
    *("HAPI_RUNNER_HANDOFF_FROM_PID", "NOTIFY_SOCKET", "LISTEN_", "WATCHDOG_"),
    *(
        "INVOCATION_ID",
        "SYSTEMD_EXEC_PID",
        "JOURNAL_STREAM",
    ),  # a session is not the unit: a runner started in it is its own
)
REPORT_TIMEOUT = 10.0  # seconds a holder has to say that the session runs
SUSPENSION_THRESHOLD = (
    1.0  # seconds: whoever comes later than that to his own appointment was stopped
)
_SIGNALS = [number for number in signal.Signals if number not in (signal.SIGKILL, signal.SIGSTOP)]


class HolderFailed(LaunchFailed):
    """Whatever was to become the holder never spoke: the session itself was not even tried."""


def start_holder(plan: LaunchPlan, before: tuple[str, ...] = ()) -> tuple[int, int]:
    """Start the holder of `plan`: its pid, and the pipe on which it reports. Raises LaunchFailed.

    `before`: the absolute path and words of a program that becomes the holder (systemd-run).
    """
    if not plan.argv or not plan.argv[0]:
        raise LaunchFailed("the session", "no program is named")
    program = plan.argv[0]
    if any("\0" in word for word in (*plan.argv, plan.cwd)):
        raise LaunchFailed(program.replace("\0", ""), "an argument holds a NUL byte")
    descriptors: list[int] = []
    try:
        descriptors += os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        reading, writing = descriptors
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptors.append(os.open(plan.attempt.output, flags, 0o600))
        descriptors.append(os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC))
        output, nothing = descriptors[2:]
        os.set_blocking(writing, True)
        words = [
            *before,
            sys.executable,
            *INTERPRETER_OPTIONS,
            holder_program(),
            str(plan.attempt.path),
            plan.cwd,
            *plan.argv,
        ]
        pid = os.posix_spawn(
            words[0],
            words,
            session_environment(plan) | holder_environment(plan.limits),
            file_actions=[
                (os.POSIX_SPAWN_DUP2, *pair)
                for pair in _to_low((nothing, 0), (output, 1), (output, 2), (writing, 3))
            ],
            setsid=True,
            setsigmask=(),
            setsigdef=_SIGNALS,
        )
        descriptors.remove(reading)
        return pid, reading
    except (OSError, ValueError) as error:
        raise LaunchFailed(program, describe_error(error)) from error
    finally:
        for descriptor in descriptors:
            os.close(descriptor)


@cache
def holder_program() -> str:
    """The holder's program. As byte code it starts in half the time and needs a megabyte less than its source."""
    source = Path(__file__).with_name("holder.py")
    try:
        importlib.import_module(
            "hapi.process.holder"
        )  # writes the byte code unless it is there and fresh
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


def _to_low(*pairs: tuple[int, int]) -> list[tuple[int, int]]:
    """Moves of descriptors in an order in which none is overwritten before it was moved.

    They are made by a runner that has 0, 1 and 2 open, so only descriptor 3 can be a source as well: it is moved out first.
    """
    if all(source != 3 for source, _target in pairs[:-1]):
        return list(pairs)
    spare = max(source for source, _target in pairs) + 1
    return [(3, spare), *((spare if source == 3 else source, target) for source, target in pairs)]


def session_environment(plan: LaunchPlan) -> dict[str, str]:
    """The session's environment: without what is meant for the runner alone, with the mark of its attempt."""
    kept = {
        name: value
        for name, value in plan.environment.items()
        if not name.startswith(RUNNER_ONLY_VARIABLES)
    }
    return {**kept, MARK: plan.attempt.id}


def describe_error(error: Exception) -> str:
    if isinstance(error, OSError) and error.errno is not None:
        return os.strerror(error.errno)
    return str(error)


def parse_report(line: bytes, plan: LaunchPlan) -> Launched:
    """What the holder reported. Raises LaunchFailed."""
    program = plan.argv[0] if plan.argv else "the session"
    words = line.decode(errors="replace").split()
    match words:
        case ["held", *numbers] if len(numbers) == 6 and line.endswith(b"\n"):
            first, second = (
                tuple(int(number) for number in part) for part in (numbers[:3], numbers[3:])
            )
            return Launched(
                *(
                    ProcessIdentity(pid, ticks, boot_id(), inode or None)
                    for pid, ticks, inode in (first, second)
                )
            )
        case ["failed", number, "directory"]:
            raise LaunchFailed(
                program,
                f"its directory {plan.cwd} cannot be used ({os.strerror(int(number)).lower()})",
            )
        case ["failed", number, _what]:
            raise LaunchFailed(program, explain_errno(int(number)))
    last = " ".join(plan.attempt.tail(400).split())
    raise HolderFailed(program, "its holder ended without a word" + (f" ({last})" if last else ""))


def explain_errno(number: int) -> str:
    match number:
        case errno.ENOENT:
            return "there is no such program, or the interpreter its first line names is missing"
        case errno.EACCES:
            return "it is not executable"
        case errno.ENOEXEC:
            return "it is no program of this machine"
        case errno.E2BIG:
            return "its arguments are too long"
    return os.strerror(number).lower()


@define(eq=False)
class Report:
    """Reads one line from a pipe: fires with it, or with what came before the pipe was closed.

    Errs with TimeoutError after `patience` seconds, in which we have run ourselves: not when we were stopped meanwhile.
    """

    _reactor: Any  # IReactorFDSet and IReactorTime
    _descriptor: int
    _patience: float = REPORT_TIMEOUT
    done: Deferred[bytes] = field(init=False)
    _received: bytes = b""
    _due: float = field(init=False)
    _overdue: IDelayedCall = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.done = Deferred(lambda _: self._close())
        self._reactor.addReader(self)
        self._wait()

    def _wait(self) -> None:
        self._due = self._reactor.seconds() + self._patience
        self._overdue = self._reactor.callLater(self._patience, self._give_up)

    def _give_up(self) -> None:
        """Not before a last look: after a SIGCONT the reactor runs what is due before it reads what has come."""
        self.doRead()
        if self.done.called:
            return
        if self._reactor.seconds() - self._due > SUSPENSION_THRESHOLD:
            self._wait()
            return
        self._close()
        self.done.errback(TimeoutError(f"its holder said nothing within {self._patience:.0f} s"))

    def fileno(self) -> int:
        return self._descriptor

    def logPrefix(self) -> str:
        return "holder"

    def doRead(self) -> None:
        try:
            part = os.read(self._descriptor, 4096)
        except BlockingIOError:
            return
        except OSError:
            part = b""
        self._received += part
        if not part or self._received.endswith(b"\n") or len(self._received) > 4096:
            self._close()
            self.done.callback(self._received)

    def connectionLost(self, reason: Failure) -> None:
        """The holder closed its end, or the reactor stops: then nothing is known, and nobody is to be told anything."""
        if self._descriptor != -1:
            self._close()
            if reason.check(ConnectionLost) is None:
                self.done.callback(self._received)

    def _close(self) -> None:
        if self._overdue.active():
            self._overdue.cancel()
        if self._descriptor != -1:
            self._reactor.removeReader(self)
            os.close(self._descriptor)
            self._descriptor = -1
