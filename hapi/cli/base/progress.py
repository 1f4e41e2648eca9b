"""What a command that takes long waits for, told every few seconds."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from attrs import define

INTERVAL = 5.0  # seconds between two lines


@define(eq=False, repr=False)
class Progress:
    """Prints by `say` what the command waits for; nothing without `say`.

    `waits_for` is a clause such as "the running turns of s1 to end"; "" while nothing is waited
    for. It may be changed at any time.
    """

    _clock: Any
    _say: Callable[[str], object] | None
    waits_for: str = ""

    def busy(self, sessions: str) -> None:
        """The running turns of `sessions` are waited for."""
        self.waits_for = f"running turns to end: {sessions}"

    @contextmanager
    def shown(self) -> Iterator[None]:
        """Inside, what is waited for is printed."""
        from twisted.internet.task import LoopingCall

        begun = self._clock.seconds()

        def tell() -> None:
            if self._say is not None and self.waits_for:
                seconds = self._clock.seconds() - begun
                self._say(f"Waiting for {self.waits_for} ({seconds:.0f} s so far)")

        loop = LoopingCall(tell)
        loop.clock = self._clock
        loop.start(INTERVAL, now=False)
        try:
            yield
        finally:
            loop.stop()
