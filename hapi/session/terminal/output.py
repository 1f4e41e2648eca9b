"""What was said and done, as it stands above the line."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from attrs import define, field

from hapi.protocol.acp.tool_content import Location
from hapi.session.terminal.blocks import BlockCutter
from hapi.session.terminal.painter import Painter, wrapped
from hapi.session.terminal.tool_lines import ShownCall, ToolLines, diff_lines

MAX_OUTPUT_LINES = 12  # of a tool's output
MAX_DIFF_LINES = 60
MAX_LINE = 1_000  # characters of a line of a tool's output, an argument or a diff
MAX_DRAWN = 20_000  # characters of Markdown in a second; 1,000 take 5 to 7 ms
MAX_LIVE_LINE = 2_000  # characters of the end of what is being said
THOUGHT_MARK = "(thinking) "  # where it cannot be told by its colour
PLAN_MARKS = {"completed": "x", "in_progress": "~"}


@define(eq=False, repr=False)
class Output:
    """`show` takes whole lines with our own escape codes; `changed` is called when what is being
    said has changed."""

    painter: Painter
    _show: Callable[[str], object]
    _changed: Callable[[], object]
    _seconds: Callable[[], float]  # the clock
    _kind: str = ""  # of what is being said: text, thought
    _cutter: BlockCutter = field(factory=BlockCutter)
    _is_after_text: bool = False  # the last thing above the line is a block of text
    _second: float = 0.0  # in which these characters were drawn as Markdown
    _drawn: int = 0
    _tools: ToolLines = field(factory=ToolLines)

    # --- what the agent says
    def say(self, kind: str, text: str) -> None:
        """A piece of `text` or `thought`."""
        if not text:
            return
        if kind != self._kind:
            self.end_block()
            self._kind = kind
        for block in self._cutter.add(text):
            self._block(block)
        self._changed()

    def end_block(self) -> None:
        """What was being said is over."""
        rest = self._cutter.finish()
        if rest.strip():
            self._block(rest)
        self._kind = ""

    def _block(self, text: str) -> None:
        is_next = self._is_after_text
        if self._kind == "thought":
            mark = "" if self.painter.has_colours else THOUGHT_MARK
            shown = self.painter.paint(self._wrapped(mark + text.strip()), "dim")
        elif self._may_draw(len(text)):
            shown = self.painter.markdown(text)
        else:
            shown = self._wrapped(text.strip("\n"))
        self._show(f"\n{shown}\n" if is_next else f"{shown}\n")
        self._is_after_text = True

    def _may_draw(self, length: int) -> bool:
        """Whether there is time to draw that much as Markdown: more than somebody can read is
        shown as it is."""
        second = self._seconds() // 1
        if second != self._second:
            self._second, self._drawn = second, 0
        self._drawn += length
        return self._drawn <= MAX_DRAWN

    def live_end(self, lines: int) -> str:
        """The last lines of what is being said and is no whole block yet: plain text."""
        text = self._cutter.rest[-MAX_LIVE_LINE:].strip("\n")
        is_marked = text and self.is_thought and not self.painter.has_colours
        shown = self._wrapped(THOUGHT_MARK + text if is_marked else text)
        return "\n".join(shown.split("\n")[-lines:])

    @property
    def is_thought(self) -> bool:
        return self._kind == "thought"

    # --- lines
    def line(self, text: str, style: str = "") -> None:
        """A line, or several, that the agent has not said."""
        self.end_block()
        self._is_after_text = False
        self._show(self.painter.paint(self._wrapped(text), style) + "\n")

    def _wrapped(self, text: str) -> str:
        """`text`, made printable, wrapped at spaces as wide as the terminal is."""
        return wrapped(self.painter.plain(text), self.painter.columns())

    def prompt(self, text: str, origin: str = "") -> None:
        """A prompt that was sent from here, or from `origin`."""
        self.end_block()
        first, *rest = text.rstrip("\n").split("\n")
        lines = [f"{origin}> {first}", *(f"  {line}" for line in rest)]
        self.line("\n".join(lines), "page" if origin else "prompt")

    def details(self, lines: Iterable[str], has_diff: bool) -> None:
        """What is asked about; `has_diff`: there is a diff among it."""
        self.end_block()
        self._is_after_text = False
        room = self.painter.columns() - 4
        for each in lines:
            line = self.painter.plain(_shortened(each))
            style = self.painter.diff_style(line) if has_diff else ""
            for part in wrapped(line, room).split("\n"):
                self._show(f"    {self.painter.paint(part, style)}\n")

    # --- tools and plans
    def tool_call(self, record: Mapping[str, Any]) -> None:
        """The record of a tool call: shown once, as soon as it says what it does."""
        call = self._tools.record(record)
        if call is not None and call.says_what_it_does:
            self._tool_line(call)

    def locations(self, call_id: str, locations: Sequence[Location]) -> None:
        """The files that a tool call works on."""
        call = self._tools.locate(call_id, locations)
        if call is not None and call.detail:
            self._tool_line(call)

    def tool_asked(self, call_id: str, has_diff: bool) -> None:
        """A permission is asked for the call; `has_diff`: its changes are shown with that."""
        call = self._tools.asked(call_id, has_diff)
        if call is not None:
            self._tool_line(call)

    def _tool_line(self, call: ShownCall) -> None:
        if not call.is_shown:
            call.is_shown = True
            self.line(f"● {call.text}", "tool")

    def tool_result(self, result: Mapping[str, Any]) -> None:
        """The end of a tool call: its changes of files, or else its output."""
        call = self._tools.ended(str(result.get("callId"))) or ShownCall(is_shown=True)
        if call.is_question:
            return
        self._tool_line(call)
        output = result.get("output")
        lines = (output if isinstance(output, str) else str(output)).rstrip().splitlines()
        is_error = bool(result.get("is_error"))
        is_diff = not is_error and any(line.startswith("@@ ") for line in lines)
        if not is_error and not call.diff_is_shown and (call.diffs or is_diff):
            self._diff(diff_lines(call.diffs) or lines)
        if is_diff:  # it tells the changes of files
            return
        style = "error" if is_error else "dim"
        for line in lines[:MAX_OUTPUT_LINES]:
            self.line(f"  | {_shortened(line)}", style)
        if len(lines) > MAX_OUTPUT_LINES:
            self.line(f"  | … {len(lines) - MAX_OUTPUT_LINES} more lines", style)

    def _diff(self, lines: Sequence[str]) -> None:
        self.details(lines[:MAX_DIFF_LINES], has_diff=True)
        if len(lines) > MAX_DIFF_LINES:
            self.line(f"    … {len(lines) - MAX_DIFF_LINES} more lines", "dim")

    def plan(self, entries: Iterable[Mapping[str, str]]) -> None:
        for entry in entries:
            mark = PLAN_MARKS.get(entry["status"], " ")
            style = {"x": "dim", "~": "bold"}.get(mark, "")
            self.line(f"  [{mark}] {entry['content']}", style)


def _shortened(line: str) -> str:
    return line if len(line) <= MAX_LINE else f"{line[:MAX_LINE]}…"
