"""A menu in the terminal: a title, items to choose from, and the keys that choose. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from attrs import define, field, frozen

MAX_LABEL = 300  # characters of an item
Fragments = list[tuple[str, str]]  # style and text


@frozen
class Item:
    """`key`: a letter that chooses it, besides its number. `field`: what the person is asked to
    write when it is chosen; None: nothing. `draft`: what stands in that field at first."""

    label: str
    description: str = ""
    key: str = ""
    field: str | None = None
    draft: str = ""


@define(eq=False, repr=False)
class Menu:
    """`on_chosen` gets the numbers of what was chosen, counted from 0, and the text that was
    written. `may_leave`: Esc closes the menu; else it leads to the line, and the menu stays."""

    id: str
    title: str
    items: Sequence[Item]
    on_chosen: Callable[[list[int], str | None], object]
    may_leave: bool = False
    is_multiple: bool = False
    choices: int = 0  # items that may be marked, the first ones, if there may be several
    note: str = ""
    current: int = 0
    marked: set[int] = field(factory=set)

    def move(self, by: int) -> None:
        self.current = (self.current + by) % len(self.items)

    def take(self, key: str) -> bool:
        """Take a letter or digit; whether it chooses at once."""
        number = self._number_of(key)
        if number is None:
            return False
        self.current = number
        if self._may_mark(number):
            self.marked ^= {number}
            return False
        return True

    def _number_of(self, key: str) -> int | None:
        if key.isdecimal() and 1 <= int(key) <= min(len(self.items), 9):
            return int(key) - 1
        if key == " " and self.is_multiple:
            return self.current
        for number, item in enumerate(self.items):
            if item.key and item.key == key.lower():
                return number
        return None

    def chosen(self) -> list[int]:
        """What Enter chooses."""
        return sorted(self.marked) if self._may_mark(self.current) else [self.current]

    def _may_mark(self, number: int) -> bool:
        return self.is_multiple and number < self.choices

    def fragments(self, is_focused: bool, in_field: bool = False) -> Fragments:
        """The menu as styled text; `is_focused`: keys go to it; `in_field`: they go to a field that
        it has asked for."""
        found: Fragments = [("class:question.title", f"{self.title}\n")]
        for number, item in enumerate(self.items):
            is_current = is_focused and number == self.current
            if is_current:
                found.append(("[SetCursorPosition]", ""))
            mark = f"[{'x' if number in self.marked else ' '}] " if self._may_mark(number) else ""
            key = f" ({item.key})" if item.key else ""
            line = f"{'>' if is_current else ' '} {number + 1}. {mark}{item.label[:MAX_LABEL]}"
            found.append(("class:question.current" if is_current else "", line))
            found.append(("class:question.hint", f"{key}\n"))
            if item.description:
                found.append(("class:question.hint", f"     {item.description[:MAX_LABEL]}\n"))
        hint = "Enter sends, Esc: back" if in_field else self._hint(is_focused)
        found.append(("class:question.hint", hint))
        return found

    def _hint(self, is_focused: bool) -> str:
        if not is_focused:
            return "Tab: answer. You are writing a prompt"
        words = ["Space marks, Enter sends"] if self.is_multiple else ["Enter chooses"]
        words += ["Tab: write a prompt"] if not self.may_leave else ["Esc: back"]
        return ", ".join(words) + (f". {self.note}" if self.note else "")
