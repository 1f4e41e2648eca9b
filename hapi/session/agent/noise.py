"""What an agent, or the program that starts it, writes on its standard output besides messages."""

from __future__ import annotations

import re
from collections.abc import Callable

from attrs import define, field

from hapi.redaction import CONTROL

MAX_KEPT = 4096  # characters of the last lines
MAX_TOLD = 160  # characters of the first line, in the conversation
# Escape sequences of terminals: those of the window (OSC), of the cursor and colours (CSI), others.
ESCAPES = re.compile(r"\x1b(?:\][^\x07\x1b]*(?:\x07|\x1b\\)?|\[[0-?]*[ -/]*[@-~]|[@-Z\\-_])")


@define(eq=False)
class AgentNoise:
    """The last lines, bounded, and a call for the first one: it may tell a person why."""

    on_first: Callable[[str], object] = field(default=lambda line: None)
    text: str = ""
    _is_told: bool = False

    def add(self, line: str) -> None:
        said = CONTROL.sub(" ", ESCAPES.sub("", line)).strip()
        if not said:
            return
        self.text = f"{self.text}\n{said}".strip()[-MAX_KEPT:]
        if not self._is_told:
            self._is_told = True
            self.on_first(said if len(said) <= MAX_TOLD else f"{said[:MAX_TOLD]}…")
