"""What was typed into a program and not sent yet, read from the bytes that a terminal sends. Pure.

A best guess: what the program does with a key is its business. Text, pastes, new lines, Backspace,
Ctrl+U, Ctrl+W and Ctrl+C are understood; keys that move the cursor are not.
"""

from __future__ import annotations

import codecs
import re
from typing import Any, Literal

from attrs import define, field

MAX_LENGTH = 100_000  # characters
PASTE_BEGIN, PASTE_END = "\x1b[200~", "\x1b[201~"
_SEQUENCE = re.compile(
    r"\x1b(?:\[[0-?]*[ -/]*[@-~]"  # CSI: keys, reports of the terminal
    r"|\][^\x07\x1b]*(?:\x07|\x1b\\)"  # OSC: colours that the terminal reports
    r"|[P_^X][^\x1b]*\x1b\\"  # DCS and its like
    r"|O.|[^\[\]P_^XO])",  # SS3, Alt+key
    re.DOTALL,
)
_KITTY_KEY = re.compile(r"\x1b\[(\d{1,7})(?::\d*)*(?:;(\d{1,5})(?::(\d+))?)?(?:;[\d:]*)?u")
MAX_PARTIAL = 4096  # characters of a sequence that has not ended
MENU_ANSWERS = frozenset("123456789ynapd\r\x03")  # keys that choose at once
NEW_LINE, SUBMIT, ERASE, ERASE_WORD, ERASE_ALL = "\n", "\r", "\x7f", "\x17", "\x15"


@define
class TypedText:
    """`text`: what stands in the program's line. `unsure`: what was sent while `is_sure` was
    False, as when the program starts and may not read yet.

    `dialog`: what the program asks, which keys answer instead: a `menu` until its answer was
    chosen, a `form` until it is no longer asked.
    """

    text: str = ""
    unsure: str = ""
    is_sure: bool = True
    dialog: Literal["", "menu", "form"] = ""
    _rest: str = ""
    _is_paste: bool = False
    _decoder: Any = field(factory=lambda: codecs.getincrementaldecoder("utf-8")("ignore"))

    @property
    def unsent(self) -> str:
        """All that the program may not have."""
        return "\n".join(filter(str.strip, (self.unsure, self.text)))

    def clear(self) -> None:
        self.text = self.unsure = ""

    def feed(self, data: bytes) -> None:
        """Take what the terminal has sent."""
        given, self._rest = self._rest + self._decoder.decode(data), ""
        while given:
            if self._is_paste:
                pasted, end, given = given.partition(PASTE_END)
                if not end:
                    kept = _partial_end(pasted)
                    pasted, self._rest = pasted[: len(pasted) - kept], pasted[len(pasted) - kept :]
                self._add(pasted.replace("\r\n", "\n").replace("\r", "\n"))
                self._is_paste = not end
            elif given[0] != "\x1b":
                self._key(given[0])
                given = given[1:]
            elif found := _SEQUENCE.match(given):
                self._sequence(found[0])
                given = given[found.end() :]
            else:
                if len(given) < MAX_PARTIAL:
                    self._rest = given
                return

    def _sequence(self, sequence: str) -> None:
        if sequence == PASTE_BEGIN:
            self._is_paste = True
        elif sequence in ("\x1b\r", "\x1b\n"):
            self._key(NEW_LINE)
        elif sequence in ("\x1b\x7f", "\x1b\x08"):
            self._key(ERASE_WORD)
        elif (found := _KITTY_KEY.fullmatch(sequence)) and found[3] != "3":  # 3: it is released
            self._kitty(int(found[1]), int(found[2] or 1) - 1)

    def _kitty(self, code: int, modifiers: int) -> None:
        is_shift, is_alt, is_control = (bool(modifiers & bit) for bit in (1, 2, 4))
        if code in (13, 57414):
            self._key(NEW_LINE if is_shift or is_alt else SUBMIT)
        elif code == 127:
            self._key(ERASE_WORD if is_alt or is_control else ERASE)
        elif is_control and code in map(ord, "cuw"):
            self._key({"c": "\x03", "u": ERASE_ALL, "w": ERASE_WORD}[chr(code)])
        elif not is_alt and not is_control and 32 <= code < 0xD800:
            self._add(chr(code).upper() if is_shift else chr(code))

    def _key(self, key: str) -> None:
        if self.dialog:
            if self.dialog == "menu" and key in MENU_ANSWERS:
                self.dialog = ""
        elif key == SUBMIT:
            if self.text.endswith("\\"):
                self.text = self.text[:-1] + "\n"
            else:
                if not self.is_sure:
                    self.unsure = self.unsent
                self.text = ""
        elif key in (ERASE, "\x08"):
            self.text = self.text[:-1]
        elif key == ERASE_WORD:
            self.text = re.sub(r"\S+\s*\Z|\s+\Z", "", self.text)
        elif key == ERASE_ALL:
            self.text = self.text[: self.text.rfind("\n") + 1]
        elif key == "\x03":
            self.text = ""
        elif key in ("\n", "\t") or key.isprintable():
            self._add(key if key != "\t" else "")

    def _add(self, text: str) -> None:
        if self.dialog:
            if self.dialog == "menu" and text in MENU_ANSWERS:
                self.dialog = ""
            return
        self.text = (self.text + text)[-MAX_LENGTH:]


def _partial_end(text: str) -> int:
    """How many characters at the end may begin the end of the paste."""
    return next(
        (size for size in range(len(PASTE_END) - 1, 0, -1) if text.endswith(PASTE_END[:size])), 0
    )
