"""The keys of the line."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent


class Owner(Protocol):
    """Whose line it is."""

    on_local_wanted: Callable[[], object] | None

    def submitted(self, text: str) -> None: ...
    def interrupt(self) -> None: ...
    def end_of_input(self) -> None: ...


def line_bindings(screen: Owner) -> KeyBindings:
    """What keys do in the line, beside those of Emacs that prompt_toolkit knows."""
    keys = KeyBindings()

    @keys.add("enter")
    def submit(event: KeyPressEvent) -> None:
        buffer = event.current_buffer
        if buffer.document.text_before_cursor.endswith("\\"):
            buffer.delete_before_cursor()
            buffer.insert_text("\n")
            return
        text = buffer.text
        buffer.append_to_history()
        buffer.reset()
        screen.submitted(text)

    @keys.add("escape", "enter")
    @keys.add("c-j")
    def new_line(event: KeyPressEvent) -> None:
        event.current_buffer.newline(copy_margin=False)

    @keys.add("c-c")
    def interrupt(event: KeyPressEvent) -> None:
        buffer = event.current_buffer
        if buffer.text:
            buffer.append_to_history()
            buffer.reset()
        else:
            screen.interrupt()

    @keys.add("c-d")
    def end(event: KeyPressEvent) -> None:
        if event.current_buffer.text:
            event.current_buffer.delete()
        else:
            screen.end_of_input()

    @keys.add("c-o")
    def to_local(event: KeyPressEvent) -> None:
        if screen.on_local_wanted is not None:
            screen.on_local_wanted()

    return keys
