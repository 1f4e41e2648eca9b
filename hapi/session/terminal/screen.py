"""The session on a screen: a line editor, output above it, and a status below."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any, TextIO

from attrs import define, field
from prompt_toolkit.formatted_text import AnyFormattedText, StyleAndTextTuples
from twisted.internet.defer import Deferred, succeed

from hapi.home import Home
from hapi.session.session import Session
from hapi.session.terminal.console import Terminal
from hapi.session.terminal.devices import TerminalInput, TerminalState, terminal_output
from hapi.session.terminal.editor import Editor
from hapi.session.terminal.keys import line_bindings
from hapi.session.terminal.text import printable, representable
from hapi.session.terminal.writer import TerminalWriter


def make_screen(
    reactor: Any, fd: int, environ: Mapping[str, str], home: Home, directory: str
) -> Screen:
    """The screen of the terminal `fd`, a descriptor that does not block."""
    encoding = sys.stdout.encoding
    writer = TerminalWriter(reactor, fd, encoding)
    screen = Screen(reactor, sys.stdout, sys.stderr, True)
    state = TerminalState(fd)
    screen.editor = editor = Editor(
        reactor,
        TerminalInput(fd, encoding),
        terminal_output(writer, environ),
        line_bindings(screen),
        screen.status,
        screen.live,
        is_behind=lambda: writer.is_behind,
        on_closed=screen.end_of_input,
    )
    writer.on_drained = editor.drained

    def restore() -> None:
        writer.write_now()
        state.restore()

    reactor.addSystemEventTrigger("before", "shutdown", screen.release)
    reactor.addSystemEventTrigger("after", "shutdown", restore)
    return screen


@define(eq=False, repr=False)
class Screen(Terminal):
    """A terminal with a line editor."""

    editor: Editor = field(init=False)
    _text: str = ""  # what the agent is saying, not yet above the line

    # --- in
    def read(self) -> None:
        self.editor.start()

    def release(self) -> Deferred[None]:
        return self.editor.stop() if self.editor is not None else succeed(None)

    def resume(self, typed: str = "") -> None:
        self.editor.start(typed)

    def submitted(self, text: str) -> None:
        """The person has pressed Enter."""
        if text.strip():
            first, *rest = printable(text).split("\n")
            self._show("\n".join([f"> {first}", *(f"  {line}" for line in rest)]))
        self.typed(text)

    # --- out
    def print_line(self, text: str) -> None:
        self._end_line()
        self._show(printable(text))

    def _show(self, text: str) -> None:
        self.editor.above(self._representable(text) + "\n")

    def _representable(self, text: str) -> str:
        return representable(text, self._out.encoding)

    def _stream(self, kind: str, text: str) -> None:
        if not text:
            return
        if self._streaming != kind:
            self._end_line()
            if kind == "thought":
                text = f"(thinking) {text}"
        self._streaming = kind
        *lines, self._text = (self._text + text).split("\n")
        if lines:
            self._show(printable("\n".join(lines)))
        self.editor.refresh()

    def _end_line(self) -> None:
        self._streaming = ""
        text, self._text = self._text, ""
        if text:
            self._show(printable(text))

    def _write(self, stream: TextIO, text: str) -> None:
        """What the plain terminal writes without the end of a line."""
        if text.strip():
            self._show(printable(text.strip("\n")))

    def _prompt(self) -> None:
        self.editor.refresh()

    def live(self) -> AnyFormattedText:
        """What the agent is saying now."""
        return [("", self._representable(printable(self._text)))] if self._text else ""

    def status(self) -> StyleAndTextTuples:
        session: Session | None = self._session
        if session is None or not session.is_accepting_prompts:
            return [("", "starting")]
        settings = session.settings
        parts = [settings.mode or "", settings.current_model or ""]
        return [("", " · ".join(printable(part) for part in parts if part))]
