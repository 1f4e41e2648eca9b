"""What was typed into a program and not sent."""

from __future__ import annotations

import pytest

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


@pytest.mark.parametrize(
    ("keys", "text"),
    [
        ("\x1b[" + "9" * 4400 + "u", "ab"),
        ("\x1b[99;" + "9" * 4400 + "u", "acb"),
        ("\x1b[9999999;5u", "ab"),
        ("\x1b[55296u", "ab"),  # no character
    ],
)
def test_numbers_without_end_are_left_out(keys, text):
    typed = TypedText()
    typed.feed(f"a{keys}b".encode())
    assert typed.text == text
