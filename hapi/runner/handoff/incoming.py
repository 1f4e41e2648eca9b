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
from hapi.runner.handoff.descriptors import Inheritance, seen

if TYPE_CHECKING:
    from hapi.runner.handoff.channel import Talk
    from hapi.runner.lock.home_lock import RunnerLock

SEE_IT_GO = 1.0  # seconds until a predecessor whose socket closed is gone


class PredecessorStays(Exception):
    """The old runner neither handed over nor went."""


@define(eq=False)
class Heir:
    """A runner that came up to replace another. `_forsaken` hears when the old one goes on after all."""

    _clock: Any
    _processes: IProcesses
    _inheritance: Inheritance
    _forsaken: Callable[[], object]
    confirmed: bool = (
        False  # the home is ours; until then lock, state and socket files are not ours to remove
    )
    _talk: Talk | None = None
    _leaving: bool = False
    log = Logger()

    async def inherit(self, lock: RunnerLock) -> list[float]:
        """Take the lock over when it is our turn; the ages of earlier hand-offs. Raises PredecessorStays."""
        from hapi.runner.handoff.channel import TalkEnded, talk_on

        ages: list[float] = []
        lock.inherit(self._inheritance.lock)
        self._talk = talk_on(self._clock, self._inheritance.talk)
        self._talk.say("ready")
        try:
            message = await self._talk.hear()
        except TalkEnded:
            await self._see_it_go()
        else:
            token = message.get("token")
            self._inheritance.token = token if isinstance(token, str) and token else None
            ages = seen(message.get("ages"))
            waiting = Deferred.fromCoroutine(self._await_confirmation(self._talk))
            waiting.addErrback(
                lambda reason: self.log.failure("Waiting for the old runner failed", reason)
            )
        lock.take_over()
        return ages

    async def _await_confirmation(self, talk: Talk) -> None:
        from hapi.runner.handoff.channel import TalkEnded

        try:
            await talk.hear()
        except TalkEnded:
            if self._leaving:
                return
            try:
                await self._see_it_go()
            except PredecessorStays as error:
                self.log.error("{reason}", reason=str(error))
                self._forsaken()
            return
        self._confirm("The old runner has given us this home")
        talk.say("mine")

    async def _see_it_go(self) -> None:
        """It closed without a word: killed in the middle. Then what we inherited is ours. Raises PredecessorStays."""
        before = self._processes.identify(self._inheritance.predecessor)
        if (
            before is not None and before.pid == os.getppid()
        ):  # if it were gone we had another parent
            try:
                await self._processes.when_exited(before).addTimeout(SEE_IT_GO, self._clock)
            except (TimeoutError, CancelledError):
                raise PredecessorStays(
                    f"process {before.pid} did not hand this home over"
                ) from None
        self._confirm("The old runner died while it handed over; its home is ours")

    def _confirm(self, words: str) -> None:
        self.confirmed = True
        self.log.info(words)

    def could_not_come_up(self, reason: Failure) -> None:
        """Tell the old runner why we end."""
        if self._talk is not None and not self.confirmed:
            self._talk.say("failed", reason=reason.getErrorMessage()[:500])

    def leave(self, source: str) -> None:
        """While it is not ours: the old runner hears that we were stopped."""
        self._leaving = True
        if self._talk is not None and not self.confirmed:
            if source != "exception":
                self._talk.say("leaving", reason=source)
            self._talk.end()
