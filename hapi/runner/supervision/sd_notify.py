"""Telling systemd how the runner is (sd_notify(3)): ready, alive, reading its settings again, leaving.

Whoever owns the process makes a `SystemdNotifier`, never an embedded runner: in a host's process the words are the host's to say.
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

STATUS_EVERY = 5.0  # seconds between two looks at what the status line should say
STATUS_LIMIT = 400  # characters of it


class Handed(Protocol):
    handed_over_to: int | None  # pid of the successor


class Told(Protocol):
    """What is asked of the runner."""

    @property
    def handoff(self) -> Handed: ...

    def when_up(self) -> Deferred[None]: ...
    def status(self) -> Mapping[str, Any]: ...


@define
class NotifySocket:
    """A datagram for each message to the socket that NOTIFY_SOCKET names: a path, or `@name` for an abstract one."""

    _address: str
    _socket: socket.socket | None = field(default=None, repr=False)

    @classmethod
    def named_by(cls, environ: Mapping[str, str]) -> NotifySocket | None:
        """None when nobody listens, or when the address is of a kind we cannot speak to."""
        address = environ.get("NOTIFY_SOCKET", "")
        return cls(address) if address.startswith(("/", "@")) and len(address) > 1 else None

    def send(self, *lines: str) -> bool:
        """One message of several assignments; False when it could not be delivered. Never waits."""
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
    """Seconds between two signs of life, half of what systemd allows; None when it does not watch this process.

    One that `replaces` the unit's first process is watched too, although WATCHDOG_PID still names that one.
    """
    try:
        allowed = int(environ.get("WATCHDOG_USEC", "")) / 1_000_000
        meant = int(environ.get("WATCHDOG_PID") or pid)
    except ValueError:
        return None
    return allowed / 2 if allowed > 0 and (meant == pid or replaces) else None


def status_line(status: Mapping[str, Any]) -> str:
    """The runner in one line, for `systemctl status`: `connected to http://hub:3006, 3 sessions`."""
    hub = status.get("hub") or {}
    phase, url, reason = hub.get("phase"), hub.get("url"), hub.get("reason")
    link = f"{'connected to' if phase == 'connected' else f'{phase}:'} {url}" + (
        f" ({reason})" if reason else ""
    )
    count = status.get("children") or 0
    return escape_control(f"{link}, {count} session{'' if count == 1 else 's'}")[:STATUS_LIMIT]


class SystemdNotifier(Service):
    """READY when the control API answers, STATUS when link or sessions change, WATCHDOG while this reactor turns.

    A reactor that is blocked feeds nobody: systemd ends the runner then and starts it again, and the sessions live on.
    """

    log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        runner: Told,
        to: NotifySocket,
        watchdog: float | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._clock, self._runner, self._to, self._watchdog, self._monotonic = (
            clock,
            runner,
            to,
            watchdog,
            monotonic,
        )
        self._alive, self._look = LoopingCall(self._feed), LoopingCall(self._tell)
        self._alive.clock = self._look.clock = clock
        self._said = ""
        self._is_up = False

    def startService(self) -> None:
        super().startService()  # type: ignore[no-untyped-call]
        if self._watchdog is not None:
            self._alive.start(self._watchdog).addErrback(
                lambda reason: self.log.failure("The watchdog is not fed", reason)
            )
        self._runner.when_up().addCallbacks(self._soon_up, self._failed)

    def stopService(self) -> None:
        super().stopService()  # type: ignore[no-untyped-call]
        for loop in (self._alive, self._look):
            if loop.running:
                loop.stop()
        if (
            self._runner.handoff.handed_over_to is None
        ):  # else the unit's main process is another one by now
            self._to.send("STOPPING=1", "STATUS=leaving; sessions go on")
        self._to.close()

    def reload(self) -> None:
        """Say that the settings are read again, and that this is over: reading is done before this returns to the reactor."""
        if self._is_up and self.running:
            self._to.send("RELOADING=1", f"MONOTONIC_USEC={int(self._monotonic() * 1_000_000)}")
            self._to.send("READY=1", self._line())

    def _soon_up(self, _: None) -> None:
        """Under twistd the listeners may be open before the reactor turns; only then anybody is answered."""
        self._clock.callLater(0, self._up)

    def _up(self) -> None:
        if self.running:
            self._is_up = True
            self._said = self._line()
            self._to.send("READY=1", self._said)
            self._look.start(STATUS_EVERY, now=False).addErrback(
                lambda reason: self.log.failure("Status is not told", reason)
            )

    def _failed(self, reason: Any) -> None:
        self._to.send(
            f"STATUS={escape_control('cannot start: ' + reason.getErrorMessage())[:STATUS_LIMIT]}"
        )

    def _feed(self) -> None:
        self._to.send("WATCHDOG=1")

    def _line(self) -> str:
        return "STATUS=" + status_line(self._runner.status())

    def _tell(self) -> None:
        line = self._line()
        if line != self._said and self._to.send(line):
            self._said = line


def notifier(
    clock: IReactorTime,
    runner: Told,
    environ: Mapping[str, str] = os.environ,
    *,
    replaces: bool = False,
) -> SystemdNotifier | None:
    """The one for this process, None when nobody listens."""
    to = NotifySocket.named_by(environ)
    return (
        None
        if to is None
        else SystemdNotifier(clock, runner, to, watchdog_interval(environ, os.getpid(), replaces))
    )
