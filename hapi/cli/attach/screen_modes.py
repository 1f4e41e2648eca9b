"""What programs have set in a terminal, and how it is undone when somebody leaves the shell."""

from __future__ import annotations

import re

from attrs import define, field

# Modes that disturb whoever uses the terminal next (DECSET): cursor and keypad keys, mouse, focus,
# alternate screen, bracketed paste, synchronized output.
UNDONE = {1, 3, 5, 9, 66, 1000, 1001, 1002, 1003, 1004, 1005, 1006, 1007, 1015, 1016}
UNDONE |= {47, 1047, 1049, 2004, 2026, 2031, 2048}
ALTERNATE = {47, 1047, 1049}
SHOWN_CURSOR, WRAPS = 25, 7  # on by default
_SEQUENCE = re.compile(r"\x1b\[(?:\?([\d;]+)([hl])|(>[\d;]*u)|(\d*;?\d*r))")
TAIL = 64  # characters: a sequence may come in two pieces
# What a program asks the terminal, which answers as if it were typed: after a replay nobody waits
# for the answer.
_QUESTIONS = re.compile(
    r"\x1b\[[>=]?0?c"  # device attributes
    r"|\x1b\[\??[56]n"  # status and position
    r"|\x1b\[\??[\d;]*\$p"  # a mode
    r"|\x1b\[>0?q"  # name and version
    r"|\x1b\[\?u"  # keyboard protocol
    r"|\x1b\[(?:1[1345689]|2[01])(?:;\d+)*t"  # window
    r"|\x1b\](?:4;\d+|1\d|52;[^;\x07\x1b]*);\?(?:\x07|\x1b\\)"  # colours, clipboard
    r"|\x1bP[+$]q[^\x1b\x07]*(?:\x07|\x1b\\)"  # capabilities and settings
    r"|\x1bZ|\x05"
)
CLEAR = "\x1b[0m\x1b[H\x1b[2J"


def without_questions(text: str) -> str:
    """A replay without what a program has asked the terminal at that time."""
    return _QUESTIONS.sub("", text)


@define
class ScreenModes:
    """Follows the output."""

    _modes: set[int] = field(factory=set)
    _is_cursor_hidden: bool = False
    _has_keyboard_protocol: bool = False
    _has_region: bool = False
    _tail: str = ""

    def follow(self, text: str) -> None:
        seen = self._tail + text
        end = 0
        for found in _SEQUENCE.finditer(seen):
            end = found.end()
            modes, how, keyboard, region = found.groups()
            if modes is not None:
                for mode in modes.split(";"):
                    if mode:
                        self._set(int(mode), how == "h")
            self._has_keyboard_protocol |= keyboard is not None
            if region is not None:
                self._has_region = region != "r"
        self._tail = seen[max(end, len(seen) - TAIL) :]

    def _set(self, mode: int, is_on: bool) -> None:
        if mode == SHOWN_CURSOR:
            self._is_cursor_hidden = not is_on
        elif mode in UNDONE:
            (self._modes.add if is_on else self._modes.discard)(mode)

    def undo(self) -> str:
        """What puts the terminal back into its usual state; the text on it stays."""
        parts = []
        if self._has_region:
            parts.append("\x1b7\x1b[r\x1b8")  # the cursor stays
        if self._has_keyboard_protocol:
            parts.append("\x1b[<9u")
        order = sorted(self._modes, key=lambda mode: mode in ALTERNATE)  # the screen last
        parts += [f"\x1b[?{mode}l" for mode in order]
        if self._is_cursor_hidden:
            parts.append(f"\x1b[?{SHOWN_CURSOR}h")
        parts.append("\x1b>\x1b(B\x0f\x1b[0m")  # keypad, character set, colours
        self.__init__()  # type: ignore[misc]
        return "".join(parts)
