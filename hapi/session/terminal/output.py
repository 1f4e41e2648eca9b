"""What was said and done, as it stands above the line."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from attrs import define, field

from hapi.protocol.acp.diffs import diff_of
from hapi.protocol.acp.tool_content import FileChange
from hapi.session.terminal.blocks import BlockCutter
from hapi.session.terminal.painter import Painter

MAX_OUTPUT_LINES = 12  # of a tool's output
MAX_DIFF_LINES = 60
MAX_LINE = 1_000  # characters of a line of a tool's output, an argument or a diff
MAX_DRAWN = 20_000  # characters of Markdown in a second; 1,000 take 5 to 7 ms
MAX_LIVE_LINE = 2_000  # characters of the end of what is being said
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
    _calls: set[str] = field(factory=set)  # tool calls that are shown
    _diffs: set[str] = field(factory=set)  # tool calls whose changes are shown

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
            shown = self.painter.paint(text.strip(), "dim")
        elif self._may_draw(len(text)):
            shown = self.painter.markdown(text)
        else:
            shown = self.painter.plain(text.strip("\n"))
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

    @property
    def live(self) -> str:
        """What is being said and is no whole block yet: plain text."""
        return self._cutter.rest[-MAX_LIVE_LINE:].strip("\n")

    @property
    def is_thought(self) -> bool:
        return self._kind == "thought"

    # --- lines
    def line(self, text: str, style: str = "") -> None:
        """A line, or several, that the agent has not said."""
        self.end_block()
        self._is_after_text = False
        self._show(self.painter.paint(text, style) + "\n")

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
        for each in lines:
            line = _shortened(each)
            painted = self.painter.diff(line) if has_diff else [self.painter.plain(line)]
            self._show("".join(f"    {part}\n" for part in painted))

    # --- tools and plans
    def tool_call(self, call: Mapping[str, Any]) -> None:
        """The record of a tool call: shown once."""
        call_id = str(call.get("callId"))
        if call_id not in self._calls:
            self._calls.add(call_id)
            self.line(f"● {call['name']}", "tool")

    def tool_result(self, result: Mapping[str, Any]) -> None:
        output = result.get("output")
        lines = (output if isinstance(output, str) else str(output)).rstrip().splitlines()
        call_id, is_error = str(result.get("callId")), bool(result.get("is_error"))
        if not is_error and any(line.startswith("@@ ") for line in lines):
            self._diff(call_id, lines)  # it tells the changes of files
            return
        style = "error" if is_error else "dim"
        for line in lines[:MAX_OUTPUT_LINES]:
            self.line(f"  | {_shortened(line)}", style)
        if len(lines) > MAX_OUTPUT_LINES:
            self.line(f"  | … {len(lines) - MAX_OUTPUT_LINES} more lines", style)

    def changes(self, call_id: str, changes: Sequence[FileChange]) -> None:
        """The changes of files that a tool call has made: shown once."""
        if call_id not in self._diffs:
            diffs = [diff_of(change) for change in changes]
            self._diff(call_id, [line for diff in diffs for line in diff.text.splitlines()])

    def _diff(self, call_id: str, lines: Sequence[str]) -> None:
        if call_id in self._diffs:
            return
        self._diffs.add(call_id)
        self.end_block()
        shown = "\n".join(map(_shortened, lines[:MAX_DIFF_LINES]))
        self._show("".join(f"    {line}\n" for line in self.painter.diff(shown)))
        if len(lines) > MAX_DIFF_LINES:
            self.line(f"    … {len(lines) - MAX_DIFF_LINES} more lines", "dim")

    def changes_are_shown(self, call_id: str) -> None:
        """The changes of this call were shown when it was asked about."""
        self._diffs.add(call_id)

    def plan(self, entries: Iterable[Mapping[str, str]]) -> None:
        for entry in entries:
            mark = PLAN_MARKS.get(entry["status"], " ")
            style = {"x": "dim", "~": "bold"}.get(mark, "")
            self.line(f"  [{mark}] {entry['content']}", style)

    def turn_ended(self) -> None:
        self.end_block()
        self._calls.clear()
        self._diffs.clear()


def _shortened(line: str) -> str:
    return line if len(line) <= MAX_LINE else f"{line[:MAX_LINE]}…"
