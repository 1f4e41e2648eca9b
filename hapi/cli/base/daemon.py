"""Start the runner in the background and wait until it is ready, or say why it is not."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from attrs import frozen

from hapi.cli.base.errors import ERROR, REFUSED, UNREACHABLE, Stop
from hapi.home import PRIVATE_FILE_MODE, Home
from hapi.redaction import Secrets, escape_control

DETACHED = "HAPI_RUNNER_DETACHED"  # environment: nobody reads the output, so nothing is said there once it is up
OF_OUR_UNIT = (
    "NOTIFY_SOCKET",
    "WATCHDOG_",
    "LISTEN_",
)  # what a supervisor told the command, not the runner it starts
GLANCE = 0.05  # seconds between looks
TAIL = 2_000  # bytes of the runner's last words


@frozen
class Attached:
    """A runner that somebody else started: as much of a Popen as is looked at here."""

    pid: int

    def poll(self) -> int | None:
        return None


@frozen
class Started:
    """A background process of ours; what it says goes to `output`."""

    process: subprocess.Popen[bytes] | Attached
    output: Path = Path(os.devnull)

    def last_words(self, secrets: Secrets) -> str:
        """The last lines it printed, on one line and without secrets."""
        try:
            text = self.output.read_bytes()[-TAIL:].decode("utf-8", "replace")
        except OSError:
            return ""
        lines = [line.removeprefix("hapi: ").strip() for line in text.splitlines() if line.strip()]
        return escape_control(secrets.redact(" / ".join(lines[-3:])))


def start_in_background(home: Home, words: list[str]) -> Started:
    """Start `hapi WORDS` as leader of a session of its own, its output going to HAPI_HOME/logs."""
    output = (
        home.directory("logs") / f"{time.strftime('%Y-%m-%d-%H-%M-%S')}-pid-{os.getpid()}-start.out"
    )
    descriptor = os.open(
        output,
        os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC,
        PRIVATE_FILE_MODE,
    )
    try:
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "hapi", *words],
            stdin=subprocess.DEVNULL,
            stdout=descriptor,
            stderr=descriptor,
            start_new_session=True,
            close_fds=True,
            env={
                **{
                    name: value
                    for name, value in os.environ.items()
                    if not name.startswith(OF_OUR_UNIT)
                },
                DETACHED: "1",
            },
        )
    finally:
        os.close(descriptor)
    return Started(process, output)


@frozen
class Readiness:
    """What a look at the runner that is coming up found."""

    answers: bool
    registered: bool
    status: dict[str, Any]

    @property
    def refused(self) -> bool:
        """Whether the hub does not take the token: waiting does not help."""
        hub = self.status.get("hub") or {}
        by_hub = self.status.get("registered") or hub.get("refusedWith") in (401, 403)
        return self.answers and hub.get("phase") == "refused" and bool(by_hub)

    def reached(self, wanted: str) -> bool:
        return self.answers and (self.registered or wanted == "api-only")


async def await_ready(
    clock: Any,
    started: Started,
    wanted: str,
    seconds: float,
    look: Callable[[], Any],
    secrets: Secrets,
    why: Callable[[], Awaitable[str]] | None = None,
) -> Readiness:
    """Look until the runner is ready as `wanted` (full, api-only). Raises Stop when it ends, is refused or is late.

    `why` is asked about the hub when the time is over before the runner has found out itself.
    """
    from twisted.internet.task import deferLater

    deadline = clock.seconds() + seconds
    while True:
        code = started.process.poll()
        if code is not None:
            raise Stop(
                f"the runner ended while starting: {started.last_words(secrets) or f'status {code}'}",
                max(code, 0) or ERROR,
            )
        found: Readiness = await look()
        if found.reached(wanted):
            return found
        if clock.seconds() >= deadline:
            known = (found.status.get("hub") or {}).get("reason")
            reason = str(known or (await why() if why is not None and wanted == "full" else ""))
            sentence = _late(
                started, found, seconds, escape_control(secrets.redact(reason)), secrets
            )
            raise Stop(sentence, UNREACHABLE if found.answers else ERROR)
        if found.refused:
            raise Stop(_refused(started, found, secrets), REFUSED)
        await deferLater(clock, GLANCE)


def _refused(started: Started, found: Readiness, secrets: Secrets) -> str:
    hub = found.status.get("hub") or {}
    return (
        f"the hub at {hub.get('url')} refuses this runner (pid {started.process.pid}): "
        f"{escape_control(secrets.redact(str(hub.get('reason') or 'no reason given')))}; it goes on asking, ever more seldom "
        "(`hapi auth login` keeps another token, `hapi runner stop` ends it)"
    )


def _late(started: Started, found: Readiness, seconds: float, reason: str, secrets: Secrets) -> str:
    pid = started.process.pid
    if found.answers:
        hub = found.status.get("hub") or {}
        return (
            f"the runner (pid {pid}) runs, but is not registered at {hub.get('url')} after {seconds:g} s: "
            f"{reason or escape_control(hub.get('phase') or 'no answer yet')}; "
            "it goes on trying (`hapi doctor` looks for the reason, `hapi runner stop` ends it)"
        )
    told = started.last_words(secrets) or reason
    return (
        f"the runner (pid {pid}) does not answer after {seconds:g} s"
        + (f": {told}" if told else "")
        + f"; see {started.output}, and `hapi doctor`"
    )
