"""What programs have changed in a terminal, read from their output, and what undoes it. Pure.

Whatever they write, nothing here raises: numbers are bounded where they are read.
"""

from __future__ import annotations

import re

from attrs import define, field

_SEQUENCE = re.compile(
    rb"\x1b\[([?>=<]?)((?:\d{0,5};){0,31}\d{0,5})([hlmru]| q)"
    rb"|\x1b\](\d{1,3})(?:;([^\x07\x1b]{0,1024}))?(?:\x07|\x1b\\)"
    rb"|\x1b([)*+])([0-~])"  # a character set
    rb"|\x1b(c)"
)
# The beginning of one, at the end of a piece.
_PARTIAL = re.compile(
    rb"\x1b(?:\[[?>=<]?[\d;]{0,192} ?|\]\d{0,3}(?:;[^\x07\x1b]{0,1024}\x1b?)?|[)*+])?\Z"
)
MAX_PARTIAL = 1100  # bytes
ALTERNATE_SCREENS = (47, 1047, 1049)
CURSOR = 25
ORIGIN = 6  # rows are counted from the scrolling region; changing it moves the cursor
ON_BY_DEFAULT = (7, 8, CURSOR)  # wrapping, keys repeat
# Not changed back: what these are at first is a setting of the terminal (the cursor blinks; what
# Alt sends), and 1048 moves the cursor.
KEPT = (12, 1034, 1035, 1036, 1039, 1048)
# Without a `?`: keyboard locked, insert, local echo (off), new line.
ANSI_MODES = {2: False, 4: False, 12: True, 20: False}
MAX_MODES = 256  # more are not remembered
MAX_PUSHES = 999
COLOURS = range(10, 20)  # OSC: of text, background, cursor, selection …; +100 resets
PALETTE, PALETTE_RESET = 4, 104
TITLES, LINK = (0, 2), 8
# In any case: keypad, character set, colours.
RESET = b"\x1b>\x1b(B\x0f\x1b[0m"


@define
class ScreenModes:
    """`feed` with all that programs write."""

    title: str | None = None  # of the terminal's window, as it was named last
    _private: dict[int, bool] = field(factory=dict)  # modes that are not as they begin
    _ansi: dict[int, bool] = field(factory=dict)
    # kitty's keyboard protocol, for each of the two screens: what was pushed, and flags set without
    _pushes: dict[bool, int] = field(factory=dict)
    _has_flags: set[bool] = field(factory=set)
    _modified_keys: set[int] = field(factory=set)  # xterm's modifyOtherKeys and its like
    _has_region: bool = False  # a scrolling region
    _has_cursor_shape: bool = False
    _colours: set[int] = field(factory=set)
    _has_link: bool = False
    _character_sets: set[bytes] = field(factory=set)  # G1 to G3, by the character that names them
    _rest: bytes = b""

    def feed(self, data: bytes) -> None:
        data = self._rest + data
        end = 0
        for found in _SEQUENCE.finditer(data):
            end = found.end()
            mark, numbers, kind, command, text, place, character_set, reset = found.groups()
            if kind is not None:
                self._control(mark + kind, [int(each) for each in numbers.split(b";") if each])
            elif command is not None:
                self._command(int(command), text or b"")
            elif place is not None:
                is_usual = character_set == b"B"
                (self._character_sets.discard if is_usual else self._character_sets.add)(place)
            elif reset is not None:
                self._forget()
        partial = _PARTIAL.search(data, max(end, len(data) - MAX_PARTIAL))
        self._rest = partial[0] if partial is not None else b""

    @property
    def is_alternate(self) -> bool:
        return any(self._private.get(mode) for mode in ALTERNATE_SCREENS)

    def undo(self) -> bytes:
        """What brings the terminal back to how it began. The text on it stays, and the cursor
        behind it."""
        pieces = [self._undo_keyboard(self.is_alternate)]
        pieces += [b"\x1b[>%dm" % number for number in sorted(self._modified_keys)]
        if self._private.pop(ORIGIN, False):
            pieces.append(b"\x1b[r\x1b[?6l\x1b[999B")  # to the last row
        elif self._has_region:
            pieces.append(b"\x1b7\x1b[r\x1b8")
        pieces += [b"\x1b[%d%c" % (mode, _letter(not is_on)) for mode, is_on in self._ansi.items()]
        if self._has_cursor_shape:
            pieces.append(b"\x1b[0 q")
        if self._has_link:
            pieces.append(b"\x1b]8;;\x1b\\")
        for colour in sorted(self._colours):
            pieces.append(b"\x1b]%d\x1b\\" % (colour if colour == PALETTE_RESET else colour + 100))
        pieces += [b"\x1b%bB" % place for place in sorted(self._character_sets)]
        # The alternate screen after the modes that may belong to it; then the cursor.
        is_alternate = self.is_alternate
        for mode in sorted(self._private, key=_rank):
            pieces.append(b"\x1b[?%d%c" % (mode, _letter(not self._private[mode])))
        if is_alternate:
            pieces.append(self._undo_keyboard(False))
        self._forget()
        return b"".join([*pieces, RESET])

    # --- inside
    def _control(self, kind: bytes, values: list[int]) -> None:
        match kind:
            case b"?h" | b"?l":
                for mode in values:
                    if mode not in KEPT:
                        _change(self._private, mode, kind == b"?h", mode in ON_BY_DEFAULT)
            case b"h" | b"l":
                for mode in values:
                    if mode in ANSI_MODES:
                        _change(self._ansi, mode, kind == b"h", ANSI_MODES[mode])
            case b">u":
                screen = self.is_alternate
                self._pushes[screen] = min(self._pushes.get(screen, 0) + 1, MAX_PUSHES)
            case b"<u":
                screen = self.is_alternate
                popped = max(values[0], 1) if values else 1
                self._pushes[screen] = max(self._pushes.get(screen, 0) - popped, 0)
            case b"=u":
                # Flags are set (1), added (2) or removed (3).
                how = values[1] if len(values) > 1 else 1
                if how < 3 and values[:1] not in ([], [0]):
                    self._has_flags.add(self.is_alternate)
                elif how == 1:
                    self._has_flags.discard(self.is_alternate)
            case b">m" if values and values[0] < 10:
                is_set = len(values) > 1 and values[1] > 0
                (self._modified_keys.add if is_set else self._modified_keys.discard)(values[0])
            case b">m":
                self._modified_keys.clear()
            case b"r":
                self._has_region = bool(values)
            case b" q":
                self._has_cursor_shape = values not in ([], [0])

    def _command(self, number: int, text: bytes) -> None:
        """An operating system command (OSC)."""
        if number in TITLES:
            self.title = text.decode(errors="replace")
        elif number == LINK:
            self._has_link = bool(text.partition(b";")[2])
        elif number in COLOURS:
            for colour, given in zip(range(number, COLOURS.stop), text.split(b";"), strict=False):
                if given not in (b"", b"?"):
                    self._colours.add(colour)
        elif number - 100 in COLOURS:
            self._colours.discard(number - 100)
        elif number == PALETTE and set(text.split(b";")[1::2]) - {b"", b"?"}:
            self._colours.add(PALETTE_RESET)
        elif number == PALETTE_RESET and not text:
            self._colours.discard(PALETTE_RESET)

    def _undo_keyboard(self, screen: bool) -> bytes:
        pushes = self._pushes.get(screen, 0)
        flags = b"\x1b[=0u" if screen in self._has_flags else b""
        return (b"\x1b[<%du" % pushes if pushes else b"") + flags

    def _forget(self) -> None:
        """All but the title, and a sequence that has not ended."""
        title, rest = self.title, self._rest
        self.__init__(title)  # type: ignore[misc]
        self._rest = rest


def _change(changed: dict[int, bool], mode: int, is_on: bool, is_on_by_default: bool) -> None:
    if is_on == is_on_by_default:
        changed.pop(mode, None)
    elif len(changed) < MAX_MODES:
        changed[mode] = is_on


def _rank(mode: int) -> int:
    return 2 if mode == CURSOR else mode in ALTERNATE_SCREENS


def _letter(is_on: bool) -> int:
    return ord("h" if is_on else "l")
