"""What an agent, or the program that starts it, writes on its standard output besides messages."""

from __future__ import annotations

import re
from collections.abc import Callable

from attrs import define, field
from twisted.internet.interfaces import IDelayedCall, IReactorTime

from hapi.redaction import CONTROL

MAX_KEPT = 4096  # characters of the last lines
NOTICE_DELAY = 3.0  # seconds from the first line to the notice, which then counts them
MAX_TOLD = 160  # characters of the first line, in the conversation
# Escape sequences of terminals: those of the window (OSC), of the cursor and colours (CSI), others.
ESCAPES = re.compile(r"\x1b(?:\][^\x07\x1b]*(?:\x07|\x1b\\)?|\[[0-?]*[ -/]*[@-~]|[@-Z\\-_])")


@define(eq=False, repr=False)
class AgentNoise:
    """The last lines, bounded, and a call for the first one: it may tell a person why."""

    on_first: Callable[[str], object] = field(default=lambda line: None)
    text: str = ""
    count: int = 0  # lines

    def add(self, line: str) -> None:
        said = CONTROL.sub(" ", ESCAPES.sub("", line)).strip()
        if not said:
            return
        self.text = f"{self.text}\n{said}".strip()[-MAX_KEPT:]
        self.count += 1
        if self.count == 1:
            self.on_first(said if len(said) <= MAX_TOLD else f"{said[:MAX_TOLD]}…")

    def since(self, before: str) -> str:
        """What was added after `text` was `before`."""
        return self.text.removeprefix(before)


@define(eq=False, repr=False)
class NoiseNotice:
    """Tells once in the conversation that there is noise, after the first lines of it."""

    _clock: IReactorTime
    _label: str
    _noise: AgentNoise
    _publish_status: Callable[[str], object]
    _call: IDelayedCall | None = None

    def begin(self) -> None:
        self._noise.on_first = self._noticed

    def stop(self) -> None:
        if self._call is not None and self._call.active():
            self._call.cancel()

    def _noticed(self, line: str) -> None:
        self._call = self._clock.callLater(NOTICE_DELAY, self._tell, line)

    def _tell(self, line: str) -> None:
        count = self._noise.count
        lines = "a line" if count == 1 else f"{count} lines"
        self._publish_status(
            f"{self._label} wrote {lines} on its standard output that are no messages; such lines "
            f"are ignored. The first: {line}"
            if count > 1
            else f"{self._label} wrote {lines} on its standard output that is no message; such "
            f"lines are ignored: {line}"
        )
