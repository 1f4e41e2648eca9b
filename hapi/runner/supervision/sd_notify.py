"""Reports the runner's state to systemd (sd_notify(3)): ready, alive, reloading, leaving.

The owner of the process creates the `SystemdNotifier`. An embedded runner has none: its host
program reports for itself.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from attrs import define, field
from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from hapi.redaction import escape_control

STATUS_INTERVAL = 5.0  # seconds between two checks of the status line
MAX_STATUS_CHARACTERS = 400


class HandoffState(Protocol):
    handed_over_to: int | None  # pid of the replacement


class NotifyingRunner(Protocol):
    """The runner, as far as the notifier needs it."""

    @property
    def handoff(self) -> HandoffState: ...

    def when_up(self) -> Deferred[None]: ...
    def status(self) -> Mapping[str, Any]: ...


@define
class NotifySocket:
    """The socket that NOTIFY_SOCKET names: a path, or `@name` for an abstract socket."""

    _address: str
    _socket: socket.socket | None = field(default=None, repr=False)

    @classmethod
    def named_by(cls, environ: Mapping[str, str]) -> NotifySocket | None:
        """The socket, None when the variable is not set or its kind of address is not supported."""
        address = environ.get("NOTIFY_SOCKET", "")
        return cls(address) if address.startswith(("/", "@")) and len(address) > 1 else None

    def send(self, *lines: str) -> bool:
        """Send assignments in one message; False when it could not be delivered. Never waits."""
        name = "\0" + self._address[1:] if self._address.startswith("@") else self._address
        try:
            if self._socket is None:
                self._socket = socket.socket(
                    socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC
                )
                self._socket.setblocking(False)
            self._socket.sendto("\n".join(lines).encode("utf-8", "replace"), name)
        except (OSError, ValueError):
            return False
        return True

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None


def watchdog_interval(environ: Mapping[str, str], pid: int, replaces: bool = False) -> float | None:
    """Seconds between two watchdog messages, half of what systemd allows.

    None when systemd does not watch this process. A process that `replaces` the unit's main process
    is watched as well, although WATCHDOG_PID still names the other one.
    """
    try:
        allowed = int(environ.get("WATCHDOG_USEC", "")) / 1_000_000
        watched_pid = int(environ.get("WATCHDOG_PID") or pid)
    except ValueError:
        return None
    return allowed / 2 if allowed > 0 and (watched_pid == pid or replaces) else None


def status_line(status: Mapping[str, Any]) -> str:
    """The runner in one line for `systemctl status`: `connected to http://hub:3006, 3 sessions`."""
    hub = status.get("hub") or {}
    phase, url, reason = hub.get("phase"), hub.get("url"), hub.get("reason")
    link = f"{'connected to' if phase == 'connected' else f'{phase}:'} {url}" + (
        f" ({reason})" if reason else ""
    )
    count = status.get("children") or 0
    return escape_control(f"{link}, {count} session{'' if count == 1 else 's'}")[
        :MAX_STATUS_CHARACTERS
    ]


class SystemdNotifier(Service):
    """Sends READY when the control API answers, STATUS when it changes, and WATCHDOG.

    A blocked reactor sends no WATCHDOG: systemd then restarts the runner, and sessions live on.
    """

    log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        runner: NotifyingRunner,
        to: NotifySocket,
        watchdog: float | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._clock, self._runner, self._socket, self._watchdog, self._monotonic = (
            clock,
            runner,
            to,
            watchdog,
            monotonic,
        )
        self._watchdog_loop = LoopingCall(self._send_watchdog)
        self._status_loop = LoopingCall(self._send_status)
        self._watchdog_loop.clock = self._status_loop.clock = clock
        self._sent_status = ""
        self._is_up = False

    def startService(self) -> None:
        super().startService()  # type: ignore[no-untyped-call]
        if self._watchdog is not None:
            self._watchdog_loop.start(self._watchdog).addErrback(
                lambda reason: self.log.failure("The watchdog messages stopped", reason)
            )
        self._runner.when_up().addCallbacks(self._start_soon, self._failed)

    def stopService(self) -> None:
        super().stopService()  # type: ignore[no-untyped-call]
        for loop in (self._watchdog_loop, self._status_loop):
            if loop.running:
                loop.stop()
        if self._runner.handoff.handed_over_to is None:
            self._socket.send("STOPPING=1", "STATUS=leaving; sessions go on")
        self._socket.close()

    def reload(self) -> None:
        """Report a reload. It is over when this returns, so both messages are sent at once."""
        if self._is_up and self.running:
            self._socket.send("RELOADING=1", f"MONOTONIC_USEC={int(self._monotonic() * 1_000_000)}")
            self._socket.send("READY=1", self._line())

    def _start_soon(self, _: None) -> None:
        """Under twistd the listeners may be open before the reactor runs and answers."""
        self._clock.callLater(0, self._ready)

    def _ready(self) -> None:
        if self.running:
            self._is_up = True
            self._sent_status = self._line()
            self._socket.send("READY=1", self._sent_status)
            self._status_loop.start(STATUS_INTERVAL, now=False).addErrback(
                lambda reason: self.log.failure("The status messages stopped", reason)
            )

    def _failed(self, reason: Any) -> None:
        status = escape_control(f"cannot start: {reason.getErrorMessage()}")
        self._socket.send(f"STATUS={status[:MAX_STATUS_CHARACTERS]}")

    def _send_watchdog(self) -> None:
        self._socket.send("WATCHDOG=1")

    def _line(self) -> str:
        return "STATUS=" + status_line(self._runner.status())

    def _send_status(self) -> None:
        line = self._line()
        if line != self._sent_status and self._socket.send(line):
            self._sent_status = line


def systemd_notifier(
    clock: IReactorTime,
    runner: NotifyingRunner,
    environ: Mapping[str, str] = os.environ,
    *,
    replaces: bool = False,
) -> SystemdNotifier | None:
    """The notifier for this process, None when systemd does not listen."""
    to = NotifySocket.named_by(environ)
    return (
        None
        if to is None
        else SystemdNotifier(clock, runner, to, watchdog_interval(environ, os.getpid(), replaces))
    )


class HubNotifier(Service):
    """Sends READY when the hub listens, and STOPPING when it shuts down."""

    def __init__(self, to: NotifySocket) -> None:
        self._socket = to

    def ready(self, url: str) -> None:
        self._socket.send("READY=1", f"STATUS=listens on {url}")

    def stopService(self) -> None:
        super().stopService()  # type: ignore[no-untyped-call]
        self._socket.send("STOPPING=1")
