"""Which kind of terminal a session has: one with a line editor, plain lines, or pipes."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

from hapi.home import Home
from hapi.session.terminal.console import Terminal

PLAIN_TERMS = ("", "dumb", "unknown")


def make_terminal(reactor: Any, environ: Mapping[str, str], home: Home, directory: str) -> Terminal:
    """The terminal of this process. `directory`: where the agent works."""
    is_interactive = sys.stdin is not None and sys.stdin.isatty()
    if (
        is_interactive
        and sys.stdout.isatty()
        and environ.get("TERM", "") not in PLAIN_TERMS
        and (screen := _make_screen(reactor, environ, home, directory)) is not None
    ):
        return screen
    return Terminal(reactor, sys.stdout, sys.stderr, is_interactive)


def _make_screen(
    reactor: Any, environ: Mapping[str, str], home: Home, directory: str
) -> Terminal | None:
    from hapi.session.terminal.writer import open_terminal

    fd = open_terminal(sys.stdin)
    if fd is None:
        return None
    # What draws on a screen is loaded for a person at a terminal only.
    from hapi.session.terminal.assembly import make_screen

    return make_screen(reactor, fd, environ, home, directory)
