"""The new side of a hand-off, inside the runner: say that we are ready, wait for our turn, be given the home."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from attrs import define
from twisted.internet.defer import CancelledError, Deferred, TimeoutError
from twisted.logger import Logger
from twisted.python.failure import Failure

from hapi.process import IProcesses
from hapi.runner.handoff.descriptors import InheritedDescriptors, seen

if TYPE_CHECKING:
    from hapi.runner.handoff.channel import HandoffChannel
    from hapi.runner.lock.home_lock import RunnerLock

SEE_IT_GO = 1.0  # seconds until a predecessor whose socket closed is gone


class OutgoingRunnerStays(Exception):
    """The old runner neither handed over nor went."""


@define(eq=False)
class IncomingHandoff:
    """A runner that came up to replace another. `_on_abandoned` hears when the old one goes on after all."""

    _clock: Any
    _processes: IProcesses
    _inherited: InheritedDescriptors
    _on_abandoned: Callable[[], object]
    confirmed: bool = (
        False  # the home is ours; until then lock, state and socket files are not ours to remove
    )
    _channel: HandoffChannel | None = None
    _leaving: bool = False
    log = Logger()

    async def take_over(self, lock: RunnerLock) -> list[float]:
        """Take the lock over when it is our turn; the ages of earlier hand-offs. Raises OutgoingRunnerStays."""
        from hapi.runner.handoff.channel import ChannelClosed, open_channel

        ages: list[float] = []
        lock.adopt(self._inherited.lock)
        self._channel = open_channel(self._clock, self._inherited.channel)
        self._channel.send("ready")
        try:
            message = await self._channel.receive()
        except ChannelClosed:
            await self._see_it_go()
        else:
            token = message.get("token")
            self._inherited.token = token if isinstance(token, str) and token else None
            ages = seen(message.get("ages"))
            waiting = Deferred.fromCoroutine(self._await_confirmation(self._channel))
            waiting.addErrback(
                lambda reason: self.log.failure("Waiting for the old runner failed", reason)
            )
        lock.replace_owner()
        return ages

    async def _await_confirmation(self, channel: HandoffChannel) -> None:
        from hapi.runner.handoff.channel import ChannelClosed

        try:
            await channel.receive()
        except ChannelClosed:
            if self._leaving:
                return
            try:
                await self._see_it_go()
            except OutgoingRunnerStays as error:
                self.log.error("{reason}", reason=str(error))
                self._on_abandoned()
            return
        self._confirm("The old runner has given us this home")
        channel.send("mine")

    async def _see_it_go(self) -> None:
        """It closed without a word: killed in the middle. Then what we inherited is ours. Raises OutgoingRunnerStays."""
        before = self._processes.identify(self._inherited.predecessor)
        if (
            before is not None and before.pid == os.getppid()
        ):  # if it were gone we had another parent
            try:
                await self._processes.when_exited(before).addTimeout(SEE_IT_GO, self._clock)
            except (TimeoutError, CancelledError):
                raise OutgoingRunnerStays(
                    f"process {before.pid} did not hand this home over"
                ) from None
        self._confirm("The old runner died while it handed over; its home is ours")

    def _confirm(self, words: str) -> None:
        self.confirmed = True
        self.log.info(words)

    def startup_failed(self, reason: Failure) -> None:
        """Tell the old runner why we end."""
        if self._channel is not None and not self.confirmed:
            self._channel.send("failed", reason=reason.getErrorMessage()[:500])

    def leave(self, source: str) -> None:
        """While it is not ours: the old runner hears that we were stopped."""
        self._leaving = True
        if self._channel is not None and not self.confirmed:
            if source != "exception":
                self._channel.send("leaving", reason=source)
            self._channel.close()
