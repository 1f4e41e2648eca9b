"""The key that leaves a shell, in what a terminal sends."""

from __future__ import annotations

import re

from attrs import define, field

KEYS = "@abcdefghijklmnopqrstuvwxyz[\\]^_"


def key_code(name: str) -> int | None:
    """The control character of a key that is named as `ctrl-]`; None if there is no such key."""
    found = re.fullmatch(r"ctrl-(.)", name.lower())
    return KEYS.index(found[1]) if found is not None and found[1] in KEYS else None


@define
class DetachKey:
    """Finds the key, also as the keyboard protocols of kitty and xterm send it once a program has
    turned them on.
    """

    code: int
    _pattern: re.Pattern[bytes] = field(init=False)

    def __attrs_post_init__(self) -> None:
        letter = str(ord(KEYS[self.code])).encode()
        forms = (re.escape(bytes([self.code])), rb"\x1b\[%b(?::\d*)*;5(?::1)?u" % letter)
        self._pattern = re.compile(b"|".join((*forms, rb"\x1b\[27;5;%b~" % letter)))

    @property
    def name(self) -> str:
        return f"Ctrl+{KEYS[self.code].upper()}"

    def split(self, data: bytes) -> tuple[bytes, bool]:
        """What comes before the key, and whether it is there."""
        found = self._pattern.search(data)
        return (data, False) if found is None else (data[: found.start()], True)
