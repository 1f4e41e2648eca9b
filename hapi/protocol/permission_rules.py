"""What a person has allowed for the rest of a session, where the agent does not remember it itself.

A rule allows the same thing again and nothing wider: a command as a whole, an edit by the files
that it changes, any other call with the same input. Pure.
"""

from __future__ import annotations

import hashlib
import json
import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from attrs import frozen

from hapi.protocol.acp.updates import ToolCall

MAX_RULES = 200  # of one session; the oldest are dropped
MAX_COMMAND_LENGTH = 20_000  # characters; longer commands are asked about each time

# Kinds of tools by the names that Claude Code, and with it npm's page, has for them.
_KINDS_BY_NAME = {
    "Edit": "edit",
    "MultiEdit": "edit",
    "Write": "edit",
    "NotebookEdit": "edit",
    "Read": "read",
    "Grep": "search",
    "Glob": "search",
    "WebFetch": "fetch",
    "WebSearch": "fetch",
}
_FILE_KINDS = ("edit", "delete", "read")
_COMMAND_KINDS = ("execute", "other", None)  # elsewhere `command` may name a verb of the tool
_PATTERN = re.compile(r"\A(\w[\w.-]*)\((.*)\)\Z", re.DOTALL)  # Bash(npm test:*)
_SHELL_SYNTAX = re.compile(r"[;&|<>`$(){}\n\r]")  # anything that can hold a second command
_COMMAND_KEYS = ("command", "cmd")
_PATH_KEYS = ("file_path", "filePath", "filepath", "fileName", "path", "notebook_path")
_DIRECTORY_KEYS = ("cwd", "workdir", "working_directory", "directory")
# Keys of an input that change nothing of what is allowed.
_HARMLESS_KEYS = (
    *("description", "explanation", "justification", "timeout", "title"),
    *("max_output_tokens", "yield_time_ms"),
)
# What an edit writes and which part a reader sees: a rule for a file allows any of it.
_CONTENT_KEYS = (
    *("old_string", "oldString", "old_str", "oldText", "new_string", "newString", "new_str"),
    *("newText", "content", "file_text", "edits", "replace_all", "replaceAll", "offset", "limit"),
    *("insert_line", "view_range", "instruction"),
)
NO_INPUT = "none"  # the digest of an input that has nothing else


@frozen
class Action:
    """What a permission is asked for. `command` and `paths` are as the agent gave them.

    `input` is a digest of everything else that the agent gave, NO_INPUT if there is nothing.
    """

    tool: str
    kind: str | None = None
    command: str | None = None
    directory: str | None = None
    paths: tuple[str, ...] = ()
    input: str = NO_INPUT

    @property
    def is_command(self) -> bool:
        return self.kind == "execute" or self.command is not None


def action_of(tool: str, call: ToolCall) -> Action:
    given = dict(call.input) if isinstance(call.input, Mapping) else {}
    if call.input is not None and not isinstance(call.input, Mapping):
        given = {"input": call.input}
    for key in _HARMLESS_KEYS:
        given.pop(key, None)
    command = _taken(given, _COMMAND_KEYS) if call.kind in _COMMAND_KINDS else None
    if isinstance(command, Sequence) and not isinstance(command, str):
        command = shlex.join(map(str, command))
    directory = _taken(given, _DIRECTORY_KEYS)
    paths: list[str] = []
    if call.kind in _FILE_KINDS:
        named = [given.pop(key) for key in _PATH_KEYS if isinstance(given.get(key), str)]
        places = [place.path for place in call.locations or ()]
        changed = [change.path for change in call.changes or ()]
        paths = [*named, *places, *changed]
        for key in _CONTENT_KEYS:
            given.pop(key, None)
    return Action(
        tool,
        call.kind,
        command if isinstance(command, str) else None,
        directory if isinstance(directory, str) else None,
        tuple(dict.fromkeys(filter(None, paths))),
        _digest(given),
    )


def _taken(given: dict[str, Any], keys: Iterable[str]) -> Any:
    """Take the value of the first of `keys` out; of two that are given the other one stays."""
    key = next((key for key in keys if given.get(key)), None)
    return None if key is None else given.pop(key)


def _digest(given: Mapping[str, Any]) -> str:
    if not given:
        return NO_INPUT
    text = json.dumps(given, sort_keys=True, ensure_ascii=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()


@frozen
class PermissionRule:
    """One thing that is allowed for the session.

    `command` is a whole command; `prefix` begins a simple one; `paths` are all files that a tool of
    `kind` may work on, seen from `directory`. A rule with none of them allows the tool `tool`, or
    each tool of `kind`. `input` is the digest that the rest of the input must have; None: any.
    """

    id: str
    kind: str | None = None
    tool: str | None = None
    command: str | None = None
    prefix: str | None = None
    directory: str | None = None
    paths: tuple[str, ...] = ()
    input: str | None = None
    created_at: int = 0  # ms since the epoch

    def allows(self, action: Action) -> bool:
        if self.input is not None and action.input != self.input:
            return False
        is_there = action.directory == self.directory
        if self.command is not None:
            return action.command == self.command and is_there
        if self.prefix is not None:
            begins = action.command is not None and _begins(action.command, self.prefix)
            return begins and is_there
        if action.is_command or action.kind == "switch_mode":
            return False
        if self.paths:
            in_paths = bool(action.paths) and set(action.paths) <= set(self.paths)
            return action.kind == self.kind and in_paths and is_there
        if self.tool is not None:
            is_same = action.tool == self.tool and self.kind in (None, action.kind)
            return is_same and (self.input is None or is_there)
        return self.kind is not None and action.kind == self.kind

    def as_json(self) -> dict[str, Any]:
        fields: dict[str, Any] = {
            "id": self.id,
            "kind": self.kind,
            "tool": self.tool,
            "command": self.command,
            "prefix": self.prefix,
            "directory": self.directory,
            "paths": list(self.paths),
            "input": self.input,
            "createdAt": self.created_at,
        }
        return {name: value for name, value in fields.items() if value}

    def is_same(self, other: PermissionRule) -> bool:
        ours, theirs = self.as_json(), other.as_json()
        return all(ours.get(key) == theirs.get(key) for key in {*ours, *theirs} - _IDENTITY)


_IDENTITY = {"id", "createdAt"}


def _begins(command: str, prefix: str) -> bool:
    """Whether a simple command begins with the words of `prefix`; a compound one never does."""
    words = command.strip()
    is_simple = not _SHELL_SYNTAX.search(words)
    return is_simple and (words == prefix or words.startswith(f"{prefix} "))


def read_rules(stored: Any) -> tuple[PermissionRule, ...]:
    """The rules in a session's metadata (`permissionRules`); malformed ones are left out."""
    found = stored if isinstance(stored, list) else []
    return tuple(rule for item in found if (rule := _read_rule(item)) is not None)


def _read_rule(item: Any) -> PermissionRule | None:
    if not isinstance(item, Mapping):
        return None
    names = ("id", "kind", "tool", "command", "prefix", "directory", "input")
    texts = {key: item.get(key) for key in names}
    paths, at = item.get("paths", []), item.get("createdAt", 0)
    is_valid = (
        bool(texts["id"])
        and all(value is None or isinstance(value, str) for value in texts.values())
        and isinstance(paths, list)
        and all(isinstance(path, str) for path in paths)
    )
    if not is_valid:
        return None
    created_at = int(at) if isinstance(at, int | float) else 0
    return PermissionRule(**texts, paths=tuple(paths), created_at=created_at)  # type: ignore[arg-type]


def rules_of(
    action: Action, allow_tools: Iterable[str] | None, rule_id: str, now: int
) -> tuple[PermissionRule, ...]:
    """The rules that a person's "allow for session" makes; none if nothing narrow enough is known.

    `allow_tools` are patterns as npm's page sends them: `Bash(npm test:*)`, `Bash(ls)`, `Edit`.
    Without them the rule is the action itself. Each rule gets an id that begins with `rule_id`.
    """
    if allow_tools:
        found = [_rule_of_pattern(pattern, action) for pattern in allow_tools]
    else:
        found = [_rule_of_action(action)]
    fields = [rule for rule in found if rule is not None]
    return tuple(
        PermissionRule(f"{rule_id}-{number}" if number else rule_id, created_at=now, **rule)
        for number, rule in enumerate(fields)
    )


def _rule_of_action(action: Action) -> dict[str, Any] | None:
    same = {"directory": action.directory, "input": action.input}
    if action.is_command:
        command = action.command
        if not command or len(command) > MAX_COMMAND_LENGTH:
            return None
        return {"kind": "execute", "command": command, **same}
    if action.kind in _FILE_KINDS:
        return {"kind": action.kind, "paths": action.paths, **same} if action.paths else None
    if action.kind in ("switch_mode", "think") or action.tool in ("", "tool", action.kind):
        return None
    return {"kind": action.kind, "tool": action.tool, **same}


def _rule_of_pattern(pattern: str, action: Action) -> dict[str, Any] | None:
    found = _PATTERN.match(pattern)
    if found is not None and found[1] == "Bash":
        command = found[2]
        same = {"kind": "execute", "directory": action.directory, "input": NO_INPUT}
        if not command.endswith(":*"):
            return {"command": command, **same} if command.strip() else None
        prefix = command.removesuffix(":*").strip()
        is_simple = prefix and not _SHELL_SYNTAX.search(prefix)
        return {"prefix": prefix, **same} if is_simple else None
    if found is not None and pattern != action.tool:
        return None  # patterns of other tools name files and addresses in ways of their own
    if pattern in _KINDS_BY_NAME:
        return {"kind": _KINDS_BY_NAME[pattern]}
    if pattern in ("Bash", action.tool):
        return _rule_of_action(action)
    return {"tool": pattern}


def says_exactly(pattern: str) -> bool:
    """Whether a pattern of `allowTools` says itself what is allowed: the beginning of a command, or
    a kind of tools."""
    return "(" in pattern or pattern in _KINDS_BY_NAME


def with_rules(
    rules: Sequence[PermissionRule], more: Sequence[PermissionRule]
) -> tuple[PermissionRule, ...]:
    """`rules` and those of `more` that they lack; the newest MAX_RULES of them."""
    new = [rule for rule in more if not any(rule.is_same(known) for known in rules)]
    return (*rules, *new)[-MAX_RULES:]
