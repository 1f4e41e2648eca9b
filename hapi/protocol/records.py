"""The records of a session's conversation (session.md 5), and how they follow from updates.

Text is sent per finished block, thoughts as growing snapshots. Pure: the time is an argument, ids
come from a callable.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from typing import Any

from attrs import define, evolve, field

from hapi.protocol.acp.diffs import FileDiff, diff_of
from hapi.protocol.acp.prompts import Usage
from hapi.protocol.acp.tool_content import FileChange, TerminalEnd
from hapi.protocol.acp.updates import Plan, Text, Thought, ToolCall, Update

SNAPSHOT_INTERVAL = 0.25  # seconds between two snapshots of one stream of thought, at least
FINISHED = ("completed", "failed")

Data = dict[str, Any]


def new_id() -> str:
    return str(uuid.uuid4())


# --- envelopes ----------------------------------------------------------------------------------


def agent_record(data: Mapping[str, Any]) -> Data:
    """A record of the agent; the type `codex` is historical."""
    return {
        "role": "agent",
        "content": {"type": "codex", "data": data},
        "meta": {"sentFrom": "cli"},
    }


def summary_record(text: str) -> Data:
    data = {"type": "summary", "summary": text, "leafUuid": new_id()}
    return {
        "role": "agent",
        "content": {"type": "output", "data": data},
        "meta": {"sentFrom": "cli"},
    }


def event_record(data: Mapping[str, Any]) -> Data:
    return {"role": "agent", "content": {"id": new_id(), "type": "event", "data": data}}


def user_record(text: str) -> Data:
    """A prompt that was typed at the terminal."""
    return {"role": "user", "content": {"type": "text", "text": text}, "meta": {"sentFrom": "cli"}}


READY: Data = {"type": "ready"}


def message_event(text: str) -> Data:
    """A status line: `Session aborted`, `Kimi prompt failed: …`."""
    return {"type": "message", "message": text}


def mode_event(mode: str) -> Data:
    return {"type": "permission-mode-changed", "mode": mode}


# --- records ------------------------------------------------------------------------------------


def message(text: str, name: str) -> Data:
    """`name`: an id of its own, so that a message that had to be sent twice is shown once."""
    return {"type": "message", "message": text, "id": name}


def reasoning(text: str, stream: str, live: bool) -> Data:
    return {"type": "reasoning", "message": text, "id": stream} | ({"live": True} if live else {})


def plan(entries: tuple[Mapping[str, str], ...]) -> Data:
    return {"type": "plan", "entries": list(entries)}


def tool_result(call_id: str, output: Any, failed: bool) -> Data:
    return {
        "type": "tool-call-result",
        "callId": call_id,
        "output": "" if output is None else output,
        "is_error": failed,
    }


def token_count(usage: Usage, model: str | None, context: tuple[int, int] | None) -> Data:
    """`context`: tokens in the model's context and its size."""
    total = {
        "inputTokens": usage.input,
        "outputTokens": usage.output,
        "totalTokens": usage.total,
        "thoughtTokens": usage.thought,
        "cachedInputTokens": usage.cached,
        "cacheWriteInputTokens": usage.cache_written,
    }
    info: Data = {"total": {name: count for name, count in total.items() if count is not None}}
    if context is not None:
        info |= {"contextTokens": context[0], "modelContextWindow": context[1]}
    named = {"model": model} if model else {}
    semantics = {"usageSchema": "hapi.usage.v1", "inputTokenSemantics": "includes-cache"}
    return {"type": "token_count", **named, **semantics, "info": info}


# --- from updates to records --------------------------------------------------------------------


@define
class _Call:
    """What is known of a tool call."""

    call_id: str
    title: str | None = None
    kind: str | None = None
    status: str = "pending"
    input: Any = None
    output: Any = None
    changes: tuple[FileChange, ...] = ()
    terminal_end: TerminalEnd | None = None
    shown: tuple[Any, ...] | None = None
    finished: bool = False

    @property
    def name(self) -> str:
        return self.title or self.kind or "tool"

    def merge(self, call: ToolCall) -> None:
        self.title = call.title or self.title
        self.kind = call.kind or self.kind
        self.status = call.status or self.status
        self.input = self.input if call.input is None else call.input
        self.output = self.output if call.output is None else call.output
        if call.output_delta:
            said = self.output if isinstance(self.output, str) else ""
            self.output = said + call.output_delta
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


@define
class Transcript:
    """The records that follow from one agent's updates, in the page's order.

    `open_text` and `open_thought` exist from the first piece of a block to its last record.
    """

    _new_id: Callable[[], str] = new_id
    open_text: OpenBlock | None = None
    open_thought: OpenBlock | None = None
    _calls: dict[str, _Call] = field(factory=dict)

    def update(self, update: Update, now: float) -> list[Data]:
        """The records that `update` completes. `now`: seconds of a monotonic clock."""
        match update:
            case Text(text, said_in):
                other = self.open_text is not None and said_in != self.open_text.message
                records = self._end_thought() + (self._end_text() if other else [])
                if self.open_text is None:
                    self.open_text = OpenBlock(self._new_id(), said_in)
                self.open_text.add(text)
                return records
            case Thought(text):
                return self._end_text() + self._think(text, now)
            case ToolCall():
                return self._tool(update)
            case Plan(entries):
                return [*self._end_blocks(), plan(entries)]
        return []

    def permission_requested(self, call: ToolCall) -> tuple[list[Data], str, Any]:
        """The agent asks for permission: records to send first, the tool's name, its arguments."""
        records = self._tool(
            evolve(call, status=None)
        )  # requests say `pending` of calls that run already
        known = self._calls[call.call_id]
        return records, known.name, {} if known.input is None else known.input

    def finish(self, interrupted: bool = False) -> list[Data]:
        """End the turn. `interrupted`: open calls will never end, and are closed as failed."""
        records = self._end_blocks()
        if interrupted:
            for call in self._calls.values():
                if call.shown is not None and not call.finished:
                    records.append(
                        tool_result(call.call_id, call.result or "Interrupted", failed=True)
                    )
        self._calls = {}
        return records

    def flush(self) -> list[Data]:
        """The text and thoughts so far, so that they come before what is next."""
        return self._end_blocks()

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
        if call.finished:
            return []
        call.merge(update)
        records: list[Data] = []
        ends = call.status in FINISHED
        state = (
            call.name,
            call.kind,
            call.input,
            call.changes,
            call.shown[-1] if ends and call.shown else call.status,
        )
        if state != call.shown:
            call.shown = state
            records = [*self._end_blocks(), call.record()]
        if ends:
            call.finished = True
            records.append(tool_result(call.call_id, call.result, call.status == "failed"))
        return records

    def _end_blocks(self) -> list[Data]:
        return self._end_thought() + self._end_text()

    def _end_text(self) -> list[Data]:
        block, self.open_text = self.open_text, None
        return [message(block.text, block.id)] if block is not None and block.text.strip() else []

    def _end_thought(self) -> list[Data]:
        block, self.open_thought = self.open_thought, None
        if block is None or not block.text.strip():
            return []
        return [reasoning(block.text, block.id, live=False)]
