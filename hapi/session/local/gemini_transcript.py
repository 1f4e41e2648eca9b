"""Gemini's own record of a conversation, a line for each change, reported to a `Mirror`.

Lines as Gemini CLI 0.61 writes them to `chats/session-….jsonl`. A message is written again when its
tool calls have ended, and the whole history is when it changes otherwise: what is known is reported
once. The file says neither that a turn has ended nor that a permission is asked for. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from attrs import define, field

from hapi.protocol.acp.prompts import Usage
from hapi.protocol.acp.tool_content import FileChange
from hapi.protocol.acp.updates import Text, Thought, ToolCall, Update
from hapi.protocol.acp.values import count_or_none, mapping, objects, text_or_none
from hapi.protocol.json import Malformed, from_json
from hapi.protocol.records import is_snapshot
from hapi.protocol.transcript import Transcript
from hapi.session.local.interface import Mirror
from hapi.session.local.timestamps import milliseconds

Json = Mapping[str, Any]

CONTEXT = "<session_context>"  # begins the message that Gemini puts before each conversation
CANCELLED = "Request cancelled."
KINDS = {
    "run_shell_command": "execute",
    **dict.fromkeys(("write_file", "replace", "edit"), "edit"),
    **dict.fromkeys(("read_file", "read_many_files"), "read"),
    **dict.fromkeys(("glob", "grep_search", "search_file_content", "list_directory"), "search"),
    **dict.fromkeys(("web_fetch", "google_web_search"), "fetch"),
}
WRAPPERS = ("<untrusted_context>\n", "\n</untrusted_context>")  # around what a command printed
MAX_KNOWN = 5_000  # messages and calls that are remembered


@define(eq=False, repr=False)
class ChatReader:
    """Reads one file, line by line."""

    _mirror: Mirror
    is_busy: bool = False
    _transcript: Transcript = field(init=False)
    _known: dict[str, None] = field(factory=dict)
    _is_replay: bool = False  # the history is written once more, with other names
    _tokens: list[Json] = field(factory=list)  # of this turn
    _model: str | None = None
    _at: int = 0
    _block: str = ""  # the name of what is reported

    def __attrs_post_init__(self) -> None:
        self._transcript = Transcript(lambda: self._block)

    def line(self, line: bytes) -> None:
        """Take one line of the file."""
        try:
            found = mapping(from_json(line.decode(errors="replace")))
        except Malformed:
            return
        if (change := found.get("$set")) is not None:
            self._changed(mapping(change))
            return
        name, kind = text_or_none(found.get("id")), found.get("type")
        if name is None or (self._is_replay and not self._is_said_now(found)):
            return
        self._at = max(self._at, milliseconds(found.get("timestamp")))
        match kind:
            case "user":
                self._prompted(name, found.get("content"))
            case "gemini":
                self._is_replay = False
                self._answered(name, found)
            case "info" if found.get("content") == CANCELLED and self._is_new(name):
                self._end("Session aborted", interrupted=True)
            case "error" if self._is_new(name):
                said = text_or_none(found.get("content"))
                self._end(f"Gemini prompt failed: {said or 'no reason'}")

    def end_turn(self) -> None:
        """Nothing was written for so long that the turn has probably ended."""
        self._end(None)

    def finish(self) -> None:
        """The program has ended, or goes on with another conversation."""
        self._end(None, interrupted=True)

    @staticmethod
    def _is_said_now(message: Json) -> bool:
        """Whether the model has said this now: the messages of a history have no tokens."""
        return message.get("type") == "gemini" and bool(mapping(message.get("tokens")))

    def _changed(self, change: Json) -> None:
        messages = change.get("messages")
        if messages is not None:
            self._is_replay = False
            for message in objects(messages):
                if name := text_or_none(message.get("id")):
                    self._is_new(name)
        if title := text_or_none(change.get("summary")):
            self._mirror.title(title)

    def _is_new(self, name: str) -> bool:
        is_new = name not in self._known
        self._known[name] = None
        while len(self._known) > MAX_KNOWN:
            del self._known[next(iter(self._known))]
        return is_new

    # --- messages
    def _prompted(self, name: str, content: Any) -> None:
        parts = objects(content)
        texts = [text for each in parts if isinstance(text := each.get("text"), str)]
        if isinstance(content, str):
            texts = [content]
        if texts and texts[0].startswith(CONTEXT):
            self._is_replay = True
        elif any("functionResponse" in each for each in parts):
            self._begin()
        elif self._is_new(name) and any(text.strip() for text in texts):
            self._mirror.prompt("\n".join(texts), self._at, name)
            self._begin()

    def _answered(self, name: str, message: Json) -> None:
        if self._is_new(name):
            self._begin()
            self._model = text_or_none(message.get("model")) or self._model
            self._tokens.append(mapping(message.get("tokens")))
            for number, thought in enumerate(objects(message.get("thoughts"))):
                self._say(f"{name}:thought:{number}", Thought(_thought(thought)))
            content = message.get("content")
            text = content if isinstance(content, str) else _texts(content)
            self._say(name, Text(text))
        for call in objects(message.get("toolCalls")):
            self._called(call)

    def _called(self, call: Json) -> None:
        name, tool = text_or_none(call.get("id")), text_or_none(call.get("name"))
        if name is None or tool is None or not self._is_new(name):
            return
        self._begin()
        self._at = max(self._at, milliseconds(call.get("timestamp")))
        shown = mapping(call.get("resultDisplay"))
        old, new, path = (shown.get(key) for key in ("originalContent", "newContent", "filePath"))
        changes = None
        if isinstance(new, str) and isinstance(path, str) and call.get("status") == "success":
            before = old if isinstance(old, str) and shown.get("isNewFile") is not True else None
            changes = (FileChange(path, before, new),)
        update = ToolCall(
            name,
            text_or_none(call.get("description")) or text_or_none(call.get("displayName")) or tool,
            KINDS.get(tool, "other"),
            "completed" if call.get("status") == "success" else "failed",
            call.get("args"),
            _output(call.get("result")),
            changes=changes,
        )
        self._block = name
        self._publish(self._transcript.update(update, 0.0))

    # --- the turn
    def _begin(self) -> None:
        if not self.is_busy:
            self.is_busy = True
            self._publish(self._transcript.begin_turn())
            self._mirror.thinking(True)

    def _end(self, status: str | None, interrupted: bool = False) -> None:
        if status is not None:
            self._mirror.status(status)
        if not self.is_busy:
            return
        self.is_busy = False
        self._publish(self._transcript.finish(interrupted))
        tokens, self._tokens = self._tokens, []
        usage = Usage(
            _sum(tokens, "input"),
            _sum(tokens, "output"),
            thought=_sum(tokens, "thoughts") or None,
            cached=_sum(tokens, "cached") or None,
        )
        if usage.input or usage.output:
            self._mirror.usage(usage, self._model, None)
        self._mirror.thinking(False)

    # --- records
    def _say(self, name: str, update: Update) -> None:
        self._block = name
        self._publish(self._transcript.update(update, 0.0))
        self._publish(self._transcript.flush())

    def _publish(self, records: Sequence[Json]) -> None:
        for record in records:
            if not is_snapshot(record):
                key = record.get("id") or f"{record.get('callId')}:{record['type']}"
                self._mirror.record(record, self._at, str(key))


def _sum(tokens: Sequence[Json], name: str) -> int:
    return sum(count_or_none(each.get(name)) or 0 for each in tokens)


def _texts(content: Any) -> str:
    return "".join(text for each in objects(content) if isinstance(text := each.get("text"), str))


def _thought(thought: Json) -> str:
    subject, text = text_or_none(thought.get("subject")), text_or_none(thought.get("description"))
    return "\n".join(each for each in (f"**{subject}**" if subject else None, text) if each)


def _output(result: Any) -> str:
    found = []
    for part in objects(result):
        response = mapping(mapping(part.get("functionResponse")).get("response"))
        text = response.get("output") or response.get("error")
        if isinstance(text, str):
            before, after = WRAPPERS
            found.append(text.removeprefix(before).removesuffix(after))
    return "\n".join(found)
