"""The incoming side of a hand-off: a runner that was started to replace another one.

It reports that it is ready, waits for its turn, and takes the home over from the outgoing runner.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from attrs import define
from twisted.internet.defer import CancelledError, TimeoutError
from twisted.logger import Logger
from twisted.python.failure import Failure

from hapi.deferreds import run_in_background
from hapi.process import IProcesses
from hapi.runner.handoff.descriptors import InheritedDescriptors, valid_ages

if TYPE_CHECKING:
    from hapi.runner.handoff.channel import HandoffChannel
    from hapi.runner.lock.home_lock import RunnerLock

EXIT_TIMEOUT = 1.0  # seconds from the end of the channel until the outgoing runner must be gone
# Seconds after the confirmation until the outgoing runner is gone at the latest: it closes its link
# and its port before it exits.
LEAVING_TIMEOUT = 60.0
MAX_REASON_CHARACTERS = 500


class OutgoingRunnerStays(Exception):
    """The outgoing runner closed the channel, but neither handed over nor exited."""


@define(eq=False, repr=False)
class IncomingHandoff:
    """A replacement's part of a hand-off.

    `abandoned` is called when the outgoing runner keeps serving after all, `outgoing_left` when it
    has exited, or at the latest LEAVING_TIMEOUT after it has handed the home over.
    """

    _clock: Any
    _processes: IProcesses
    _inherited: InheritedDescriptors
    _abandoned: Callable[[], object]
    _outgoing_left: Callable[[], object]
    # The home is this runner's. Before that, it must not remove lock, state and socket files.
    confirmed: bool = False
    _channel: HandoffChannel | None = None
    _leaving: bool = False
    log = Logger()

    async def take_over(self, lock: RunnerLock) -> list[float]:
        """Take the lock over in turn; the ages of earlier hand-offs in seconds.

        Raises OutgoingRunnerStays.
        """
        from hapi.runner.handoff.channel import READY, ChannelClosed, open_channel

        ages: list[float] = []
        lock.adopt(self._inherited.lock)
        self._channel = open_channel(self._clock, self._inherited.channel)
        self._channel.send(READY)
        try:
            message = await self._channel.receive()
        except ChannelClosed:
            await self._await_exit_of_outgoing()
        else:
            token = message.get("token")
            self._inherited.token = token if isinstance(token, str) and token else None
            ages = valid_ages(message.get("ages"))
            run_in_background(
                self._await_confirmation(self._channel),
                self.log,
                "Waiting for the outgoing runner failed",
            )
        lock.replace_owner()
        return ages

    async def _await_confirmation(self, channel: HandoffChannel) -> None:
        from hapi.runner.handoff.channel import CONFIRMED, ChannelClosed

        try:
            await channel.receive()
        except ChannelClosed:
            if self._leaving:
                return
            try:
                await self._await_exit_of_outgoing()
            except OutgoingRunnerStays as error:
                self.log.error("{reason}", reason=str(error))
                self._abandoned()
            return
        self._confirm("The outgoing runner has handed this home over")
        channel.send(CONFIRMED)

    async def _await_exit_of_outgoing(self) -> None:
        """The channel closed without a message: if the outgoing runner was killed, the home is
        ours.

        Raises OutgoingRunnerStays.
        """
        if not await self._outgoing_exited(EXIT_TIMEOUT):
            raise OutgoingRunnerStays(
                f"process {self._inherited.outgoing_pid} did not hand this home over"
            )
        self._confirm("The outgoing runner exited during the hand-off; this runner owns the home")

    def _confirm(self, message: str) -> None:
        self.confirmed = True
        if self._inherited.streams is not None:
            self._inherited.streams.use()
            self._inherited.streams = None
        self.log.info(message)
        run_in_background(
            self._tell_when_outgoing_left(),
            self.log,
            "Waiting for the exit of the outgoing runner failed",
        )

    async def _tell_when_outgoing_left(self) -> None:
        await self._outgoing_exited(LEAVING_TIMEOUT)
        self._outgoing_left()

    async def _outgoing_exited(self, seconds: float) -> bool:
        """Wait for the exit of the outgoing runner, `seconds` at most; whether it has exited."""
        outgoing = self._processes.identify(self._inherited.outgoing_pid)
        # An outgoing runner that is gone is not the parent any more.
        if outgoing is None or outgoing.pid != os.getppid():
            return True
        try:
            await self._processes.when_exited(outgoing).addTimeout(seconds, self._clock)
        except (TimeoutError, CancelledError):
            return False
        return True

    def startup_failed(self, reason: Failure) -> None:
        """Tell the outgoing runner why this one cannot start."""
        from hapi.runner.handoff.channel import STARTUP_FAILED

        if self._channel is not None and not self.confirmed:
            self._channel.send(
                STARTUP_FAILED, reason=reason.getErrorMessage()[:MAX_REASON_CHARACTERS]
            )

    def leave(self, source: str) -> None:
        """Until confirmed: tell the outgoing runner that this one was stopped, and close."""
        from hapi.runner.handoff.channel import STOPPED

        self._leaving = True
        if self._channel is not None and not self.confirmed:
            if source != "exception":
                self._channel.send(STOPPED, reason=source)
            self._channel.close()
