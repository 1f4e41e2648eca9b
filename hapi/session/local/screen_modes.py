"""What a program has switched on in a terminal, read from its output, and what undoes it. Pure."""

from __future__ import annotations

import re

from attrs import define, field

_CHANGE = re.compile(rb"\x1b(?:\[([?>=<]?)([0-9;]*)([hlumr]))")
_TITLE = re.compile(rb"\x1b\][02];([^\x07\x1b]*)(?:\x07|\x1b\\)")
MAX_PARTIAL = 512  # bytes of a sequence that goes on in the next piece
ALTERNATE_SCREENS = (47, 1047, 1049)
ON_BY_DEFAULT = (7, 25)  # wrapping, cursor


@define
class ScreenModes:
    """`feed` with all that a program writes."""

    title: str | None = None  # of the terminal's window, as the program named it last
    _changed: dict[int, bool] = field(factory=dict)  # private modes that are not as they begin
    _keyboard_pushes: int = 0  # kitty keyboard protocol
    _has_modified_keys: bool = False  # xterm's modifyOtherKeys
    _has_region: bool = False  # a scrolling region
    _rest: bytes = b""

    def feed(self, data: bytes) -> None:
        data = self._rest + data
        end = 0
        for found in _CHANGE.finditer(data):
            end = found.end()
            self._apply(found[1], found[2], found[3])
        for found in _TITLE.finditer(data):
            end = max(end, found.end())
            self.title = found[1].decode(errors="replace")
        last = data.rfind(b"\x1b", max(end, len(data) - MAX_PARTIAL))
        self._rest = data[last:] if last >= 0 else b""

    def _apply(self, mark: bytes | None, numbers: bytes | None, kind: bytes | None) -> None:
        values = [int(each) for each in (numbers or b"").split(b";") if each]
        match mark, kind:
            case (b"?", b"h" | b"l"):
                for mode in values:
                    is_on = kind == b"h"
                    if is_on == (mode in ON_BY_DEFAULT):
                        self._changed.pop(mode, None)
                    else:
                        self._changed[mode] = is_on
            case (b">", b"u"):
                self._keyboard_pushes += 1
            case (b"<", b"u"):
                self._keyboard_pushes -= values[0] if values else 1
                self._keyboard_pushes = max(self._keyboard_pushes, 0)
            case (b">", b"m"):
                self._has_modified_keys = values[:1] == [4] and len(values) > 1 and values[1] > 0
            case (b"", b"r"):
                self._has_region = bool(values)

    @property
    def is_alternate(self) -> bool:
        return any(self._changed.get(mode) for mode in ALTERNATE_SCREENS)

    def undo(self) -> bytes:
        """What brings the terminal back to how it began; colours in any case."""
        pieces = []
        if self._keyboard_pushes:
            pieces.append(b"\x1b[<%du" % self._keyboard_pushes)
        if self._has_modified_keys:
            pieces.append(b"\x1b[>4m")
        if self._has_region:
            pieces.append(b"\x1b7\x1b[r\x1b8")
        # The alternate screen last: the other modes may belong to it.
        for mode in sorted(self._changed, key=lambda each: each in ALTERNATE_SCREENS):
            pieces.append(b"\x1b[?%d%c" % (mode, b"l"[0] if self._changed[mode] else b"h"[0]))
        self._changed.clear()
        self._keyboard_pushes, self._has_modified_keys, self._has_region = 0, False, False
        return b"".join([*pieces, b"\x1b[0m"])
