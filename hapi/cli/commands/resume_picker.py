"""The list of `hapi resume`: searched by typing, chosen with the arrows and Enter."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click
from attrs import define, field, frozen

from hapi.cli.base.output import echo
from hapi.cli.commands.resume_states import LEGEND, entry_state
from hapi.redaction import escape_control

if TYPE_CHECKING:
    from prompt_toolkit.formatted_text import StyleAndTextTuples

    from hapi.client import ResumableSession

PAGE = 10  # lines of PageUp and PageDown
MAX_LINES = 20  # of the list
MAX_NUMBERED = 30  # sessions of the list in a terminal without a cursor
KEYS = "Type to search. Up, Down, PageUp, PageDown: choose. Enter: go on. Esc: leave"


@define
class Choice:
    """What is typed, and which session is chosen."""

    entries: Sequence[ResumableSession]
    directory: str = ""
    query: str = ""
    index: int = 0
    found: list[ResumableSession] = field(factory=list)

    def __attrs_post_init__(self) -> None:
        self.search(self.query)

    @property
    def chosen(self) -> ResumableSession | None:
        return self.found[self.index] if self.found else None

    def search(self, query: str) -> None:
        """Keep the sessions that have all words of `query` in their titles, places or agents."""
        words = query.casefold().split()
        self.query, self.index = query, 0
        self.found = [
            each
            for each in self.entries
            if all(word in searched(each) or each.session_id.startswith(word) for word in words)
        ]

    def move(self, lines: int) -> None:
        self.index = max(0, min(self.index + lines, len(self.found) - 1))

    def window(self, height: int) -> range:
        """The places of the sessions that are shown on `height` lines."""
        first = max(0, min(self.index - height // 2, len(self.found) - height))
        return range(first, min(first + height, len(self.found)))


def searched(entry: ResumableSession) -> str:
    parts = (
        entry.name,
        entry.summary,
        entry.first_user_message,
        entry.directory,
        entry.flavor,
    )
    return "\n".join(part for part in parts if part).casefold()


def age(milliseconds: int, now: float) -> str:
    """How long ago, in three or four characters."""
    seconds = max(0, now - milliseconds / 1000)
    for size, unit in ((86400, "d"), (3600, "h"), (60, "m")):
        if seconds >= size:
            return f"{int(seconds // size)}{unit}"
    return "now"


@frozen
class Lines:
    """The sessions in one line each. `states`: by their ids, as `read_states` reads them."""

    entries: Sequence[ResumableSession]
    directory: str
    states: Mapping[str, str]

    def line(self, entry: ResumableSession, now: float) -> str:
        width = max(len(self._state(each)) for each in self.entries)
        return line(entry, self.directory, now, f"{self._state(entry):<{width}}")

    def _state(self, entry: ResumableSession) -> str:
        return self.states.get(entry.session_id) or entry_state(entry)


def line(entry: ResumableSession, directory: str, now: float, state: str) -> str:
    """A session in one line: age, agent, state, title, first prompt, and another directory."""
    prompt = _one_line(entry.first_user_message or "")
    title = _one_line(entry.name or entry.summary or prompt or entry.session_id)
    further = "" if prompt in ("", title) else f" | {prompt}"
    place = "" if entry.directory == directory else f"  [{_short(entry.directory)}]"
    facts = f"{age(entry.updated_at, now):>4}  {_one_line(entry.flavor):<9} {state}"
    return f"{facts}  {title[:60]}{place}{further}"


def _one_line(text: str) -> str:
    return escape_control(" ".join(text.split()))


def _short(path: str) -> str:
    home = os.path.expanduser("~")
    shown = "~" + path.removeprefix(home) if path == home or path.startswith(home + "/") else path
    return _one_line(shown)


def choose_by_number(
    entries: Sequence[ResumableSession], directory: str, states: Mapping[str, str]
) -> ResumableSession | None:
    """The session whose number a person types, None if none: for terminals without a cursor."""
    now, listing = time.time(), Lines(entries, directory, states)
    for number, entry in enumerate(entries[:MAX_NUMBERED], 1):
        echo(f"{number:>3}. {listing.line(entry, now)}")
    if len(entries) > MAX_NUMBERED:
        echo(f"     and {len(entries) - MAX_NUMBERED} more; name one by its ID")
    echo(LEGEND)
    wanted = click.prompt("Number (0 to leave)", type=click.IntRange(0, len(entries)), err=True)
    return entries[wanted - 1] if wanted else None


def choose(
    entries: Sequence[ResumableSession],
    directory: str,
    states: Mapping[str, str],
    **terminal: Any,
) -> ResumableSession | None:
    """The session that a person chooses, None if none. `terminal`: `input` and `output` of
    prompt_toolkit, by default those of the process."""
    from prompt_toolkit.application import Application
    from prompt_toolkit.buffer import Buffer
    from prompt_toolkit.key_binding import KeyBindings
    from prompt_toolkit.layout import HSplit, Layout, VSplit, Window
    from prompt_toolkit.layout.controls import BufferControl, FormattedTextControl

    choice, now = Choice(entries, directory), time.time()
    listing = Lines(entries, directory, states)
    keys = KeyBindings()

    def shown() -> StyleAndTextTuples:
        if not choice.found:
            return [("", "  no session has these words\n")]
        height = min(MAX_LINES, max(3, app.output.get_size().rows - 5))
        return [
            ("reverse" if index == choice.index else "", _marked(index) + "\n")
            for index in choice.window(height)
        ]

    def _marked(index: int) -> str:
        mark = "> " if index == choice.index else "  "
        return mark + listing.line(choice.found[index], now)

    def ends(result: bool) -> Any:
        return lambda event: event.app.exit(result=choice.chosen if result else None)

    def moves(lines: int) -> Any:
        return lambda event: choice.move(lines)

    keys.add("enter")(lambda event: choice.chosen and event.app.exit(result=choice.chosen))
    for key in ("escape", "c-c", "c-d"):
        keys.add(key)(ends(False))
    for key, lines in (("up", -1), ("down", 1), ("pageup", -PAGE), ("pagedown", PAGE)):
        keys.add(key)(moves(lines))
    for key, lines in (("c-p", -1), ("c-n", 1), ("home", -(10**6)), ("end", 10**6)):
        keys.add(key)(moves(lines))
    search = Buffer(multiline=False, on_text_changed=lambda buffer: choice.search(buffer.text))
    layout = HSplit(
        [
            VSplit(
                [
                    Window(FormattedTextControl("Search: "), width=8, height=1),
                    Window(BufferControl(search), height=1),
                ]
            ),
            Window(FormattedTextControl(shown), wrap_lines=False, dont_extend_height=True),
            Window(FormattedTextControl(LEGEND), height=1, style="italic"),
            Window(FormattedTextControl(KEYS), height=1, style="italic"),
        ]
    )
    app: Application[ResumableSession | None] = Application(
        layout=Layout(layout), key_bindings=keys, erase_when_done=True, **terminal
    )
    app.ttimeoutlen = app.timeoutlen = 0.1  # seconds until an Esc is one
    sys.stdout.flush()
    wakeup = signal.set_wakeup_fd(-1)
    try:
        return app.run()
    finally:  # asyncio leaves none, and without it a reactor of this process hears of no signal
        signal.set_wakeup_fd(wakeup, warn_on_full_buffer=False)
