"""What a tool call carries besides its text: changes of files, places in files, pictures, and what
a terminal printed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attrs import field, frozen

from hapi.protocol.acp.values import count_or_none, mapping, objects, text_or_none


@frozen
class FileChange:
    """A file's text before and after; `old` is None for a file that is new."""

    path: str
    old: str | None = field(repr=False)
    new: str = field(repr=False)


@frozen
class Location:
    """A file that a tool works on, and the line in it, counted from 1 where it is known."""

    path: str
    line: int | None = None


@frozen
class TerminalEnd:
    """How a command in a terminal ended: its exit code, or the name of a signal."""

    exit_code: int | None
    signal: str | None = None

    @property
    def problem(self) -> str | None:
        """In words, how it ended otherwise than with exit code 0."""
        if self.signal:
            return f"Ended by signal {self.signal}"
        return f"Exited with code {self.exit_code}" if self.exit_code else None


def read_changes(found: Mapping[str, Any]) -> tuple[FileChange, ...] | None:
    """The changes of files in the content; None if it has none."""
    changes = tuple(
        FileChange(str(item.get("path") or ""), _text_of(item.get("oldText")), new)
        for item in objects(found.get("content"))
        if item.get("type") == "diff"
        and (new := _text_of(item.get("newText"), item.get("oldText"))) is not None
    )
    return changes or None


def _text_of(value: Any, other: Any = None) -> str | None:
    """`value` if it is a text; empty if only `other` is one, as for a file that is deleted."""
    if isinstance(value, str):
        return value
    return "" if isinstance(other, str) else None


def read_locations(found: Mapping[str, Any]) -> tuple[Location, ...] | None:
    """The files that a tool works on; None if it names none."""
    locations = tuple(
        Location(path, count_or_none(item.get("line")))
        for item in objects(found.get("locations"))
        if (path := text_or_none(item.get("path")))
    )
    return locations or None


def read_terminal_output(found: Mapping[str, Any]) -> str | None:
    """What a terminal printed since the last update.

    Codex and Claude say it in `_meta`, since their clients have no terminal for it: as
    `terminal_output_delta` or `terminal_output`, both of which continue what was printed before.
    """
    meta = mapping(found.get("_meta"))
    for name in ("terminal_output_delta", "terminal_output"):
        if text := text_or_none(mapping(meta.get(name)).get("data")):
            return text
    return None


def read_terminal_end(found: Mapping[str, Any]) -> TerminalEnd | None:
    """How the command in a terminal ended (`_meta.terminal_exit`); None while it runs."""
    end = mapping(mapping(found.get("_meta")).get("terminal_exit"))
    code, signal = end.get("exit_code"), end.get("signal")
    if not end:
        return None
    is_number = isinstance(code, int) and not isinstance(code, bool)
    return TerminalEnd(code if is_number else None, text_or_none(signal))
