"""The keys of the line, beside those of Emacs that prompt_toolkit knows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from prompt_toolkit.buffer import Buffer
from prompt_toolkit.filters import Condition, completion_is_selected, has_focus
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent
from prompt_toolkit.keys import Keys

from hapi.session.terminal.dialogs import Dialogs

HELP = """\
Enter sends the prompt. Alt+Enter, Ctrl+J, or \\ and Enter begin a new line; a paste is one prompt.
Up and Down bring earlier prompts of this directory back; Ctrl+R searches them.
/ completes the agent's commands, @ names of files; Tab takes what is offered.
A prompt that begins with a space is not kept in the history.
Shift+Tab changes the permission mode; F3 lists all modes, F2 (or Alt+P) the models.
Esc stops the turn. Ctrl+C clears the line, or stops the turn; twice it ends the session.
Ctrl+D in an empty line ends the session after the turn. Ctrl+L clears the screen."""
HELP_LOCAL = "Ctrl+O goes to the agent's own program."


class Owner(Protocol):
    """Whose line it is."""

    def submitted(self, text: str) -> None: ...
    def pasted(self, text: str) -> None: ...
    def control_c(self) -> None: ...
    def control_d(self) -> None: ...
    def control_o(self) -> None: ...
    def suspend(self) -> None: ...
    def escaped(self) -> None: ...
    def next_mode(self) -> None: ...
    def choose_mode(self) -> None: ...
    def choose_model(self) -> None: ...
    def help(self) -> None: ...


def line_bindings(owner: Owner, dialogs: Dialogs, line: Buffer) -> KeyBindings:
    """The keys; those that edit are only for `line`, the others work in a menu as well."""
    keys = KeyBindings()
    in_line = has_focus(line)
    is_empty = Condition(lambda: not line.text)

    @keys.add("enter", filter=in_line)
    def submit(event: KeyPressEvent) -> None:
        if completion_is_selected():
            line.complete_state = None
        elif line.document.text_before_cursor.endswith("\\"):
            line.delete_before_cursor()
            line.insert_text("\n")
        else:
            text = line.text
            line.reset()
            owner.submitted(text)

    @keys.add("escape", "enter", filter=in_line)
    @keys.add("c-j", filter=in_line)
    def new_line(event: KeyPressEvent) -> None:
        line.newline(copy_margin=False)

    @keys.add(Keys.BracketedPaste, filter=in_line)
    def paste(event: KeyPressEvent) -> None:
        owner.pasted(event.data)

    @keys.add("?", filter=in_line & is_empty)
    @keys.add("f1")
    def show_help(event: KeyPressEvent) -> None:
        owner.help()

    may_leave = Condition(lambda: dialogs.is_waiting and line.complete_state is None)

    @keys.add("tab", filter=in_line & may_leave, eager=True)
    def to_menu(event: KeyPressEvent) -> None:
        dialogs.focus()

    calls: list[tuple[tuple[str, ...], Callable[[], object]]] = [
        (("c-c",), owner.control_c),
        (("c-d",), owner.control_d),
        (("c-o",), owner.control_o),
        (("c-z",), owner.suspend),
        (("s-tab",), owner.next_mode),
        (("f2",), owner.choose_model),
        (("escape", "p"), owner.choose_model),
        (("f3",), owner.choose_mode),
    ]
    for pressed, call in calls:
        keys.add(*pressed)(_ignoring_event(call))
    keys.add("escape", filter=in_line)(_ignoring_event(owner.escaped))
    return keys


def _ignoring_event(call: Callable[[], object]) -> Callable[[KeyPressEvent], None]:
    def pressed(event: KeyPressEvent) -> None:
        call()

    return pressed
