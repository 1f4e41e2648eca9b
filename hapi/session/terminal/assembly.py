"""Puts the parts of a screen together, around a real terminal."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

from prompt_toolkit.history import History
from prompt_toolkit.input import Input
from prompt_toolkit.output import Output
from twisted.internet.threads import deferToThread

from hapi.home import Home
from hapi.session.terminal.completion import FileLister, LineCompleter
from hapi.session.terminal.devices import (
    TerminalInput,
    TerminalState,
    colour_depth,
    terminal_output,
)
from hapi.session.terminal.editor import Editor
from hapi.session.terminal.history import DirectoryHistory, history_path
from hapi.session.terminal.keys import line_bindings
from hapi.session.terminal.painter import Painter
from hapi.session.terminal.screen import Screen
from hapi.session.terminal.writer import TerminalWriter


def make_screen(
    reactor: Any, fd: int, environ: Mapping[str, str], home: Home, directory: str
) -> Screen:
    """The screen of the terminal `fd`, a descriptor that does not block."""
    encoding = sys.stdout.encoding
    writer = TerminalWriter(reactor, fd, encoding)
    state = TerminalState(fd)
    lister = FileLister(reactor, environ, directory, deferToThread)
    history = DirectoryHistory(history_path(home, directory))
    screen = assemble(
        reactor,
        TerminalInput(fd, encoding),
        terminal_output(writer, environ),
        Painter(colour_depth(environ), encoding),
        history,
        lister,
        writer,
    )
    history.tell = screen.print_line

    def restore() -> None:
        writer.write_now()
        state.restore()

    reactor.addSystemEventTrigger("before", "shutdown", screen.release)
    reactor.addSystemEventTrigger("after", "shutdown", restore)
    return screen


def assemble(
    reactor: Any,
    keys: Input,
    drawing: Output,
    painter: Painter,
    history: History,
    lister: FileLister,
    writer: TerminalWriter | None = None,
) -> Screen:
    """A screen on any input and output; `writer` is what `drawing` writes through."""

    def make_editor(screen: Screen) -> Editor:
        def commands() -> Any:
            session = screen.session
            return session.turns.commands if session is not None else ()

        dialogs = screen.dialogs
        editor = Editor(
            reactor,
            keys,
            drawing,
            lambda line: line_bindings(screen, dialogs, line),
            screen.status,
            screen.live,
            screen.label,
            dialogs.window,
            lambda: dialogs.menu is not None,
            is_behind=lambda: writer is not None and writer.is_behind,
            history=history,
            completer=LineCompleter(
                commands,
                lambda query: editor.loop.future_of(lister.find(query)),
                painter.plain,
            ),
            on_closed=screen.end_of_input,
        )
        return editor

    screen = Screen(reactor, sys.stdout, sys.stderr, True, painter=painter, make_editor=make_editor)
    painter.columns = lambda: screen.editor.columns
    if writer is not None:
        writer.on_drained = screen.editor.drained
    return screen
