"""Exit codes, and the sentence on standard error for each expected failure.

Error classes are named as text, so that this module imports none of theirs.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Mapping

from attrs import frozen

from hapi.redaction import escape_control

DONE = 0
ERROR = 1
USAGE = 2
HELD = 3
SUPERSEDED = 4
NOT_RUNNING = 5
UNREACHABLE = 6
REFUSED = 7
WAITING = 8
TURN_FAILED = 9
TIMED_OUT = 10
SESSION_OVER = 11
RESTART = 75
INTERRUPTED = 130

EXIT_CODE_MEANINGS = {
    DONE: "success",
    ERROR: "error, explained in one sentence on standard error",
    USAGE: "usage error: unknown command or option, or an invalid value",
    HELD: "another runner or hub is running in this HAPI home",
    SUPERSEDED: "another runner has taken over this HAPI home",
    NOT_RUNNING: "no runner or hub is running",
    UNREACHABLE: "the hub cannot be reached",
    REFUSED: "the hub refused the access token, or the token does not allow this",
    WAITING: "the agent waits for an answer of a person; the turn goes on with it",
    TURN_FAILED: "the turn failed, was stopped, or ended without an answer",
    TIMED_OUT: "the time ran out; the turn goes on",
    SESSION_OVER: "the session ended before the turn did",
    RESTART: "the program asks its supervisor to be started again",
    INTERRUPTED: "interrupted with Ctrl+C",
}


@frozen
class KnownFailure:
    """An expected failure, as the user sees it."""

    sentence: str
    exit_code: int


class CommandError(Exception):
    """Ends a command with one sentence on standard error and `exit_code`."""

    def __init__(self, sentence: str, exit_code: int = ERROR) -> None:
        super().__init__(sentence)
        self.exit_code = exit_code


_EXIT_CODES = {
    "hapi.home.HomeUnusable": ERROR,
    "hapi.settings.InvalidSettings": ERROR,
    "hapi.settings.ConfigurationError": ERROR,
    "hapi.settings.InvalidFlag": USAGE,
    "hapi.hub.options.NoPort": USAGE,
    "hapi.runner.lock.home_lock.HomeHeld": HELD,
    "hapi.file_lock.LockUnusable": ERROR,
    "hapi.runner.control.client.RunnerNotRunning": NOT_RUNNING,
    "hapi.runner.control.client.ControlFailed": ERROR,
    "hapi.net.common.errors.HubUnreachable": UNREACHABLE,
    "hapi.net.common.errors.HubFailed": ERROR,
    "hapi.net.common.errors.HubRefused": ERROR,
    "hapi.hub.lock.HubAlreadyRunning": HELD,
    "hapi.hub.port.CannotServe": ERROR,
    "hapi.hub.store.interface.StoreRefused": ERROR,
    "hapi.hub.store.backup.BackupFailed": ERROR,
    "hapi.hub.store.transfer.ends.TransferFailed": ERROR,
    "hapi.hub.store.transfer.ends.DatabaseInUse": HELD,
}

DISK_ERRORS = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO}

_HINTS = {
    "hapi.hub.port.CannotServe": " (use --port to choose another port)",
    "hapi.runner.control.client.RunnerNotRunning": "; start one with `hapi runner start`",
}


def known_failure(error: BaseException | None) -> KnownFailure | None:
    """The sentence and exit code for `error`; None for an unexpected error, which is a bug."""
    if isinstance(error, CommandError):
        return KnownFailure(escape_control(error), error.exit_code)
    status = getattr(error, "status", None)
    if status in (401, 403) and type(error).__name__ == "HubRefused":
        reason = escape_control(error)
        sentence = f"the hub refused the access token ({reason}); run `hapi auth login`"
        if status == 403:  # the token is right
            sentence = f"the access token does not allow this ({reason})"
        return KnownFailure(sentence, REFUSED)
    for kind in type(error).__mro__[:-1]:
        name = f"{kind.__module__}.{kind.__qualname__}"
        if name in _EXIT_CODES:
            sentence = escape_control(error) or kind.__name__
            return KnownFailure(sentence + _HINTS.get(name, ""), _EXIT_CODES[name])
    if isinstance(error, OSError) and error.errno in DISK_ERRORS:
        where = f" {escape_control(error.filename)}" if error.filename else ""
        return KnownFailure(f"cannot write{where}: {os.strerror(error.errno)}", ERROR)
    return None


def exit_codes_epilog(
    *further: int, serves: bool = False, meanings: Mapping[int, str] | None = None
) -> str:
    """The exit codes of a command for the end of its help: the `further` ones and those of all.

    `serves`: a program for which Ctrl+C is the orderly end. `meanings`: what codes mean here.
    """
    told = {**EXIT_CODE_MEANINGS, **(meanings or {})}
    codes = sorted({DONE, ERROR, USAGE, *further, *(() if serves else (INTERRUPTED,))})
    lines = [f"  {code:<3} {told[code]}" for code in codes]
    return "\b\nExit codes:\n" + "\n".join(lines)
