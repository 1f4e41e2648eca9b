"""The walk of docs/terminal.md: Claude in a terminal, its own program, the page, `hapi resume`."""

from __future__ import annotations

import pytest

from docs.make_terminal_walk import DOCUMENT, SCREEN, record

pytestmark = [pytest.mark.program, pytest.mark.peer("tmux", "claude")]


def test_the_walk_through_the_terminal_goes_as_the_documentation_says():
    screens = record()
    assert sorted(screens) == sorted(SCREEN.findall(DOCUMENT.read_text()))
    assert "> Please say this:\n  - the cart adds prices" in screens["paste"]
    assert "Claude asks for permission: touch notes.md" in screens["permission"]
    assert "● Bash(touch notes.md)" in screens["own-program"]
    assert "[page] > and what did we do?" in screens["from-the-page"]
    assert "^[" not in screens["from-the-page"]
    assert "Please say this:" in screens["resume"]
    assert "You said: and what did we do?" in screens["resumed"]
