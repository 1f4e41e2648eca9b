"""Codex's transcript of a conversation, its "rollout", reported to a `Mirror`.

Lines as Codex 0.166 writes them (`item_completed`), and the events that versions before it wrote in
their place (`user_message`, `agent_message`, `exec_command_end`). Lines and fields that are not
known are left out. Pure.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from attrs import define, field

from hapi.protocol.acp.prompts import Usage
from hapi.protocol.acp.tool_content import FileChange, TerminalEnd
from hapi.protocol.acp.updates import Plan, Text, Thought, ToolCall, Update
from hapi.protocol.acp.values import count_or_none, mapping, objects, text_or_none
from hapi.protocol.json import Malformed, from_json
from hapi.protocol.records import is_snapshot
from hapi.protocol.transcript import Transcript
from hapi.session.local.interface import LocalRequest, Mirror
from hapi.session.local.timestamps import milliseconds

Json = Mapping[str, Any]

COMMANDS = ("exec_command", "shell", "shell_command", "local_shell")
PATCHES = ("apply_patch",)
STILL_RUNS = "Process running with session ID"  # in the output of a command that goes on
# What is told of a call in place of its output if it did not run.
REFUSED = re.compile(r"[\w ]*failed\b|.*aborted by user\s*\Z", re.DOTALL)
MAX_CALLS = 500  # that are remembered
TOKENS = (
    *("input_tokens", "output_tokens", "reasoning_output_tokens"),
    *("cached_input_tokens", "cache_write_input_tokens"),
)


@define(eq=False, repr=False)
class RolloutReader:
    """Reads one transcript, line by line. `thread` is its session."""

    _mirror: Mirror
    thread: str
    is_busy: bool = False
    _transcript: Transcript = field(init=False)
    _model: str | None = None
    _asks: bool = True  # whether Codex asks the person, and not a model or nobody
    _window: int | None = None
    _total: Json = field(factory=dict)  # tokens of the session so far
    _before: Json | None = None  # the same when the turn began; None: not known
    _last: Json = field(factory=dict)  # tokens of the last request to the model
    _open: dict[str, tuple[str, Any]] = field(factory=dict)  # title and input of calls that run
    _done: dict[str, None] = field(factory=dict)  # calls that have ended
    _waiting: set[str] = field(factory=set)  # calls that may wait for the person
    _asked: set[str] = field(factory=set)  # of these, the ones that were told
    _prompt: str | None = None  # of this turn
    _at: int = 0
    _block: str = ""  # the name of the item that is reported

    def __attrs_post_init__(self) -> None:
        self._transcript = Transcript(lambda: self._block)

    def line(self, line: bytes) -> None:
        """Take one line of the file."""
        try:
            found = mapping(from_json(line.decode(errors="replace")))
        except Malformed:
            return
        self._at = max(self._at, milliseconds(found.get("timestamp")))
        payload = mapping(found.get("payload"))
        self._block = f"{self.thread}:{found.get('ordinal')}:{found.get('timestamp')}"
        match found.get("type"):
            case "turn_context":
                self._model = text_or_none(payload.get("model")) or self._model
                reviewer = payload.get("approvals_reviewer")
                self._asks = payload.get("approval_policy") != "never" and reviewer in (
                    None,
                    "user",
                )
            case "event_msg":
                self._event(payload)
            case "response_item":
                self._response(payload)

    def ask(self) -> None:
        """Tell of the calls that have no result yet although the person may have to allow them."""
        for call in tuple(self._waiting):
            self._waiting.discard(call)
            title, given = self._open[call]
            self._mirror.request(LocalRequest(call, title, given, call), None)
            self._asked.add(call)

    def finish(self) -> None:
        """The program has ended, or goes on with another session."""
        if self.is_busy:
            self._end_turn(interrupted=True)

    # --- events
    def _event(self, payload: Json) -> None:
        match payload.get("type"):
            case "task_started" | "turn_started":
                self._begin_turn(payload)
            case "task_complete" | "turn_complete":
                error = mapping(payload.get("error"))
                if said := text_or_none(error.get("message")):
                    self._mirror.status(f"Codex prompt failed: {said}")
                self._end_turn()
            case "turn_aborted":
                self._publish(self._transcript.flush())
                self._mirror.status("Session aborted")
                self._end_turn(interrupted=True)
            case "item_completed":
                self._item(mapping(payload.get("item")))
            case "user_message":
                self._prompted(payload.get("message"))
            case "agent_message":
                self._say(Text(str(payload.get("message") or "")))
            case "agent_reasoning":
                self._say(Thought(str(payload.get("text") or "")))
            case "exec_command_end":
                command, call = payload.get("command"), text_or_none(payload.get("call_id"))
                self._command_ended(call, command, payload)
            case "token_count":
                self._tokens(mapping(payload.get("info")))
            case "thread_name_updated":
                if title := text_or_none(payload.get("thread_name")):
                    self._mirror.title(title)
            case "context_compacted":
                self._mirror.status("Codex has compacted the conversation")

    def _begin_turn(self, payload: Json) -> None:
        self._window = count_or_none(payload.get("model_context_window")) or self._window
        self._before, self._prompt = self._total or None, None
        self.is_busy = True
        self._publish(self._transcript.begin_turn())
        self._mirror.thinking(True)

    def _end_turn(self, interrupted: bool = False) -> None:
        self._publish(self._transcript.finish(interrupted))
        for call in tuple(self._open):
            self._settle(call, None)
        self._open.clear()
        self._waiting.clear()
        if self.is_busy:
            self._tell_usage()
        self.is_busy = False
        self._mirror.thinking(False)

    def _prompted(self, text: Any) -> None:
        if isinstance(text, str) and text.strip() and text != self._prompt:
            self._prompt = text
            self._mirror.prompt(text, self._at, self._block)

    # --- tokens
    def _tokens(self, info: Json) -> None:
        self._window = count_or_none(info.get("model_context_window")) or self._window
        self._last = mapping(info.get("last_token_usage"))
        total = mapping(info.get("total_token_usage"))
        if self._before is None:  # what came before this turn was not read
            self._before = {name: _count(total, name) - _count(self._last, name) for name in TOKENS}
        self._total = total

    def _tell_usage(self) -> None:
        before = self._before or {}
        used = {name: max(0, _count(self._total, name) - _count(before, name)) for name in TOKENS}
        if not any(used.values()):
            return
        usage = Usage(
            used["input_tokens"],
            used["output_tokens"],
            thought=used["reasoning_output_tokens"] or None,
            cached=used["cached_input_tokens"] or None,
            cache_written=used["cache_write_input_tokens"] or None,
        )
        context = (_count(self._last, "total_tokens"), self._window) if self._window else None
        self._mirror.usage(usage, self._model, context)

    # --- what was said and done
    def _item(self, item: Json) -> None:
        name = text_or_none(item.get("id"))
        self._block = name or self._block
        match item.get("type"):
            case "UserMessage":
                self._prompted(_texts(item.get("content"), "\n"))
            case "AgentMessage":
                self._say(Text(_texts(item.get("content"))))
            case "Reasoning":
                summary = item.get("summary_text")
                texts = summary if isinstance(summary, list) else []
                self._say(Thought("\n\n".join(each for each in texts if isinstance(each, str))))
            case "CommandExecution":
                self._command_ended(name, item.get("command"), item)
            case "FileChange" if name:
                changes = _changes(item.get("changes"))
                failed = item.get("status") != "completed"
                output = item.get("stderr") if failed else item.get("stdout")
                self._end(name, failed, output, changes, item.get("status") != "declined")
            case "McpToolCall" if name:
                self._mcp_call(name, item)
            case "ContextCompaction":
                self._mirror.status("Codex has compacted the conversation")

    def _response(self, payload: Json) -> None:
        call = text_or_none(payload.get("call_id"))
        kind, name = payload.get("type"), text_or_none(payload.get("name"))
        if call is None:
            return
        self._block = call
        match kind:
            case "function_call" if name:
                self._call(call, name, _arguments(payload.get("arguments")))
            case "custom_tool_call" if name:
                self._call(call, name, {"input": payload.get("input")})
            case "function_call_output" | "custom_tool_call_output":
                output = _output(payload.get("output"))
                if STILL_RUNS in output:
                    self._settle(call, True)
                elif call in self._open:
                    failed = REFUSED.match(output) is not None
                    self._end(call, failed, output, None, not failed)

    def _call(self, call: str, name: str, given: Any) -> None:
        found = mapping(given)
        if name == "update_plan":
            if entries := _entries(found.get("plan")):
                self._say(Plan(entries))
            return
        if call in self._done or call in self._open:
            return
        title, kind = name, "other"
        if name in COMMANDS:
            title, kind = _command_line(found.get("cmd") or found.get("command")) or name, "execute"
        elif name in PATCHES:
            title, kind = "Edit files", "edit"
        self._open[call] = title, given
        while len(self._open) > MAX_CALLS:
            del self._open[next(iter(self._open))]
        self._publish(
            self._transcript.update(ToolCall(call, title, kind, "in_progress", given), 0.0)
        )
        is_escalated = found.get("sandbox_permissions") == "require_escalated"
        if self._asks and (is_escalated or found.get("with_escalated_permissions") is True):
            self._waiting.add(call)

    def _command_ended(self, call: str | None, command: Any, end: Json) -> None:
        if call is None:
            return
        title = _command_line(command)
        if call not in self._open and title and call not in self._done:
            self._call(call, "exec_command", {"cmd": title})
        code = end.get("exit_code")
        failed = end.get("status") in ("failed", "declined") or bool(code)
        output = end.get("aggregated_output")
        ended = TerminalEnd(code) if isinstance(code, int) and not isinstance(code, bool) else None
        self._end(call, failed, output, None, end.get("status") != "declined", ended)

    def _mcp_call(self, call: str, item: Json) -> None:
        server, tool = text_or_none(item.get("server")), text_or_none(item.get("tool"))
        if call not in self._open and tool:
            self._call(call, f"{server}.{tool}" if server else tool, item.get("arguments"))
        result = mapping(item.get("result"))
        failed = item.get("status") == "failed" or bool(item.get("error"))
        output = _texts(result.get("content"), "\n") or _output(item.get("error"))
        self._end(call, failed, output, None, True)

    def _end(
        self,
        call: str,
        failed: bool,
        output: Any,
        changes: tuple[FileChange, ...] | None,
        allowed: bool,
        ended: TerminalEnd | None = None,
    ) -> None:
        if call in self._done:
            return
        self._done[call] = None
        while len(self._done) > MAX_CALLS:
            del self._done[next(iter(self._done))]
        self._settle(call, allowed)
        self._open.pop(call, None)
        status = "failed" if failed else "completed"
        text = output if isinstance(output, str) else ""
        title = f"Edit {', '.join(each.path for each in changes)}" if changes else None
        kind = "edit" if changes else None
        self._publish(
            self._transcript.update(
                ToolCall(
                    call, title, kind, status, output=text, changes=changes, terminal_end=ended
                ),
                0.0,
            )
        )

    def _settle(self, call: str, allowed: bool | None) -> None:
        self._waiting.discard(call)
        if call in self._asked:
            self._asked.discard(call)
            self._mirror.settled(call, allowed)

    # --- records
    def _say(self, update: Update) -> None:
        self._publish(self._transcript.update(update, 0.0))
        self._publish(self._transcript.flush())

    def _publish(self, records: Sequence[Json]) -> None:
        for record in records:
            if not is_snapshot(record):
                what = record.get("status") or record["type"]
                key = record.get("id") or f"{record.get('callId') or self._block}:{what}"
                self._mirror.record(record, self._at, str(key))


def _count(tokens: Json, name: str) -> int:
    return count_or_none(tokens.get(name)) or 0


def _texts(content: Any, between: str = "") -> str:
    found = (each.get("text") for each in objects(content))
    return between.join(each for each in found if isinstance(each, str))


def _output(output: Any) -> str:
    if isinstance(output, str):
        return output
    return _texts(output, "\n") or _texts(mapping(output).get("content"), "\n")


def _arguments(text: Any) -> Any:
    try:
        return from_json(text) if isinstance(text, str) else text
    except Malformed:
        return {"arguments": text}


def _command_line(command: Any) -> str | None:
    """`command` as a person would type it; without the shell that Codex runs it in."""
    if isinstance(command, str):
        return command or None
    if not isinstance(command, list) or not all(isinstance(each, str) for each in command):
        return None
    if len(command) == 3 and command[1] in ("-lc", "-c"):
        return str(command[2]) or None
    return shlex.join(command) or None


def _changes(changes: Any) -> tuple[FileChange, ...]:
    found = []
    for path, change in mapping(changes).items():
        content, diff = mapping(change).get("content"), mapping(change).get("unified_diff")
        match mapping(change).get("type"):
            case "add" if isinstance(content, str):
                found.append(FileChange(path, None, content))
            case "delete" if isinstance(content, str):
                found.append(FileChange(path, content, ""))
            case "update" if isinstance(diff, str):
                lines = [line for line in diff.splitlines(True) if not line.startswith("@@")]
                before = "".join(line[1:] for line in lines if line[:1] in " -")
                after = "".join(line[1:] for line in lines if line[:1] in " +")
                found.append(FileChange(path, before, after))
    return tuple(found)


def _entries(plan: Any) -> tuple[Mapping[str, str], ...]:
    states = ("pending", "in_progress", "completed")
    return tuple(
        {
            "content": step,
            "priority": "medium",
            "status": str(each["status"]) if each.get("status") in states else "pending",
        }
        for each in objects(plan)
        if (step := text_or_none(each.get("step")))
    )
