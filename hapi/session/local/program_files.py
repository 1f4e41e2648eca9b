"""The directories in which programs of a terminal find their files: `tmp/local-PID.RANDOM` in the
home, of the session process PID."""

from __future__ import annotations

import os
from pathlib import Path

from twisted.logger import Logger

from hapi.home import remove_tree
from hapi.process.kernel import kernel

MAX_DIGITS = 10  # of a process id


def make_directory(parent: Path) -> Path:
    """A new directory for this process. Those of processes that were killed are removed."""
    remove_left(parent)
    path = parent / f"local-{os.getpid()}.{os.urandom(3).hex()}"
    path.mkdir(mode=0o700)
    return path


def remove_left(parent: Path) -> None:
    """Remove the directories of processes that were killed."""
    for path in parent.glob("local-*.*"):
        pid = path.name.removeprefix("local-").partition(".")[0]
        is_pid = pid.isascii() and pid.isdigit() and len(pid) <= MAX_DIGITS
        if is_pid and kernel().identify(int(pid)) is None:
            remove_directory(path)


def remove_directory(path: Path) -> None:
    """Remove the directory; where that fails, the log tells."""
    try:
        remove_tree(path)
    except OSError as error:
        Logger("hapi.session.local").warn(
            "{path} cannot be removed: {reason}", path=str(path), reason=str(error)
        )
