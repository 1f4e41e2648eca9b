"""What was typed into a program, and what a program leaves switched on."""

from __future__ import annotations

import pytest

from hapi.session.local.screen_modes import ScreenModes
from hapi.session.local.typed_text import TypedText


@pytest.mark.parametrize(
    ("keys", "text"),
    [
        (b"fix the bug", "fix the bug"),
        ("grüße 🙂".encode(), "grüße 🙂"),
        (b"abc\x7f\x7fd", "ad"),
        (b"one\rtwo", "two"),
        (b"one\\\rtwo", "one\ntwo"),  # a backslash before Enter: a new line
        (b"one\x1b\rtwo", "one\ntwo"),  # Alt+Enter
        (b"one\ntwo", "one\ntwo"),  # Ctrl+J
        (b"say it twice\x17\x17", "say "),  # Ctrl+W
        (b"first\nsecond\x15", "first\n"),  # Ctrl+U
        (b"gone\x03", ""),
        (b"\x1b[200~line 1\rline 2\r\nline 3\x1b[201~!", "line 1\nline 2\nline 3!"),
        (b"a\x1b[D\x1b[3~\x1bOPb", "ab"),  # keys that move
        (b"\x1b]11;rgb:0000/0000/0000\x07\x1b[?62;c\x1b[Ix", "x"),  # reports of the terminal
        (b"\x1bP>|tmux 3.3a\x1b\\y", "y"),
        (b"hi\x1b[13;2uyou", "hi\nyou"),  # kitty's protocol: Shift+Enter, Enter, Backspace, Ctrl+C
        (b"hi\x1b[13u", ""),
        (b"hi\x1b[127u", "h"),
        (b"hi\x1b[99;5u", ""),
        (b"h\x1b[105u\x1b[105;1:3u", "hi"),  # pressed and released
    ],
)
def test_unsent_text_is_known(keys, text):
    typed = TypedText()
    typed.feed(keys)
    assert typed.text == text


def test_keys_may_arrive_in_pieces():
    typed = TypedText()
    for byte in "é\x1b[200~two\rlines\x1b[201~\x1b[D!".encode():
        typed.feed(bytes([byte]))
    assert typed.text == "étwo\nlines!"


def test_modes_of_a_program_are_undone_and_others_are_not_touched():
    modes = ScreenModes()
    modes.feed(b"\x1b[?1049h\x1b[?25l\x1b[?2004h\x1b[>1u\x1b[?1000;1006htext")
    undone = modes.undo()
    assert undone == (b"\x1b[<1u\x1b[?25h\x1b[?2004l\x1b[?1000l\x1b[?1006l\x1b[?1049l\x1b[0m")
    assert modes.undo() == b"\x1b[0m"


def test_what_a_program_has_undone_itself_is_not_undone_again():
    modes = ScreenModes()
    modes.feed(b"\x1b[?1049h\x1b[?25l\x1b[>1u\x1b[>4;2m\x1b[2;5r")
    modes.feed(b"\x1b[r\x1b[>4m\x1b[<u\x1b[?25h\x1b[?1049l")
    assert modes.undo() == b"\x1b[0m"


def test_the_title_of_the_window_is_known():
    modes = ScreenModes()
    modes.feed("\x1b]0;✳ Claude\x07text\x1b]2;⠂ Cla".encode())
    assert modes.title == "✳ Claude"
    modes.feed(b"ude\x1b\\")
    assert modes.title == "⠂ Claude"


def test_a_sequence_may_arrive_in_pieces():
    modes = ScreenModes()
    for byte in b"x\x1b[?1049hy\x1b[5;10rz":
        modes.feed(bytes([byte]))
    assert modes.is_alternate
    assert modes.undo() == b"\x1b7\x1b[r\x1b8\x1b[?1049l\x1b[0m"
