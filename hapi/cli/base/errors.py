"""Exit codes, and the sentence that each known failure gets on standard error. Loads none of the modules it speaks of."""

from __future__ import annotations

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
RESTART = 75
INTERRUPTED = 130

MEANINGS = {
    DONE: "done; a runner or hub that was asked to stop left in order",
    ERROR: "an error, told in one sentence on standard error",
    USAGE: "wrong usage: unknown option or verb, a value that is none",
    HELD: "another runner holds this HAPI home",
    SUPERSEDED: "another runner has taken this HAPI home over",
    NOT_RUNNING: "the runner is not running",
    UNREACHABLE: "the hub cannot be reached",
    REFUSED: "the hub refused the access token",
    RESTART: "please start me again (for supervisors)",
    INTERRUPTED: "interrupted with Ctrl+C while asking",
}


@frozen
class Failure:
    """A failure that we foresaw."""

    sentence: str
    exit_code: int


class Stop(Exception):
    """Ends a command with one sentence on standard error and `exit_code`."""

    def __init__(self, sentence: str, exit_code: int = ERROR) -> None:
        super().__init__(sentence)
        self.exit_code = exit_code


_CODES = {
    "hapi.home.HomeUnusable": ERROR,
    "hapi.settings.InvalidSettings": ERROR,
    "hapi.settings.ConfigurationError": ERROR,
    "hapi.settings.InvalidFlag": USAGE,
    "hapi.hub.options.NoPort": USAGE,
    "hapi.runner.lock.home_lock.HomeHeld": HELD,
    "hapi.runner.lock.flock.LockUnusable": ERROR,
    "hapi.runner.control.client.RunnerNotRunning": NOT_RUNNING,
    "hapi.runner.control.client.ControlFailed": ERROR,
    "hapi.net.common.errors.HubUnreachable": UNREACHABLE,
    "hapi.net.common.errors.HubRefused": ERROR,
    "hapi.hub.service.CannotServe": ERROR,
    "hapi.hub.store.interface.StoreRefused": ERROR,
}

_HINTS = {
    "hapi.hub.service.CannotServe": " (--port chooses another port)",
    "hapi.runner.control.client.RunnerNotRunning": "; start it with `hapi runner start`",
}


def known(error: BaseException | None) -> Failure | None:
    """The sentence and code for `error`, None for what nobody foresaw (a bug: it keeps its traceback)."""
    if isinstance(error, Stop):
        return Failure(escape_control(error), error.exit_code)
    if getattr(error, "status", None) in (401, 403) and type(error).__name__ == "HubRefused":
        return Failure(
            f"the hub refused the access token ({escape_control(error)}): run `hapi auth login`",
            REFUSED,
        )
    for kind in type(error).__mro__[:-1]:
        name = f"{kind.__module__}.{kind.__qualname__}"
        if name in _CODES:
            return Failure(
                (escape_control(error) or kind.__name__) + _HINTS.get(name, ""), _CODES[name]
            )
    return None


def epilog(*further: int, serves: bool = False) -> str:
    """The exit codes of a command, for the end of its --help: `further` ones and those of all. `serves`: Ctrl+C is no failure."""
    codes = sorted({DONE, ERROR, USAGE, *further, *(() if serves else (INTERRUPTED,))})
    return "\b\nExit codes:\n" + "\n".join(f"  {code:<3} {MEANINGS[code]}" for code in codes)
