"""What OpenCode's own server tells of a conversation, reported to a `Mirror`.

The program in the terminal serves OpenCode's HTTP API with a stream of events (`GET /event`), as
OpenCode 1.18 does; the same reader takes the messages of a session as `GET /session/:id/message`
lists them, so that what a lost stream left out is reported late and nothing twice. Events and
fields that are not known are left out. Pure: nothing is read or sent here.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from attrs import define, field

from hapi.protocol.acp.prompts import Usage
from hapi.protocol.acp.tool_content import FileChange
from hapi.protocol.acp.updates import Plan, Text, Thought, ToolCall
from hapi.protocol.acp.values import count_or_none, mapping, objects, text_or_none
from hapi.protocol.records import is_snapshot
from hapi.protocol.transcript import Transcript
from hapi.session.local.interface import Mirror

Json = Mapping[str, Any]

KINDS = {
    **dict.fromkeys(("bash", "shell"), "execute"),
    **dict.fromkeys(("edit", "write", "patch", "apply_patch", "multiedit"), "edit"),
    **dict.fromkeys(("grep", "glob", "list"), "search"),
    **dict.fromkeys(("webfetch", "websearch", "codesearch"), "fetch"),
    "read": "read",
}
STATUS = {
    "pending": "pending",
    "running": "in_progress",
    "completed": "completed",
    "error": "failed",
}
MAX_HELD = 500  # events of a session that may be a sub-agent's, until that is known
MAX_PARTS = 5_000  # parts that are remembered from one turn to the next
# The names that OpenCode gives to sessions before the model has found one.
_DEFAULT_TITLE = re.compile(r"(New|Child) session - \d{4}-")


@define
class _Turn:
    """What is known of the turn that runs: the tokens of each of its messages, by their ids."""

    tokens: dict[str, Json] = field(factory=dict)
    model: tuple[str, str] | None = None  # provider and model
    told_retry: bool = False
    told_error: bool = False


@define(eq=False, repr=False)
class ConversationReader:
    """Follows one session of the program: the one it was started with, later the one that the
    person has prompted last.

    `since` in milliseconds of the epoch: what was said before it is known already. `window` tells
    the size of a model's context, by provider and model.
    """

    _mirror: Mirror
    _since: int
    session: str | None = None
    window: Callable[[str, str], int | None] = field(default=lambda provider, model: None)
    _roots: dict[str, bool] = field(factory=dict)  # whether a session is a person's
    _held: dict[str, deque[Json]] = field(factory=dict)
    _messages: dict[str, Json] = field(factory=dict)  # of the session that is followed
    _lengths: dict[str, int] = field(factory=dict)  # characters of a part that were taken
    _done: dict[str, None] = field(factory=dict)  # parts of which all is reported
    _transcript: Transcript = field(init=False)
    _turn: _Turn = field(factory=_Turn)
    _is_busy: bool = False
    _title: str | None = None
    _kinds: dict[str, str] = field(factory=dict)  # of parts: text or reasoning
    _calls: dict[str, tuple[str, str, Any]] = field(factory=dict)  # part, title and input by call
    _told: set[str] = field(factory=set)  # messages of which the usage was reported
    _part: str = ""  # of which records are named
    _named: dict[str, int] = field(factory=dict)
    _at: int = 0  # when the newest part was told

    def __attrs_post_init__(self) -> None:
        self._transcript = Transcript(self._block_name)

    @property
    def place(self) -> dict[str, Any] | None:
        """For `Mirror.checkpoint`: all before it was reported; None while a turn runs."""
        if self.session is None or self._is_busy:
            return None
        return {"session": self.session, "since": self._since}

    # --- events
    def event(self, event: Json) -> None:
        """Take one event of `GET /event`."""
        properties = mapping(event.get("properties"))
        info = mapping(properties.get("info"))
        session = text_or_none(properties.get("sessionID")) or text_or_none(info.get("sessionID"))
        kind = event.get("type")
        if kind in ("session.created", "session.updated"):
            self._session_told(info)
        elif session is None:
            return
        elif session not in self._roots and session != self.session:
            held = self._held.setdefault(session, deque(maxlen=MAX_HELD))
            held.append(event)
        elif session == self.session or self._begins_another(session, kind, info):
            self._followed(kind, properties, info)

    def messages(self, messages: Any) -> None:
        """Take all messages of the followed session, oldest first: report what is missing."""
        for message in objects(messages):
            info = mapping(message.get("info"))
            if info.get("sessionID") != self.session:
                continue
            self._message(info)
            for part in objects(message.get("parts")):
                self._take_part(part, None)

    def sessions(self, sessions: Any) -> None:
        """Take what `GET /session` lists: which sessions are a person's. If none is followed yet,
        the newest one is that has begun since."""
        for info in sorted(objects(sessions), key=lambda info: -(_created(info) or 0)):
            self._session_told(info)

    def status(self, statuses: Any) -> None:
        """Take the answer of `GET /session/status`: idle sessions are left out of it."""
        if self.session is not None:
            found = mapping(mapping(statuses).get(self.session))
            self._status(found or {"type": "idle"})

    def call(self, call: Any) -> tuple[str, str, Any] | None:
        """The id of the card of a tool call, its title, and what it was given; None if unknown."""
        return self._calls.get(call) if isinstance(call, str) else None

    def finish(self) -> None:
        """The program has ended."""
        self._publish(self._transcript.finish(interrupted=True))
        self._set_busy(False)

    def _session_told(self, info: Json) -> None:
        name = text_or_none(info.get("id"))
        if name is None:
            return
        self._roots[name] = text_or_none(info.get("parentID")) is None
        if self.session is None and self._roots[name] and self._is_new(info):
            self._follow(name)
        title = text_or_none(info.get("title"))
        if name == self.session and title and title != self._title:
            self._title = title
            if not _DEFAULT_TITLE.match(title):
                self._mirror.title(title)
        for event in self._held.pop(name, ()):
            self.event(event)

    def _is_new(self, info: Json) -> bool:
        created = count_or_none(mapping(info.get("time")).get("created"))
        return created is not None and created >= self._since

    def _begins_another(self, session: str, kind: Any, info: Json) -> bool:
        """Whether the event is a prompt in a session of the person that was not followed so far."""
        is_prompt = kind == "message.updated" and info.get("role") == "user"
        if not (is_prompt and self._roots.get(session) and self._is_new(info)):
            return False
        self._follow(session)
        return True

    def _follow(self, session: str) -> None:
        if self.session is not None:
            self.finish()
        self.session, self._title = session, None
        self._messages.clear()
        self._turn, self._transcript = _Turn(), Transcript(self._block_name)
        self._mirror.agent_session(session)

    def _followed(self, kind: Any, properties: Json, info: Json) -> None:
        match kind:
            case "message.updated":
                self._message(info)
            case "message.part.updated":
                part = mapping(properties.get("part"))
                self._take_part(part, count_or_none(properties.get("time")))
            case "message.part.delta":
                self._delta(properties)
            case "session.status":
                self._status(mapping(properties.get("status")))
            case "session.error":
                self._error(mapping(properties.get("error")))
            case "session.compacted":
                self._mirror.status("OpenCode has compacted the conversation")

    # --- messages
    def _message(self, info: Json) -> None:
        name = text_or_none(info.get("id"))
        if name is None:
            return
        self._messages[name] = info
        if not self._is_new_message(info):
            return
        if info.get("role") == "user":
            if not self._is_busy:
                self._turn = _Turn()
            return
        tokens = mapping(info.get("tokens"))
        used = any(count_or_none(tokens.get(each)) for each in ("input", "output"))
        if used and name not in self._told:
            self._turn.tokens[name] = tokens
        provider, model = text_or_none(info.get("providerID")), text_or_none(info.get("modelID"))
        if provider and model:
            self._turn.model = provider, model

    def _is_new_message(self, info: Json) -> bool:
        return (_created(info) or 0) >= self._since

    def _take_part(self, part: Json, at: int | None) -> None:
        name, message = text_or_none(part.get("id")), text_or_none(part.get("messageID"))
        info = self._messages.get(message or "")
        if name is None or info is None or name in self._done or not self._is_new_message(info):
            return
        self._at = max(self._at, at or _ended(part) or _created(info) or self._since)
        if info.get("role") == "user":
            self._prompt(name, part)
        elif info.get("summary") is not True:  # else it is what the conversation was compacted to
            self._answer(name, part)

    def _prompt(self, name: str, part: Json) -> None:
        text = part.get("text")
        made = part.get("synthetic") is True or part.get("ignored") is True
        if part.get("type") != "text" or not isinstance(text, str) or not text.strip() or made:
            return
        self._done[name] = None
        self._mirror.prompt(text, self._at, name)

    def _answer(self, name: str, part: Json) -> None:
        match part.get("type"):
            case "text" | "reasoning" as kind:
                text = part.get("text")
                if isinstance(text, str):
                    taken = self._lengths.get(name, 0)
                    self._said(name, kind, text[taken:])
                if "end" in mapping(part.get("time")):
                    self._done[name] = None
                    self._publish(self._transcript.flush())
            case "tool":
                self._tool(name, part, mapping(part.get("state")))

    def _delta(self, properties: Json) -> None:
        """The text of a part goes on. Its kind is known since it began."""
        name, delta = text_or_none(properties.get("partID")), properties.get("delta")
        kind = self._kinds.get(name or "")
        if name and kind and isinstance(delta, str) and properties.get("field") == "text":
            self._said(name, kind, delta)

    def _said(self, name: str, kind: str, text: str) -> None:
        self._kinds[name], self._part = kind, name
        self._lengths[name] = self._lengths.get(name, 0) + len(text)
        if text:
            update = Text(text, name) if kind == "text" else Thought(text)
            self._publish(self._transcript.update(update, 0.0))

    def _tool(self, name: str, part: Json, state: Json) -> None:
        tool, call = text_or_none(part.get("tool")), text_or_none(part.get("callID"))
        status = STATUS.get(str(state.get("status")))
        given = state.get("input")
        if tool is None or call is None or status is None:
            return
        if status == "pending" and not given:
            return  # the model is still writing what it wants of the tool
        title = _title(tool, given)
        self._part, self._calls[call] = name, (name, title, given)
        update = ToolCall(
            name,
            title,
            KINDS.get(tool, "other"),
            status,
            given,
            state.get("error") if status == "failed" else state.get("output"),
            changes=_changes(tool, mapping(given)),
        )
        self._publish(self._transcript.update(update, 0.0))
        if status not in ("completed", "failed"):
            return
        self._done[name] = None
        if tool == "todowrite" and (entries := _entries(mapping(given).get("todos"))):
            self._publish(self._transcript.update(Plan(entries), 0.0))

    # --- the turn
    def _status(self, status: Json) -> None:
        kind = status.get("type")
        if kind == "retry" and not self._turn.told_retry:
            self._turn.told_retry = True
            why = text_or_none(status.get("message"))
            self._mirror.status(f"OpenCode tries again: {why}" if why else "OpenCode tries again")
        if kind in ("busy", "retry", "idle"):
            self._set_busy(kind != "idle")

    def _error(self, error: Json) -> None:
        if self._turn.told_error:
            return
        self._turn.told_error = True
        self._publish(self._transcript.flush())
        if error.get("name") == "MessageAbortedError":
            self._mirror.status("Session aborted")
            return
        said = text_or_none(mapping(error.get("data")).get("message"))
        self._mirror.status(f"OpenCode prompt failed: {said or error.get('name') or 'no reason'}")

    def _set_busy(self, is_busy: bool) -> None:
        if is_busy == self._is_busy:
            return
        self._is_busy = is_busy
        if is_busy:
            self._publish(self._transcript.begin_turn())
        else:
            self._publish(self._transcript.finish(self._turn.told_error))
            self._tell_usage()
            self._turn = _Turn()
            self._forget()
        self._mirror.thinking(is_busy)

    def _tell_usage(self) -> None:
        tokens = list(self._turn.tokens.values())
        if not tokens:
            return
        self._told |= self._turn.tokens.keys()
        provider, model = self._turn.model or ("", "")
        size = self.window(provider, model)
        last = _usage(tokens[-1:])
        context = (last.input + last.output, size) if size else None
        self._mirror.usage(_usage(tokens), f"{provider}/{model}" if model else None, context)

    # --- records
    def _block_name(self) -> str:
        """The id of the next block, the same one each time that the part is read."""
        return self._numbered(self._part)

    def _numbered(self, name: str) -> str:
        number = self._named[name] = self._named.get(name, 0) + 1
        return name if number == 1 else f"{name}.{number}"

    def _forget(self) -> None:
        """Forget what came before the newest message: it is not reported again."""
        newest = max((_created(each) or 0 for each in self._messages.values()), default=0)
        self._since = max(self._since, newest)
        left = {name: each for name, each in self._messages.items() if self._is_new_message(each)}
        self._messages, self._told = left, self._told & left.keys()
        for known in (self._lengths, self._kinds, self._named, self._calls, self._done):
            for name in list(known)[:-MAX_PARTS]:
                del known[name]

    def _publish(self, records: Sequence[Json]) -> None:
        for record in records:
            if not is_snapshot(record):
                self._mirror.record(record, self._at, self._key(record))

    def _key(self, record: Json) -> str:
        if record["type"] in ("message", "reasoning"):
            return str(record["id"])
        what = record.get("status") or record["type"]
        return self._numbered(f"{record.get('callId') or self._part}:{what}")


def _created(info: Json) -> int | None:
    return count_or_none(mapping(info.get("time")).get("created"))


def _ended(part: Json) -> int | None:
    time = mapping(part.get("time")) or mapping(mapping(part.get("state")).get("time"))
    return count_or_none(time.get("end")) or count_or_none(time.get("start"))


def _usage(tokens: Sequence[Json]) -> Usage:
    def total(*names: str) -> int:
        found = 0
        for each in tokens:
            values = {**each, **mapping(each.get("cache"))}
            found += sum(count_or_none(values.get(name)) or 0 for name in names)
        return found

    return Usage(
        total("input", "read", "write"),
        total("output"),
        thought=total("reasoning") or None,
        cached=total("read") or None,
        cache_written=total("write") or None,
    )


def _title(tool: str, given: Any) -> str:
    """What a call is called, as OpenCode's ACP server does: a command is its own name."""
    command = mapping(given).get("command")
    return command if tool == "bash" and isinstance(command, str) and command else tool


def _changes(tool: str, given: Json) -> tuple[FileChange, ...] | None:
    path = text_or_none(given.get("filePath"))
    old, new, whole = given.get("oldString"), given.get("newString"), given.get("content")
    if path is None:
        return None
    if tool == "edit" and isinstance(old, str) and isinstance(new, str):
        return (FileChange(path, old, new),)
    if tool == "write" and isinstance(whole, str):
        return (FileChange(path, None, whole),)
    return None


def _entries(todos: Any) -> tuple[Mapping[str, str], ...]:
    states = ("pending", "in_progress", "completed")
    return tuple(
        {
            "content": content,
            "priority": str(each.get("priority") or "medium"),
            "status": str(each["status"]) if each.get("status") in states else "pending",
        }
        for each in objects(todos)
        if (content := text_or_none(each.get("content")))
    )
