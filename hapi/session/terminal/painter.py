"""Text as a terminal shows it: Markdown, diffs and notes with colours, where there are colours.

Only this module and prompt_toolkit write escape codes; whatever an agent says has had its own
replaced before (`hapi.session.terminal.text.printable`).
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterator
from typing import Any, ClassVar

from attrs import define, field
from markdown_it import MarkdownIt
from markdown_it.token import Token
from prompt_toolkit.output.color_depth import ColorDepth
from prompt_toolkit.utils import get_cwidth
from rich.console import Console, ConsoleOptions, RenderResult
from rich.markdown import Heading, Markdown
from rich.theme import Theme

from hapi.session.terminal.text import is_unicode, printable, representable

MIN_COLUMNS = 16
STYLES = {
    "dim": "2",
    "bold": "1",
    "prompt": "1",
    "error": "31",
    "added": "32",
    "removed": "31",
    "hunk": "36",
    "tool": "36",
    "page": "35",
    "ask": "33",
}
WITHOUT_COLOUR = {"dim": "", "bold": "1", "prompt": "1"}
_COLOUR_SYSTEMS = {
    ColorDepth.DEPTH_4_BIT: "standard",
    ColorDepth.DEPTH_8_BIT: "256",
    ColorDepth.DEPTH_24_BIT: "truecolor",
}
_THEME = Theme(
    {
        "markdown.code": "cyan",
        "markdown.code_block": "default",
        "markdown.h1": "bold underline",
        "markdown.h2": "bold",
        "markdown.h3": "bold",
        "markdown.item.bullet": "bold",
        "markdown.item.number": "bold",
        "markdown.block_quote": "magenta",
    }
)
_INDENT = re.compile(r"\s*(?:\| |[-*●>?] )?")
_WORD = re.compile(r"\S+\s*|\s+")
TAB = 8  # columns
_IN_ASCII = str.maketrans({"•": "*", "●": "*", "·": "-", "…": "..."})
_TRAILING_SPACE = re.compile(r" +((?:\x1b\[[0-9;]*m)*)$", re.MULTILINE)
# HTML is text here: a terminal shows none, and what an agent says is not left out.
_PARSER = MarkdownIt("commonmark", {"html": False}).enable("strikethrough").enable("table")


class _PlainHeading(Heading):
    """A heading at the left, without a box around it."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        self.text.justify = "left"
        yield self.text


class _Markdown(Markdown):
    elements: ClassVar = {**Markdown.elements, "heading_open": _PlainHeading}


class _File(io.StringIO):
    """Where rich writes to; the encoding decides which characters it draws with."""

    def __init__(self, encoding: str) -> None:
        super().__init__()
        self._encoding = encoding

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return self._encoding


@define(eq=False, repr=False)
class Painter:
    """For a terminal of `encoding` with these colours; `columns` returns its width."""

    depth: ColorDepth
    encoding: str = "utf-8"
    columns: Callable[[], int] = field(default=lambda: 80)

    def paint(self, text: str, style: str) -> str:
        """`text`, made printable, in that style: a key of STYLES."""
        shown = self.plain(text)
        styles = STYLES if self.has_colours else WITHOUT_COLOUR
        code = styles.get(style, "")
        return f"\x1b[{code}m{shown}\x1b[0m" if code and shown else shown

    def plain(self, text: str) -> str:
        """`text` made printable, in characters that the terminal has."""
        if not is_unicode(self.encoding):
            text = text.translate(_IN_ASCII)
        return representable(printable(text), self.encoding)

    def markdown(self, text: str) -> str:
        """`text` as Markdown, without an end of line. Line breaks stay as they are."""
        shown = printable(text)
        document = _Markdown(shown, code_theme="ansi_dark", hyperlinks=False)
        document.parsed = list(_with_line_breaks(_PARSER.parse(shown)))
        return self._rendered(document).rstrip().lstrip("\n")

    def _rendered(self, renderable: Any) -> str:
        file, system = _File(self.encoding), _COLOUR_SYSTEMS.get(self.depth)
        console = Console(
            file=file,
            force_terminal=True,
            color_system=system or "standard",  # type: ignore[arg-type]
            no_color=system is None,
            width=max(self.columns(), MIN_COLUMNS),
            theme=_THEME,
            highlight=False,
            legacy_windows=False,
            emoji=False,
            _environ={},
        )
        console.print(renderable)
        text = file.getvalue()
        if not is_unicode(self.encoding):
            text = text.translate(_IN_ASCII)
        return representable(_TRAILING_SPACE.sub(r"\1", text), self.encoding)

    @property
    def has_colours(self) -> bool:
        return self.depth != ColorDepth.DEPTH_1_BIT

    @staticmethod
    def diff_style(line: str) -> str:
        """The style of a line of a unified diff."""
        return "hunk" if line.startswith("@@") else _DIFF_STYLES.get(line[:1], "")

    def diff(self, text: str) -> Iterator[str]:
        """The lines of a unified diff, each painted."""
        for line in text.splitlines():
            yield self.paint(line, self.diff_style(line))


_DIFF_STYLES = {"+": "added", "-": "removed"}


def _with_line_breaks(tokens: list[Token]) -> Iterator[Token]:
    for token in tokens:
        for child in token.children or ():
            if child.type == "softbreak":
                child.type = "hardbreak"
        yield token


def wrapped(text: str, columns: int) -> str:
    """`text` with its lines broken at spaces, and what follows of one indented as the line is. A
    word that is wider than the terminal is left to it: so it stays whole when it is copied."""
    return "\n".join(part for line in text.split("\n") for part in _parts(line, columns))


def _parts(line: str, columns: int) -> list[str]:
    shown = line.expandtabs(TAB)
    if get_cwidth(shown) <= columns:
        return [line]
    found = _INDENT.match(shown)
    indent = found[0] if found is not None else ""
    after = indent if indent.endswith("| ") else " " * len(indent)
    if len(indent) > columns // 2:
        indent = after = ""
    parts, part, width = [], indent, len(indent)
    for word in _WORD.findall(shown[len(indent) :]):
        wanted = get_cwidth(word.rstrip())
        if width + wanted > columns and part.strip() and part != after:
            parts.append(part.rstrip())
            part, width = after, len(after)
        part += word
        width += get_cwidth(word)
    return [*parts, part.rstrip()]
