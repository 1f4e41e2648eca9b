"""The new side of a hand-off: what a starting runner inherits from the one it is to replace, and the proof that it did.

The environment names descriptors: the locked `runner.lock`, the two listeners, a socket to channel on. Words in an environment are
worth nothing by themselves; a start whose descriptors are not what they should be is a start like any other.
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

FROM_PID, DESCRIPTORS = "HAPI_RUNNER_HANDOFF_FROM_PID", "HAPI_RUNNER_HANDOFF_FDS"
NONE = -1  # in place of a listener that there is not

log = Logger()


@frozen
class StartCommand:
    """How this program was started: with that it is started again. To be captured before anything is changed."""

    argv: tuple[str, ...]
    cwd: str | None  # None: it is gone
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
    """The descriptors to be inherited."""

    lock: int
    tcp: int
    unix: int = NONE


@define(eq=False)
class InheritedDescriptors:
    """Descriptors that came from process `predecessor`. All are ours and none goes on to a session."""

    predecessor: int
    lock: int
    tcp: int
    unix: int  # NONE: it had no unix socket
    channel: int
    token: str | None = None  # of the control API, so that callers' tokens stay good
    ages: list[float] = field(factory=list)  # of earlier hand-offs, in seconds


def take_handoff_environment(environ: MutableMapping[str, str]) -> tuple[str, str] | None:
    """Take the hand-off's words out of `environ`, so that no session sees them; None when there are none."""
    pid, descriptors = environ.pop(FROM_PID, None), environ.pop(DESCRIPTORS, None)
    if pid is None or descriptors is None:
        return None  # npm's runners name their pid alone: that is a normal start, which waits for the lock
    environ.pop("HAPI_ATTEMPT", None)  # the mark by which our predecessor finds what belongs to us
    return pid, descriptors


def verify_inherited(words: tuple[str, str] | None, home: Home) -> InheritedDescriptors | None:
    """The inherited that `words` promise, None when it is not there (faults.md H12). Never raises."""
    if words is None:
        return None
    try:
        pid = int(words[0])
        lock, tcp, unix, channel = (int(word) for word in words[1].split(","))
        found = InheritedDescriptors(pid, lock, tcp, unix, channel)
    except ValueError:
        wrong: str | None = "the words make no sense"
    else:
        wrong = _what_is_wrong(found, home)
    if wrong is not None:
        log.warn("{name} is ignored: {reason}", name=FROM_PID, reason=wrong)
        return None
    for descriptor in (lock, tcp, unix, channel):
        if descriptor != NONE:
            os.set_inheritable(descriptor, False)
    for descriptor in (tcp, unix):
        if descriptor != NONE:
            os.set_blocking(
                descriptor, False
            )  # a blocking listener freezes the reactor in accept (H14)
    return found


def _what_is_wrong(found: InheritedDescriptors, home: Home) -> str | None:
    if found.predecessor <= 1 or found.predecessor == os.getpid():
        return f"{found.predecessor} is nobody's predecessor"
    given = [found.lock, found.tcp, found.unix, found.channel]
    if (
        any(
            descriptor < 3 for descriptor in given if descriptor != NONE or descriptor != found.unix
        )
        or len(set(given)) < 4
    ):
        return "it names no descriptors of a hand-off"
    try:
        if not _is_locked_by(found.lock, home):
            return "the lock was not handed over"
        if not _listens(found.tcp, socket.AF_INET) or (
            found.unix != NONE and not _listens(found.unix, socket.AF_UNIX)
        ):
            return "the listeners were not handed over"
        if not stat.S_ISSOCK(os.fstat(found.channel).st_mode):
            return "there is nobody to channel to"
    except (OSError, ValueError, OverflowError) as error:
        return f"the descriptors are not there: {error}"
    return None


def _is_locked_by(descriptor: int, home: Home) -> bool:
    """Whether `descriptor` is this home's `runner.lock` and holds its lock: a fresh open cannot lock it, and this one can."""
    facts, named = os.fstat(descriptor), home.runner_lock.lstat()
    if (facts.st_dev, facts.st_ino) != (named.st_dev, named.st_ino) or not stat.S_ISREG(
        facts.st_mode
    ):
        return False
    fresh = os.open(home.runner_lock, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        fcntl.flock(fresh, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        pass
    else:
        return False  # nobody held it; closing gives it up again
    finally:
        os.close(fresh)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False  # somebody holds it, by another open than this one
    return True


def _listens(descriptor: int, family: int) -> bool:
    with socket.socket(fileno=os.dup(descriptor)) as listener:
        if listener.family != family or not listener.getsockopt(
            socket.SOL_SOCKET, socket.SO_ACCEPTCONN
        ):
            return False
        return family != socket.AF_INET or listener.getsockname()[0] == "127.0.0.1"


def handoff_environment(
    predecessor: int, lock: int, tcp: int, unix: int, channel: int
) -> dict[str, str]:
    """The environment that tells a replacement what it inherits."""
    return {FROM_PID: str(predecessor), DESCRIPTORS: f"{lock},{tcp},{unix},{channel}"}


def seen(value: Any) -> list[float]:
    """The ages in a message, [] for anything else."""
    return (
        [float(age) for age in value if isinstance(age, int | float)]
        if isinstance(value, list)
        else []
    )
