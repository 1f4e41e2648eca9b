"""What is asked in the terminal beside the line: menus, and fields in the place of the line.

A person may be writing when something is asked. What was written stays, and no key answers that
was meant for the line: a menu takes keys only when the line is empty and GUARD seconds have passed
since it appeared or since the last key, or when the person goes to it with Tab.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from attrs import define, field, frozen
from prompt_toolkit.document import Document
from prompt_toolkit.formatted_text import StyleAndTextTuples
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent
from prompt_toolkit.keys import Keys
from prompt_toolkit.layout import Dimension, FormattedTextControl, Window
from twisted.internet.interfaces import IDelayedCall

from hapi.session.terminal.menus import Item, Menu

GUARD = 0.3  # seconds


@frozen
class _Field:
    """A field in the place of the line; `draft` is what the line held."""

    label: str
    on_text: Callable[[str], object]
    draft: Document


@define(eq=False, repr=False)
class Dialogs:
    """One menu at a time, or one field. `editor` is set once it is made."""

    _clock: Any
    editor: Any = None
    on_closed: Callable[[], object] = field(default=lambda: None)  # the person has left a menu
    menu: Menu | None = None
    window: Window = field(init=False)
    _field: _Field | None = None
    _guard: IDelayedCall | None = None

    def __attrs_post_init__(self) -> None:
        control = FormattedTextControl(
            self.fragments, focusable=True, key_bindings=self._keys(), show_cursor=False
        )
        self.window = Window(
            control,
            wrap_lines=True,
            dont_extend_height=True,
            height=lambda: Dimension(max=max(3, self.editor.rows - 4)),
        )

    # --- for whoever asks
    def show(self, menu: Menu) -> None:
        """Show `menu` in the place of the one that is shown."""
        self._end_field()
        self.menu = menu
        self._wait()
        self.editor.refresh()

    def close(self, menu_id: str) -> None:
        """Close the menu with that id, if it is shown: it was answered elsewhere."""
        if self.menu is not None and self.menu.id == menu_id:
            self._end_field()
            self._leave()
            self.menu = None
            self.editor.refresh()

    def ask(self, label: str, on_text: Callable[[str], object], draft: str = "") -> None:
        """Ask for text in the place of the line, which comes back afterwards."""
        buffer = self.editor.buffer
        self._field = _Field(label, on_text, buffer.document)
        buffer.set_document(Document(draft, len(draft)))
        self._leave()
        self.editor.refresh()

    # --- for the line
    @property
    def label(self) -> str | None:
        """What stands before the line; None while it is a prompt."""
        return self._field.label if self._field is not None else None

    @property
    def draft(self) -> str:
        """The prompt that is being written."""
        document = self._field.draft if self._field is not None else self.editor.buffer.document
        text: str = document.text
        return text

    def submitted(self, text: str) -> bool:
        """Enter was pressed in the line; whether that ended a field."""
        asked = self._field
        if asked is None:
            return False
        self._end_field()
        asked.on_text(text)
        return True

    def escaped(self) -> bool:
        """Esc was pressed in the line; whether that left a field."""
        if self._field is None:
            return False
        self._end_field()
        self.focus()
        return True

    def changed(self, _: object = None) -> None:
        """The line has changed."""
        if self.is_waiting:
            self._wait()

    def _end_field(self) -> None:
        asked, self._field = self._field, None
        if asked is not None:
            self.editor.buffer.set_document(asked.draft)

    # --- which of them has the keys
    @property
    def is_focused(self) -> bool:
        """Whether the menu has the keys."""
        focused: bool = self.editor.app.layout.has_focus(self.window)
        return focused

    def focus(self) -> None:
        """Let the menu have the keys."""
        self._stop_guard()
        if self.menu is not None and self._field is None:
            self.editor.app.layout.focus(self.window)
            self.editor.refresh()

    def _leave(self) -> None:
        self._stop_guard()
        self.editor.app.layout.focus(self.editor.line)
        self.editor.refresh()

    def _wait(self) -> None:
        """Let the menu have the keys when the person does not write."""
        self._stop_guard()
        self._guard = self._clock.callLater(GUARD, self._guard_ended)

    def _guard_ended(self) -> None:
        self._guard = None
        if not self.editor.buffer.text:
            self.focus()

    def _stop_guard(self) -> None:
        if self._guard is not None:
            self._guard.cancel()
            self._guard = None

    def fragments(self) -> StyleAndTextTuples:
        """The menu as it is drawn."""
        if self.menu is None:
            return []
        return [*self.menu.fragments(self.is_focused, self._field is not None)]

    # --- keys
    @property
    def is_waiting(self) -> bool:
        """Whether a menu is shown that has not the keys."""
        return self.menu is not None and self._field is None and not self.is_focused

    def _keys(self) -> KeyBindings:
        keys = KeyBindings()

        @keys.add("up")
        @keys.add("c-p")
        def up(event: KeyPressEvent) -> None:
            self._move(-1)

        @keys.add("down")
        @keys.add("c-n")
        def down(event: KeyPressEvent) -> None:
            self._move(1)

        @keys.add("enter")
        def choose(event: KeyPressEvent) -> None:
            self._choose()

        @keys.add("tab")
        def to_line(event: KeyPressEvent) -> None:
            self._leave()

        @keys.add("escape")
        def leave(event: KeyPressEvent) -> None:
            menu = self.menu
            if menu is None or not menu.may_leave:
                self._leave()
                return
            self.close(menu.id)
            self.on_closed()

        @keys.add(Keys.BracketedPaste)
        def paste(event: KeyPressEvent) -> None:
            self._leave()
            self.editor.paste(event.data)

        @keys.add(Keys.Any)
        def other(event: KeyPressEvent) -> None:
            if self.menu is not None and self.menu.take(event.data):
                self._choose()

        return keys

    def _move(self, by: int) -> None:
        if self.menu is not None:
            self.menu.move(by)

    def _choose(self) -> None:
        menu = self.menu
        if menu is None:
            return
        chosen = menu.chosen()
        item: Item = menu.items[menu.current]
        if item.field is not None:
            self.ask(item.field, lambda text: self._chosen(menu, [menu.current], text), item.draft)
        else:
            self._chosen(menu, chosen, None)

    def _chosen(self, menu: Menu, chosen: list[int], text: str | None) -> None:
        if self.menu is menu:
            self.close(menu.id)
            menu.on_chosen(chosen, text)
            self.on_closed()
