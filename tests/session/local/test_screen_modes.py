"""What programs leave switched on in a terminal, and how it is undone."""

from __future__ import annotations

import os
import random

import pytest

from hapi.session.local.screen_modes import MAX_MODES, RESET, ScreenModes


def undone(*pieces):
    modes = ScreenModes()
    for piece in pieces:
        modes.feed(piece)
    found = modes.undo()
    assert modes.undo() == RESET  # and forgotten
    return found.removesuffix(RESET)


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        (b"plain\r\n\x1b[1;31mred\x1b[0m\x1b[5;3H\x1b[K", b""),
        (b"\x1b[?25l", b"\x1b[?25h"),
        (b"\x1b[?25l\x1b[?12;25h", b""),
        (b"\x1b[?7l", b"\x1b[?7h"),
        (b"\x1b[?8l\x1b[?8h", b""),
        (b"\x1b[?69h\x1b[?2027h", b"\x1b[?69l\x1b[?2027l"),
        (b"\x1b[?1048h\x1b[?1034h\x1b[?12h", b""),
        (b"\x1b[4h", b"\x1b[4l"),
        (b"\x1b[4h\x1b[4l\x1b[34h", b""),
        (b"\x1b[12l\x1b[20h", b"\x1b[12h\x1b[20l"),
        (b"\x1b[2;20r", b"\x1b7\x1b[r\x1b8"),
        (b"\x1b[2;20r\x1b[r", b""),
        (b"\x1b[2;20r\x1b[?6h", b"\x1b[r\x1b[?6l\x1b[999B"),
        (b"\x1b[>1u", b"\x1b[<1u"),
        (b"\x1b[>1u" * 12, b"\x1b[<12u"),
        (b"\x1b[>1u\x1b[>3u\x1b[<u", b"\x1b[<1u"),
        (b"\x1b[>1u\x1b[<9u", b""),
        (b"\x1b[=5u", b"\x1b[=0u"),
        (b"\x1b[=5;1u\x1b[=0u", b""),
        (b"\x1b[>4;2m", b"\x1b[>4m"),
        (b"\x1b[>4;2m\x1b[>4m\x1b[>4;0m", b""),
        (b"\x1b[>4;1m\x1b[>1;3m", b"\x1b[>1m\x1b[>4m"),
        (b"\x1b[5 q", b"\x1b[0 q"),
        (b"\x1b[5 q\x1b[0 q\x1b[3 q\x1b[ q", b""),
        (b"\x1b]10;#ff0000\x07", b"\x1b]110\x1b\\"),
        (b"\x1b]10;red;blue\x1b\\", b"\x1b]110\x1b\\\x1b]111\x1b\\"),
        (b"\x1b]11;?\x07\x1b]12;red\x07\x1b]112\x07", b""),
        (b"\x1b]4;1;red\x07", b"\x1b]104\x1b\\"),
        (b"\x1b]4;1;?\x07\x1b]4;1;red\x07\x1b]104\x07", b""),
        (b"\x1b]8;;http://a/\x07x", b"\x1b]8;;\x1b\\"),
        (b"\x1b]8;;http://a/\x07x\x1b]8;;\x07", b""),
        (b"\x1b)0\x0e", b"\x1b)B"),
        (b"\x1b)0\x1b)B\x1b(0", b""),  # RESET has the first character set
        (b"\x1b[?1049h\x1b[?7l\x1b[4h\x1bc", b""),
    ],
)
def test_what_programs_have_changed_is_undone_and_nothing_else(written, expected):
    assert undone(written) == expected
    assert undone(*(bytes([byte]) for byte in written)) == expected  # sequences in pieces


def test_the_alternate_screen_is_left_after_its_modes():
    found = undone(b"\x1b[?1049h\x1b[?1h", b"\x1b[?2004h\x1b[?1000;1006h")
    assert found.endswith(b"\x1b[?1049l")
    assert set(found.split(b"\x1b")) == {
        *(b"", b"[?1l", b"[?2004l", b"[?1000l", b"[?1006l", b"[?1049l"),
    }
    assert undone(b"\x1b[?1049h", b"\x1b[?1049l") == b""
    assert undone(b"\x1b[?25l\x1b[?1049h") == b"\x1b[?1049l\x1b[?25h"


def test_each_screen_has_a_keyboard_of_its_own():
    found = undone(b"\x1b[>1u\x1b[?1049h\x1b[>1u\x1b[>1u\x1b[=1u")
    assert found == b"\x1b[<2u\x1b[=0u\x1b[?1049l\x1b[<1u"
    assert undone(b"\x1b[?1049h\x1b[>1u\x1b[<u\x1b[?1049l") == b""


def test_keypad_character_set_and_colours_are_usual_afterwards():
    assert ScreenModes().undo() == b"\x1b>\x1b(B\x0f\x1b[0m"


def test_the_title_of_the_window_is_known():
    modes = ScreenModes()
    modes.feed("\x1b]0;✳ Claude\x07text\x1b]2;⠂ Cla".encode())
    assert modes.title == "✳ Claude"
    modes.feed(b"ude\x1b")
    modes.feed(b"\\")
    assert modes.title == "⠂ Claude"
    modes.undo()
    assert modes.title == "⠂ Claude"


@pytest.mark.parametrize(
    "written",
    [
        b"\x1b[?" + b"9" * 4400 + b"h",
        b"\x1b[>" + b"9" * 4400 + b"u",
        b"\x1b[<" + b"9" * 4400 + b"u",
        b"\x1b[>4;" + b"9" * 4400 + b"m",
        b"\x1b[" + b"9" * 4400 + b"r",
        b"\x1b]" + b"9" * 4400 + b";x\x07",
        b"\x1b]4;" + b"9" * 4400 + b";red\x07\x1b]104\x07",
        b"\x1b]10;\xff\xfe\x07\x1b]110\x07\x1b]0;\xff\x07",
    ],
)
def test_numbers_without_end_are_left_out(written):
    assert undone(b"\x1b[?25l", written) == b"\x1b[?25h"
    assert undone(b"\x1b[?25l", written[:2200], written[2200:]) == b"\x1b[?25h"


def test_ever_new_modes_are_not_all_remembered():
    found = undone(b"".join(b"\x1b[?%dh" % mode for mode in range(30_000, 40_000)))
    assert found.count(b"\x1b") == MAX_MODES
    assert undone(b"\x1b[>1u" * 5000) == b"\x1b[<999u"


def test_nothing_that_a_program_writes_raises():
    chosen = random.Random(12)
    parts = [*(bytes([byte]) for byte in b"[]?><=;:hlmrquc0129 ()*\\\x07\x1b\x1b\x1b\x0e\xff")]
    parts += [b"\x1b[", b"\x1b]", b"\x1b[?", b"9" * 4400, b"1049", b"104", b"10;", os.urandom(40)]
    for _ in range(300):
        modes = ScreenModes()
        for _ in range(30):
            modes.feed(b"".join(chosen.choices(parts, k=20)))
        modes.undo()
