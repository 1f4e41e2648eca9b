"""The descriptors of a hand-off: passed on by the outgoing runner, verified by its replacement.

The environment names them: the locked `runner.lock`, both listeners and the channel. The names
prove nothing by themselves. `verify_inherited` checks the descriptors, and a start whose
descriptors are not what they should be is an ordinary start.
"""

from __future__ import annotations

import fcntl
import os
import socket
import stat
import sys
from collections.abc import Mapping, MutableMapping
from typing import Any

from attrs import define, field, frozen
from twisted.logger import Logger

from hapi.home import Home
from hapi.runner.handoff.streams import OutputStreams

FROM_PID, DESCRIPTORS = "HAPI_RUNNER_HANDOFF_FROM_PID", "HAPI_RUNNER_HANDOFF_FDS"
NONE = -1  # stands for a listener that does not exist

log = Logger()


@frozen
class StartCommand:
    """How this program was started, to start it again. Captured before anything is changed."""

    argv: tuple[str, ...]
    cwd: str | None  # None: the directory is gone
    environment: Mapping[str, str] = field(repr=False)

    @classmethod
    def capture(cls, environ: Mapping[str, str] = os.environ) -> StartCommand:
        try:
            cwd: str | None = os.getcwd()
        except OSError:
            cwd = None
        return cls((sys.executable, *sys.orig_argv[1:]), cwd, dict(environ))


@frozen
class HandoverDescriptors:
    """The descriptors that a replacement inherits."""

    lock: int
    tcp: int
    unix: int = NONE


@define(eq=False, repr=False)
class InheritedDescriptors:
    """What this process inherited from the outgoing runner. No session inherits it."""

    outgoing_pid: int
    lock: int
    tcp: int
    unix: int  # NONE: there is no unix socket
    channel: int
    token: str | None = None  # of the control API: tokens of callers stay valid
    ages: list[float] = field(factory=list)  # of earlier hand-offs, in seconds
    streams: OutputStreams | None = None  # where the output goes after the hand-off


def take_handoff_environment(environ: MutableMapping[str, str]) -> tuple[str, str] | None:
    """Remove the variables of a hand-off from `environ`; None when there are none."""
    pid, descriptors = environ.pop(FROM_PID, None), environ.pop(DESCRIPTORS, None)
    if pid is None or descriptors is None:
        # npm's runners name only their pid: an ordinary start, which waits for the lock
        return None
    # By this mark the outgoing runner finds the processes of its replacement.
    environ.pop("HAPI_ATTEMPT", None)
    return pid, descriptors


def verify_inherited(names: tuple[str, str] | None, home: Home) -> InheritedDescriptors | None:
    """The descriptors that `names` lists, None when they are not a hand-off's (faults.md H12).

    Never raises.
    """
    if names is None:
        return None
    try:
        pid = int(names[0])
        lock, tcp, unix, channel = (int(word) for word in names[1].split(","))
        found = InheritedDescriptors(pid, lock, tcp, unix, channel)
    except ValueError:
        wrong: str | None = "its value is invalid"
    else:
        wrong = _reason_invalid(found, home)
    if wrong is not None:
        log.warn("{name} is ignored: {reason}", name=FROM_PID, reason=wrong)
        return None
    for descriptor in (lock, tcp, unix, channel):
        if descriptor != NONE:
            os.set_inheritable(descriptor, False)
    for descriptor in (tcp, unix):
        if descriptor != NONE:
            os.set_blocking(descriptor, False)  # a blocking listener blocks the reactor (H14)
    return found


def _reason_invalid(found: InheritedDescriptors, home: Home) -> str | None:
    if found.outgoing_pid <= 1 or found.outgoing_pid == os.getpid():
        return f"process {found.outgoing_pid} cannot be the outgoing runner"
    given = [found.lock, found.tcp, found.unix, found.channel]
    if (
        any(
            descriptor < 3 for descriptor in given if descriptor != NONE or descriptor != found.unix
        )
        or len(set(given)) < 4
    ):
        return "it does not name the descriptors of a hand-off"
    try:
        if not _is_locked_by(found.lock, home):
            return "the lock was not handed over"
        if not _listens(found.tcp, socket.AF_INET) or (
            found.unix != NONE and not _listens(found.unix, socket.AF_UNIX)
        ):
            return "the listeners were not handed over"
        if not stat.S_ISSOCK(os.fstat(found.channel).st_mode):
            return "the channel was not handed over"
    except (OSError, ValueError, OverflowError) as error:
        return f"the descriptors are not open: {error}"
    return None


def _is_locked_by(descriptor: int, home: Home) -> bool:
    """Whether `descriptor` is this home's `runner.lock` and holds its lock.

    A newly opened descriptor cannot lock the file then, and this one can.
    """
    facts, named = os.fstat(descriptor), home.runner_lock.lstat()
    if (facts.st_dev, facts.st_ino) != (named.st_dev, named.st_ino) or not stat.S_ISREG(
        facts.st_mode
    ):
        return False
    reopened = os.open(home.runner_lock, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        fcntl.flock(reopened, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        pass
    else:
        return False  # no process held it; closing releases it again
    finally:
        os.close(reopened)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False  # a process holds it through another open file
    return True


def _listens(descriptor: int, family: int) -> bool:
    with socket.socket(fileno=os.dup(descriptor)) as listener:
        if listener.family != family or not listener.getsockopt(
            socket.SOL_SOCKET, socket.SO_ACCEPTCONN
        ):
            return False
        return family != socket.AF_INET or listener.getsockname()[0] == "127.0.0.1"


def handoff_environment(
    outgoing_pid: int, lock: int, tcp: int, unix: int, channel: int
) -> dict[str, str]:
    """The environment variables that name a replacement's descriptors."""
    return {FROM_PID: str(outgoing_pid), DESCRIPTORS: f"{lock},{tcp},{unix},{channel}"}


def valid_ages(value: Any) -> list[float]:
    """The ages in a message, [] for anything that is not a list."""
    return (
        [float(age) for age in value if isinstance(age, int | float)]
        if isinstance(value, list)
        else []
    )
