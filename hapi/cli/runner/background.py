"""Start the runner in the background and wait until it is ready, or explain why it is not."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from attrs import frozen

from hapi.cli.base.errors import ERROR, HELD, REFUSED, UNREACHABLE, CommandError
from hapi.home import PRIVATE_FILE_MODE, Home
from hapi.redaction import Secrets, escape_control

if TYPE_CHECKING:
    from hapi.cli.checks.hub_check import HubVerdict

DETACHED_VARIABLE = "HAPI_RUNNER_DETACHED"  # set: nobody reads the runner's output once it is up
SUPERVISOR_VARIABLES = (  # prefixes of what a supervisor sets for this command alone
    "NOTIFY_SOCKET",
    "WATCHDOG_",
    "LISTEN_",
)
POLL_INTERVAL = 0.05  # seconds
OUTPUT_TAIL = 2_000  # bytes of the runner's output that are read for an error message


@frozen
class ForeignProcess:
    """A runner that somebody else started; stands in for a Popen."""

    pid: int

    def poll(self) -> int | None:
        return None


@frozen
class BackgroundProcess:
    """A runner in the background; its output goes to `output`."""

    process: subprocess.Popen[bytes] | ForeignProcess
    output: Path = Path(os.devnull)

    def output_tail(self, secrets: Secrets) -> str:
        """The last lines it printed, on one line and without secrets."""
        from hapi.runner.handoff.program import told_lines

        try:
            text = self.output.read_bytes()[-OUTPUT_TAIL:].decode("utf-8", "replace")
        except OSError:
            return ""
        return escape_control(secrets.redact(" / ".join(told_lines(text)[-3:])))


def start_in_background(home: Home, words: list[str]) -> BackgroundProcess:
    """Start `hapi WORDS` as leader of a session of its own, its output going to HAPI_HOME/logs."""
    name = f"{time.strftime('%Y-%m-%d-%H-%M-%S')}-pid-{os.getpid()}-start.out"
    output = home.directory("logs") / name
    descriptor = os.open(
        output,
        os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC,
        PRIVATE_FILE_MODE,
    )
    try:
        process = subprocess.Popen(
            background_command(words),
            stdin=subprocess.DEVNULL,
            stdout=descriptor,
            stderr=descriptor,
            start_new_session=True,
            close_fds=True,
            env=background_environment(),
        )
    finally:
        os.close(descriptor)
    return BackgroundProcess(process, output)


def background_command(words: list[str]) -> list[str]:
    """The command line of `hapi WORDS` with this Python and package."""
    return [sys.executable, "-P", "-m", "hapi", *words]


def background_environment() -> dict[str, str]:
    """Our environment without what a supervisor set for this command alone."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(SUPERVISOR_VARIABLES)
    }
    return {**kept, DETACHED_VARIABLE: "1"}


@frozen
class Readiness:
    """What one query of a starting runner found."""

    answers: bool
    registered: bool
    status: dict[str, Any]

    @property
    def refused(self) -> bool:
        """Whether the hub refuses the token, so that waiting longer does not help."""
        hub = self.status.get("hub") or {}
        by_hub = self.status.get("registered") or hub.get("refusedWith") in (401, 403)
        return self.answers and hub.get("phase") == "refused" and bool(by_hub)

    @property
    def hub_url(self) -> str:
        return escape_control((self.status.get("hub") or {}).get("url") or "")

    def reached(self, wanted: str) -> bool:
        return self.answers and (self.registered or wanted == "api-only")


async def wait_until_ready(
    clock: Any,
    started: BackgroundProcess,
    wanted: str,
    seconds: float,
    query: Callable[[], Awaitable[Readiness]],
    secrets: Secrets,
    ask_hub: Callable[[], Awaitable[HubVerdict]] | None = None,
) -> Readiness:
    """Poll until the runner is ready as `wanted` ("full" or "api-only").

    Raises CommandError when the runner exits, the hub refuses its token, or `seconds` are over.
    `ask_hub` checks the hub directly when the runner knows no reason by then.
    """
    from twisted.internet.task import deferLater

    deadline = clock.seconds() + seconds
    while True:
        code = started.process.poll()
        if code is not None:
            reason = started.output_tail(secrets) or f"exit status {code}"
            message = f"the runner exited during start-up: {reason}"
            if code != HELD:
                message += f"; its whole output is in {escape_control(started.output)}"
            raise CommandError(message, HELD if code == HELD else ERROR)
        found = await query()
        if found.reached(wanted):
            return found
        hub = found.status.get("hub") or {}
        if found.refused:
            raise _refused_error(started, found.hub_url, _clean(hub.get("reason"), secrets))
        if clock.seconds() >= deadline:
            raise await _timeout_error(started, found, wanted, seconds, secrets, ask_hub)
        await deferLater(clock, POLL_INTERVAL)


def _clean(reason: object, secrets: Secrets) -> str:
    return escape_control(secrets.redact(str(reason or "")))


async def _timeout_error(
    started: BackgroundProcess,
    found: Readiness,
    wanted: str,
    seconds: float,
    secrets: Secrets,
    ask_hub: Callable[[], Awaitable[HubVerdict]] | None,
) -> CommandError:
    """Why the runner is not ready after `seconds`, as exactly as that can be found out."""
    reason = _clean((found.status.get("hub") or {}).get("reason"), secrets)
    if not reason and ask_hub is not None and wanted == "full":
        verdict = await ask_hub()
        reason = _clean(verdict.reason, secrets)
        if verdict.finding == "refused":
            return _refused_error(started, found.hub_url, reason)
    return _late_error(started, found, seconds, reason, secrets)


def _refused_error(started: BackgroundProcess, url: str, reason: str) -> CommandError:
    hub = f"the hub at {url}" if url else "the hub"
    return CommandError(
        f"{hub} refuses the access token of this runner (pid {started.process.pid}): "
        f"{reason or 'no reason given'}; the runner keeps retrying with increasing delays "
        "(`hapi auth login` saves another token, `hapi runner stop` stops the runner)",
        REFUSED,
    )


def _late_error(
    started: BackgroundProcess, found: Readiness, seconds: float, reason: str, secrets: Secrets
) -> CommandError:
    pid = started.process.pid
    if found.answers:
        phase = (found.status.get("hub") or {}).get("phase")
        reason = reason or escape_control(phase or "no answer yet")
        return CommandError(
            f"the runner (pid {pid}) is running but not registered at {found.hub_url} after "
            f"{seconds:g} s: {reason}; the runner keeps retrying (`hapi doctor` checks the cause, "
            "`hapi runner stop` stops the runner)",
            UNREACHABLE,
        )
    output = started.output_tail(secrets) or reason
    late = f"the runner (pid {pid}) does not answer after {seconds:g} s"
    hint = f"see {started.output} or run `hapi doctor`"
    return CommandError(f"{late}: {output}; {hint}" if output else f"{late}; {hint}")
