"""The records that follow from the updates of an agent (session.md 5).

Text is sent per finished block, thoughts as growing snapshots. Pure: the time is an argument, ids
come from a callable.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from attrs import define, evolve, field

from hapi.protocol.acp.diffs import FileDiff, diff_of
from hapi.protocol.acp.tool_content import FileChange, TerminalEnd
from hapi.protocol.acp.updates import Plan, Shown, Text, Thought, ToolCall, Update
from hapi.protocol.live import MESSAGE, REASONING, TOOL_OUTPUT, LiveBlock
from hapi.protocol.records import Data, message, new_id, plan, reasoning, tool_result

SNAPSHOT_INTERVAL = 0.25  # seconds between two snapshots of one stream of thought, at least
FINISHED = ("completed", "failed")
MAX_UNREPORTED_CALLS = 256  # calls that are remembered after they were closed without a result
# Characters that are kept of what the terminal of a call prints: at its start, and at its end at
# least. Hubs keep 64 KiB of a string.
OUTPUT_START, OUTPUT_END = 64 * 1024, 96 * 1024
# Why the card of a call is closed although the agent reported no end of it.
INTERRUPTED = "Interrupted"
REJECTED = "Not allowed"
NO_RESULT = "The agent reported no result for this call"
AGENT_ENDED = "The agent ended before it reported a result for this call"
TURN_FAILED = "The turn failed before the agent reported a result for this call"
SESSION_ENDED = "The session ended before the agent reported a result for this call"
_SENTENCE_END = re.compile(r"""[.!?:;…。！？：]["'”’)\]*_`]*\s*\Z|\n\s*\Z""")
_BACKGROUND_INPUTS = ("run_in_background", "runInBackground", "background", "is_background")


@define
class _Printed:
    """What a terminal printed: its start and its end. Each piece costs no more than its length."""

    _start: str = ""  # set once there is more than fits
    _left_out: int = 0  # characters
    _pieces: list[str] = field(factory=list)
    _size: int = 0  # characters of the pieces

    def add(self, text: str) -> None:
        self._pieces.append(text)
        self._size += len(text)
        if self._size <= OUTPUT_START + 2 * OUTPUT_END:
            return
        kept = "".join(self._pieces)
        if not self._start:
            self._start, kept = kept[:OUTPUT_START], kept[OUTPUT_START:]
        self._left_out += len(kept) - OUTPUT_END
        self._pieces, self._size = [kept[-OUTPUT_END:]], OUTPUT_END

    @property
    def text(self) -> str:
        if len(self._pieces) > 1:
            self._pieces = ["".join(self._pieces)]
        rest = "".join(self._pieces)
        if not self._left_out:
            return rest
        return f"{self._start}\n… {self._left_out} characters are not shown …\n{rest}"


@define
class _Call:
    """What is known of a tool call."""

    call_id: str
    title: str | None = None
    kind: str | None = None
    status: str = "pending"
    input: Any = None
    changes: tuple[FileChange, ...] = ()
    terminal_end: TerminalEnd | None = None
    shown: tuple[Any, ...] | None = None
    finished: bool = False
    closed: str | None = None  # why the card was closed without the agent's word
    rejected: bool = False  # a person did not allow it
    outside: bool = False  # it was begun, or went on, outside a turn
    _output: Any = None
    _printed: _Printed | None = None  # takes the place of `_output`

    @property
    def output(self) -> Any:
        return self._output if self._printed is None else self._printed.text

    @property
    def is_open(self) -> bool:
        return self.shown is not None and not self.finished and self.closed is None

    @property
    def is_background(self) -> bool:
        """Whether it goes on when the turn ends."""
        asked = isinstance(self.input, dict) and any(
            self.input.get(name) is True for name in _BACKGROUND_INPUTS
        )
        return asked or self.outside

    @property
    def name(self) -> str:
        return self.title or self.kind or "tool"

    def merge(self, call: ToolCall) -> None:
        self.title = call.title or self.title
        self.kind = call.kind or self.kind
        self.status = call.status or self.status
        self.input = self.input if call.input is None else call.input
        if call.output is not None:
            self._output, self._printed = call.output, None
        if call.output_delta:
            if self._printed is None:
                self._printed = _Printed()
                self._printed.add(self._output if isinstance(self._output, str) else "")
            self._printed.add(call.output_delta)
        self.changes = call.changes or self.changes
        self.terminal_end = call.terminal_end or self.terminal_end

    @property
    def diffs(self) -> list[FileDiff]:
        return [diff_of(change) for change in self.changes]

    @property
    def result(self) -> Any:
        """The output, else the changes; with how a command ended, if that is not as it should."""
        output = self.output
        if not output and self.changes:
            output = "\n".join(diff.text for diff in self.diffs)
        how = None if self.terminal_end is None else self.terminal_end.problem
        if how is None or not isinstance(output, str | None):
            return output
        return f"{output.rstrip()}\n{how}" if output else how

    def record(self) -> Data:
        data: Data = {"type": "tool-call", "name": self.name, "callId": self.call_id}
        data |= {"input": {} if self.input is None else self.input, "status": self.status}
        return (
            data
            | ({"nativeTitle": self.title} if self.title else {})
            | ({"nativeKind": self.kind} if self.kind else {})
            | ({"changes": [diff.as_json() for diff in self.diffs]} if self.changes else {})
        )


@define
class OpenBlock:
    """Text or thought that may still grow. The record that ends it has the same `id`."""

    id: str
    message: str | None = None  # the agent's name of the message, where it tells messages apart
    snapshot_at: float | None = None  # seconds of the clock; None before the first snapshot
    _parts: list[str] = field(factory=list)

    def add(self, text: str) -> None:
        self._parts.append(text)

    @property
    def text(self) -> str:
        """All that was said in it so far."""
        if len(self._parts) > 1:
            self._parts = ["".join(self._parts)]
        return self._parts[0] if self._parts else ""

    @property
    def may_be_complete(self) -> bool:
        """Whether it ends where a sentence or a line does."""
        return _SENTENCE_END.search(self.text[-100:]) is not None


@define
class Transcript:
    """The records that follow from one agent's updates, in the page's order.

    `open_text` and `open_thought` exist from the first piece of a block to its last record. If
    both do, the text began first: it goes on after the thought, or ends before it.

    Calls that have not ended when a turn does are closed with what is true of them, and stay known:
    if the agent reports their end after all, their cards are opened again.
    """

    _new_id: Callable[[], str] = new_id
    open_text: OpenBlock | None = None
    open_thought: OpenBlock | None = None
    in_turn: bool = True
    _calls: dict[str, _Call] = field(factory=dict)

    @property
    def has_open_calls(self) -> bool:
        return any(call.is_open for call in self._calls.values())

    @property
    def open_call_names(self) -> list[str]:
        """The names of the calls that the turn waits for, oldest first."""
        return [
            call.name for call in self._calls.values() if call.is_open and not call.is_background
        ]

    @property
    def has_unreported_calls(self) -> bool:
        """Whether a call was closed without a result, so that it may still run."""
        return any(call.closed == NO_RESULT for call in self._calls.values())

    def update(self, update: Update, now: float) -> list[Data]:
        """The records that `update` completes. `now`: seconds of a monotonic clock."""
        match update:
            case Text(text, said_in):
                other = self.open_text is not None and said_in != self.open_text.message
                records = self._end_blocks() if other else self._end_thought()
                if self.open_text is None:
                    self.open_text = OpenBlock(self._new_id(), said_in)
                self.open_text.add(text)
                return records
            case Thought(""):
                return []
            case Thought(text):
                return (self._end_text() if self._is_text_over else []) + self._think(text, now)
            case ToolCall():
                return self._tool(update)
            case Shown():  # published by whoever keeps pictures, after the text before it
                return self._end_blocks()
            case Plan(entries):
                return [*self._end_blocks(), plan(entries)]
        return []

    @property
    def _is_text_over(self) -> bool:
        """Whether text after a thought, or after the result of a tool, is another text.

        It is the same text if the agent says that it belongs to the same message, which is known
        only when it comes, or if what was said so far breaks off within a sentence.
        """
        block = self.open_text
        return block is not None and block.message is None and block.may_be_complete

    def permission_requested(self, call: ToolCall) -> tuple[list[Data], str, Any]:
        """The agent asks for permission: records to send first, the tool's name, its arguments."""
        # Requests say `pending` of calls that run already, and their text is the question, not what
        # the tool has put out.
        records = self._end_blocks() + self._tool(evolve(call, status=None, output=None))
        known = self._calls[call.call_id]
        return records, known.name, {} if known.input is None else known.input

    def begin_turn(self) -> list[Data]:
        self.in_turn = True
        return self._end_blocks()

    def finish(self, interrupted: bool = False, reason: str = INTERRUPTED) -> list[Data]:
        """End the turn. Calls that go on in the background stay open.

        `interrupted`: all open calls are closed as failed; `reason` says why.
        """
        self.in_turn = False
        return self._close(
            reason if interrupted else NO_RESULT,
            lambda call: interrupted or not call.is_background,
            failed=interrupted,
        )

    def reject(self, call_id: str) -> None:
        """A person did not allow the call: it needs no result of the agent."""
        if call_id in self._calls:
            self._calls[call_id].rejected = True

    def keep_open(self, call_id: str) -> None:
        """The call goes on when the turn ends: it waits for a permission."""
        if call_id in self._calls:
            self._calls[call_id].outside = True

    def finish_background(self) -> list[Data]:
        """End the work outside a turn: nothing came for so long that no result is expected."""
        return self._close(NO_RESULT, lambda call: call.outside, failed=False)

    def _close(self, reason: str, which: Callable[[_Call], bool], failed: bool) -> list[Data]:
        records = self._end_blocks()
        for call in self._calls.values():
            if call.is_open and which(call):
                call.closed, call.outside = reason, False
                if call.rejected:
                    call.closed = REJECTED
                records.append(
                    tool_result(call.call_id, call.result or call.closed, failed or call.rejected)
                )
        left = [call for call in self._calls.values() if not call.finished]
        self._calls = {call.call_id: call for call in left[-MAX_UNREPORTED_CALLS:]}
        return records

    def flush(self) -> list[Data]:
        """The text and thoughts so far, so that they come before what is next."""
        return self._end_blocks()

    def live_blocks(self) -> list[LiveBlock]:
        """What was said and is no record yet, in the order in which the records will come."""
        found = []
        if self.open_text is not None:
            found.append(LiveBlock(self.open_text.id, MESSAGE, self.open_text.text))
        if self.open_thought is not None:
            found.append(LiveBlock(self.open_thought.id, REASONING, self.open_thought.text))
        for call in self._calls.values():
            if call.is_open and isinstance(output := call.output, str):
                found.append(LiveBlock(call.call_id, TOOL_OUTPUT, output))
        return found

    def _think(self, text: str, now: float) -> list[Data]:
        if self.open_thought is None:
            self.open_thought = OpenBlock(self._new_id())
        block = self.open_thought
        block.add(text)
        if block.snapshot_at is not None and now - block.snapshot_at < SNAPSHOT_INTERVAL:
            return []
        block.snapshot_at, said = now, block.text
        return [reasoning(said, block.id, live=True)] if said.strip() else []

    def _tool(self, update: ToolCall) -> list[Data]:
        call = self._calls.setdefault(update.call_id, _Call(update.call_id))
        ends = (update.status or call.status) in FINISHED
        if call.finished or (call.closed not in (None, NO_RESULT) and not ends):
            return []
        call.merge(update)
        call.outside |= not self.in_turn
        begins = call.shown is None
        state = (
            call.name,
            call.kind,
            call.input,
            call.changes,
            call.shown[-1] if ends and call.shown else call.status,
        )
        card = [call.record()] if state != call.shown or call.closed is not None else []
        if call.closed is not None and not ends:
            card[0]["reopens"] = True  # ours: the page drops the result it has
        call.shown, call.closed = state, None
        # What was said before the card, or before the result of one, comes before it.
        said = self._end_blocks() if begins or (ends and self._is_result_a_border) else []
        if not ends:
            return said + card
        call.finished = True
        return [*said, *card, tool_result(call.call_id, call.result, call.status == "failed")]

    @property
    def _is_result_a_border(self) -> bool:
        block = self.open_text
        return block is None or block.message is None or block.may_be_complete

    def _end_blocks(self) -> list[Data]:
        return self._end_text() + self._end_thought()

    def _end_text(self) -> list[Data]:
        block, self.open_text = self.open_text, None
        return [message(block.text, block.id)] if block is not None and block.text.strip() else []

    def _end_thought(self) -> list[Data]:
        block, self.open_thought = self.open_thought, None
        if block is None or not block.text.strip():
            return []
        return [reasoning(block.text, block.id, live=False)]
