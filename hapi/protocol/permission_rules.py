"""What a person has allowed for the rest of a session, where the agent does not remember it itself.

A rule allows the same thing again and nothing wider: a command as a whole, a tool by the files that
it works on, any other tool by its name. Pure.
"""

from __future__ import annotations

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
_FILE_KINDS = ("edit", "delete", "move", "read")
_PATTERN = re.compile(r"\A(\w[\w.-]*)\((.*)\)\Z", re.DOTALL)  # Bash(npm test:*)
_SHELL_SYNTAX = re.compile(r"[;&|<>`$(){}\n\r]")  # anything that can hold a second command
_PATH_KEYS = ("file_path", "filePath", "filepath", "fileName", "path", "notebook_path")
_DIRECTORY_KEYS = ("cwd", "workdir", "working_directory", "directory")


@frozen
class Action:
    """What a permission is asked for. `command` and `paths` are as the agent gave them."""

    tool: str
    kind: str | None = None
    command: str | None = None
    directory: str | None = None
    paths: tuple[str, ...] = ()

    @property
    def is_command(self) -> bool:
        return self.kind == "execute" or self.command is not None


def action_of(tool: str, call: ToolCall) -> Action:
    given = call.input if isinstance(call.input, Mapping) else {}
    command = given.get("command", given.get("cmd"))
    if isinstance(command, Sequence) and not isinstance(command, str):
        command = shlex.join(map(str, command))
    directory = next((given[key] for key in _DIRECTORY_KEYS if given.get(key)), None)
    named = [given[key] for key in _PATH_KEYS if isinstance(given.get(key), str)]
    places = [place.path for place in call.locations or ()]
    changed = [change.path for change in call.changes or ()]
    return Action(
        tool,
        call.kind,
        command if isinstance(command, str) else None,
        directory if isinstance(directory, str) else None,
        tuple(dict.fromkeys(filter(None, [*named, *places, *changed]))),
    )


@frozen
class PermissionRule:
    """One thing that is allowed for the session.

    `command` is a whole command; `prefix` begins a simple one; `paths` are all files that a tool of
    `kind` may work on. A rule with none of them allows the tool `tool`, or each tool of `kind`.
    """

    id: str
    kind: str | None = None
    tool: str | None = None
    command: str | None = None
    prefix: str | None = None
    directory: str | None = None
    paths: tuple[str, ...] = ()
    created_at: int = 0  # ms since the epoch

    def allows(self, action: Action) -> bool:
        if self.command is not None:
            return action.command == self.command and action.directory == self.directory
        if self.prefix is not None:
            return action.command is not None and _begins(action.command, self.prefix)
        if action.is_command or action.kind == "switch_mode":
            return False
        if self.paths:
            in_paths = bool(action.paths) and set(action.paths) <= set(self.paths)
            return action.kind == self.kind and in_paths
        if self.tool is not None:
            return action.tool == self.tool and self.kind in (None, action.kind)
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
    texts = {key: item.get(key) for key in ("id", "kind", "tool", "command", "prefix", "directory")}
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
    if action.is_command:
        command = action.command
        if not command or len(command) > MAX_COMMAND_LENGTH:
            return None
        return {"kind": "execute", "command": command, "directory": action.directory}
    if action.kind in _FILE_KINDS:
        return {"kind": action.kind, "paths": action.paths} if action.paths else None
    if action.kind in ("switch_mode", "think") or action.tool in ("", "tool", action.kind):
        return None
    return {"kind": action.kind, "tool": action.tool}


def _rule_of_pattern(pattern: str, action: Action) -> dict[str, Any] | None:
    found = _PATTERN.match(pattern)
    if found is not None and found[1] == "Bash":
        command = found[2]
        if not command.endswith(":*"):
            return {"kind": "execute", "command": command} if command.strip() else None
        prefix = command.removesuffix(":*").strip()
        is_simple = prefix and not _SHELL_SYNTAX.search(prefix)
        return {"kind": "execute", "prefix": prefix} if is_simple else None
    if found is not None and pattern != action.tool:
        return None  # patterns of other tools name files and addresses in ways of their own
    if pattern in _KINDS_BY_NAME:
        return {"kind": _KINDS_BY_NAME[pattern]}
    if pattern in ("Bash", action.tool):
        return _rule_of_action(action)
    return {"tool": pattern}


def with_rules(
    rules: Sequence[PermissionRule], more: Sequence[PermissionRule]
) -> tuple[PermissionRule, ...]:
    """`rules` and those of `more` that they lack; the newest MAX_RULES of them."""
    new = [rule for rule in more if not any(rule.is_same(known) for known in rules)]
    return (*rules, *new)[-MAX_RULES:]
