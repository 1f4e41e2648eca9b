"""The end of a session for everybody else: the reason for it, and the archived row at the hub."""

from __future__ import annotations

import time
from typing import Any

from attrs import define
from twisted.internet.defer import CancelledError, Deferred, TimeoutError, maybeDeferred
from twisted.internet.error import ConnectionDone
from twisted.logger import Logger

from hapi.attempts import AttemptFolder
from hapi.protocol.attempt import StopOrder
from hapi.protocol.session import BY_INTERRUPT, BY_SIGNAL, Ending
from hapi.protocol.session_metadata import archived_metadata
from hapi.session.hub.uplink import SessionUplink

END_TIMEOUT = 5.0  # seconds for the whole end
SIGNAL_END_TIMEOUT = 1.7  # seconds after a signal, whose sender kills after two
OFFLINE_END_TIMEOUT = 0.1  # seconds for the archive at a hub that is away


@define(eq=False, repr=False)
class SessionEnd:
    """`begin` comes first, and `archive` when the agent has ended. `_attempt` is the folder that
    the session shares with its runner, None without one.
    """

    _reactor: Any
    _hub: SessionUplink
    _link: Any  # a HubLink
    _attempt: AttemptFolder | None
    _deadline: float | None = None  # seconds of the reactor's clock; None while the session goes on
    log = Logger()

    @property
    def has_begun(self) -> bool:
        return self._deadline is not None

    def begin(self, ending: Ending) -> Ending:
        """The session ends from now on. Returns why: the runner's order to stop, if there is one,
        gives the reason.
        """
        is_urgent = ending in (BY_SIGNAL, BY_INTERRUPT)
        seconds = SIGNAL_END_TIMEOUT if is_urgent else END_TIMEOUT
        self._deadline = self._reactor.seconds() + seconds
        ending = self._with_stop_order(ending)
        self.log.info("The session ends: {reason}", reason=ending.archive_reason)
        return ending

    async def archive(self, ending: Ending) -> None:
        """Archive the row and leave the hub. What the hub has not confirmed in time is kept on the
        disk.
        """
        assert self._deadline is not None
        seconds = OFFLINE_END_TIMEOUT
        if self._link.connected:
            seconds = max(self._deadline - self._reactor.seconds(), OFFLINE_END_TIMEOUT)
        try:
            await Deferred.fromCoroutine(self._archive(ending)).addTimeout(seconds, self._reactor)
        except (TimeoutError, CancelledError):
            self.log.warn(
                "The hub has not confirmed the end of the session within {seconds:g} s. What it "
                "lacks is kept on the disk and delivered later",
                seconds=seconds,
            )
        except Exception as problem:
            self.log.warn(
                "The end of the session could not be stored at the hub: {reason}",
                reason=str(problem) or type(problem).__name__,
            )
        self._hub.metadata.stop()
        self._hub.state.stop()
        await maybeDeferred(self._link.stopService).addErrback(
            lambda failure: failure.trap(ConnectionDone)
        )

    def _with_stop_order(self, ending: Ending) -> Ending:
        """The stop order in the attempt folder gives the reason; without one, ours is stored."""
        folder = self._attempt
        if folder is None:
            return ending
        order = folder.stop
        if order is not None:
            return ending.with_stop_reason(order.reason)
        try:
            folder.stop = StopOrder(ending.archive_reason, "session", ending.reason, time.time())
        except OSError as error:
            self.log.warn(
                "The reason for the end of the session could not be saved: {reason}",
                reason=str(error),
            )
        return ending

    async def _archive(self, ending: Ending) -> None:
        at = self._hub.now_ms()
        self._hub.change_metadata(
            lambda stored: archived_metadata(stored or {}, ending.archive_reason, at)
        )
        await self._hub.metadata.flushed(END_TIMEOUT)
        await self._hub.state.flushed(END_TIMEOUT)
        await self._link.when_confirmed()
        await self._link.leave()
