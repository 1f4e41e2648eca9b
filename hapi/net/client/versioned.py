"""Versioned documents at the hub: changes are rebuilt on the latest value until they are stored."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from random import Random
from typing import Any

from attrs import define
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from hapi.net.common.errors import AckTimeout, LinkLost
from hapi.protocol.versioned import Mismatch, NotStored, Stored, read_update_answer, retry_delay


@define(eq=False, repr=False)
class _Change:
    rebuild: Callable[[Any], Any]
    stored: Deferred[Any]


class VersionedDocument:
    """The metadata or state of one machine or session.

    `send(value, expected_version)` makes one attempt and fires with the hub's answer; `field` is
    the key under which the answer holds the value. One write is in flight at a time; changes made
    meanwhile go into the next one together.
    """

    log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        send: Callable[[Any, int], Deferred[Mapping[str, Any]]],
        field: str,
        value: Any,
        version: int,
        random: Random | None = None,
    ) -> None:
        self._clock, self._send, self._field = clock, send, field
        self.value, self.version = value, version
        self._random = random or Random()
        self._waiting: list[_Change] = []
        self._in_flight: list[_Change] = []
        self._failures = 0
        self._retry: IDelayedCall | None = None
        self._flushes: list[Deferred[bool]] = []
        self._stopped = False

    @property
    def settled(self) -> bool:
        """Whether the hub has all changes."""
        return not self._waiting and not self._in_flight

    def change(self, rebuild: Callable[[Any], Any]) -> Deferred[Any]:
        """Write `rebuild(current value)`; fires with the stored value when the hub has it.

        `rebuild` may run several times, each time on the latest value, and must not alter its
        argument; if it returns an equal value nothing is sent. What it raises fails the Deferred.
        Cancelling withdraws a change that was not sent yet.
        """
        change = _Change(rebuild, Deferred(self._withdraw))
        self._waiting.append(change)
        self._send_next()
        return change.stored

    def adopt(self, value: Any, version: int) -> None:
        """Take over a value from the hub (an `update` or a REST answer) unless its version is not
        newer."""
        if version > self.version:
            self.value, self.version = value, version

    def retry_now(self) -> None:
        """Retry without delay, e.g. because the link is back."""
        self._failures = 0
        if self._retry is not None:
            self._retry.cancel()
            self._retry = None
            self._send_next()

    def flushed(self, seconds: float) -> Deferred[bool]:
        """Fires with True once the hub has all changes so far, with False after `seconds`."""
        done: Deferred[bool] = Deferred()
        if self.settled:
            done.callback(True)
            return done
        self._flushes.append(done)
        timer = self._clock.callLater(seconds, self._give_up_flush, done)

        def stop_timer(result: bool) -> bool:
            if timer.active():
                timer.cancel()
            return result

        return done.addCallback(stop_timer)

    def stop(self) -> None:
        """Send nothing more. Changes that are not stored fail with LinkLost."""
        self._stopped = True
        if self._retry is not None:
            self._retry.cancel()
            self._retry = None
        lost, self._waiting, self._in_flight = [*self._in_flight, *self._waiting], [], []
        for change in lost:
            change.stored.errback(LinkLost("stopped before the hub stored the change"))
        for done in self._flushes[:]:
            self._give_up_flush(done)

    # --- inside
    def _send_next(self) -> None:
        if self._in_flight or self._retry is not None or self._stopped:
            return
        value = self.value
        for change in self._waiting[:]:
            try:
                value = change.rebuild(value)
            except Exception:
                self._waiting.remove(change)
                change.stored.errback(Failure())
        self._in_flight, self._waiting = self._waiting, []
        if not self._in_flight:
            self._notify_flushed()
        elif value == self.value:
            self._stored()
        else:
            self._attempt(value)

    def _attempt(self, value: Any) -> None:
        try:
            answer = self._send(value, self.version)
        except Exception:
            self._retry_failed(Failure())
            return
        answer.addCallback(self._read_answer, value)
        answer.addErrback(self._retry_failed)

    def _read_answer(self, answer: Any, sent: Any) -> None:
        if not self._in_flight:  # stopped meanwhile
            return
        match read_update_answer(answer, self._field, sent):
            case Stored(value, version):
                self.adopt(value, version)
                self._failures = 0
                self._stored()
            case Mismatch(value, version):
                self.value, self.version = value, version
                self._retry_later(
                    "version mismatch", at_once=self._failures == 0
                )  # a single concurrent write needs no back-off
            case NotStored(reason):
                self._retry_later(reason or "malformed")

    def _retry_failed(self, failure: Failure) -> None:
        """An attempt failed: its changes are retried, unless they cannot be sent at all."""
        if isinstance(
            failure.value, ValueError | TypeError
        ):  # too large, or no JSON: it never will go
            refused, self._in_flight = self._in_flight, []
            for change in refused:
                change.stored.errback(failure)
            self._send_next()
            return
        if not isinstance(failure.value, LinkLost | AckTimeout):
            self.log.failure("A versioned update of {field} failed", failure, field=self._field)
        self._retry_later(str(failure.value))

    def _retry_later(self, reason: str, at_once: bool = False) -> None:
        if self._stopped:
            return
        self._failures += 1
        self._waiting, self._in_flight = [*self._in_flight, *self._waiting], []
        if at_once:
            self._send_next()
            return
        seconds = retry_delay(self._failures, self._random)
        self.log.debug(
            "{field} is sent again in {seconds:.2f} s: {reason}",
            field=self._field,
            seconds=seconds,
            reason=reason,
        )
        self._retry = self._clock.callLater(seconds, self._retry_due)

    def _retry_due(self) -> None:
        self._retry = None
        self._send_next()

    def _stored(self) -> None:
        landed, self._in_flight = self._in_flight, []
        for change in landed:
            change.stored.callback(self.value)
        self._send_next()

    def _withdraw(self, stored: Deferred[Any]) -> None:
        self._waiting = [change for change in self._waiting if change.stored is not stored]
        self._in_flight = [change for change in self._in_flight if change.stored is not stored]

    def _notify_flushed(self) -> None:
        if self.settled:
            flushes, self._flushes = self._flushes, []
            for done in flushes:
                done.callback(True)

    def _give_up_flush(self, done: Deferred[bool]) -> None:
        if done in self._flushes:
            self._flushes.remove(done)
            done.callback(False)
