"""The machine's keep-alive at its hub, with the machine's load."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
from attrs import define, field
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from hapi.net.client.link import HubLink
from hapi.runner.uplink.health import HealthGauge

INTERVAL, FIRST_DELAY = 20.0, 0.05  # seconds


@define(eq=False, repr=False)
class KeepAlive:
    """Sends `machine-alive` while the link is up: `start` on each connect, `stop` when leaving."""

    _clock: IReactorTime
    _link: HubLink
    _machine_id: str
    _now: Callable[[], float]  # epoch seconds of this machine
    _hub_now: Callable[[], int]  # epoch milliseconds of the hub, for the wire
    _gauge: HealthGauge = field(init=False)
    _loop: LoopingCall = field(init=False)
    _first: IDelayedCall | None = None
    log = Logger()

    def __attrs_post_init__(self) -> None:
        self._gauge = HealthGauge(self._now)
        self._loop = LoopingCall(self._send)
        self._loop.clock = self._clock

    def start(self) -> None:
        self.stop()
        self._first = self._clock.callLater(FIRST_DELAY, self._start_loop)

    def _start_loop(self) -> None:
        self._first = None
        self._loop.start(INTERVAL).addErrback(
            lambda reason: self.log.failure("The keep-alive stopped", reason)
        )

    def stop(self) -> None:
        if self._first is not None:
            self._first.cancel()
            self._first = None
        if self._loop.running:
            self._loop.stop()

    def _send(self) -> None:
        now = self._hub_now()
        health: Any
        try:
            health = msgspec.to_builtins(self._gauge.read()) | {"collectedAt": now}
        except Exception:
            self.log.failure("The machine's load cannot be read")
            health = None
        alive = {"machineId": self._machine_id, "time": now}
        self._link.emit("machine-alive", alive | ({"health": health} if health else {}), keep=False)
