"""What `session/request_permission` asks: the whole tool call, and the options it offers."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from attrs import evolve, frozen

from hapi.protocol.acp.diffs import diff_of
from hapi.protocol.acp.tool_content import FileChange
from hapi.protocol.acp.updates import ToolCall, read_tool_call
from hapi.protocol.acp.values import mapping, objects, text_or_none
from hapi.protocol.json import Malformed

ALLOW_ONCE, ALLOW_ALWAYS = "allow_once", "allow_always"
REJECT_ONCE, REJECT_ALWAYS = "reject_once", "reject_always"
OPTION_KINDS = (ALLOW_ONCE, ALLOW_ALWAYS, REJECT_ONCE, REJECT_ALWAYS)

MAX_TEXT_LENGTH = 40_000  # characters; hubs cut strings of more than 64 KiB in their middle
MAX_DIFFS_LENGTH = 120_000  # characters of all diffs of a request: hubs send it to every page
MAX_ARGUMENT_LENGTH = 20_000  # characters of a file's text in the arguments
# Keys of an input that show by themselves what is asked, in the spellings of different agents.
_TELLING_KEYS = (
    "command",
    "cmd",
    "file_path",
    "filePath",
    "filepath",
    "fileName",
    "path",
    "diff",
    "patch",
    "old_string",
    "oldString",
    "content",
    "plan",
    "questions",
    "url",
    "query",
    "pattern",
)
# Names of options that change how the agent works from then on, whatever their kind says.
_MODE_NAMES = re.compile(
    r"bypass|\bauto[ -]?mode\b|auto[- ]?accept|\byolo\b|clear\w* context|full[- ]access"
    r"|\bswitch to\b",
    re.IGNORECASE,
)
_QUOTED_COMMAND = re.compile(r"\A[^`]*`([^`\n]+)`[^`]*\Z")  # "Run command `ls`"


@frozen
class PermissionOption:
    id: str
    kind: str  # allow_once, allow_always, reject_once, reject_always; agents have others too
    name: str

    @property
    def changes_mode(self) -> bool:
        return _MODE_NAMES.search(f"{self.id} {self.name}") is not None

    def as_json(self) -> dict[str, str]:
        return {"id": self.id, "name": self.name, "kind": self.kind}


@frozen
class PermissionRequest:
    """A permission request. `text` is what the agent says about it, often Markdown."""

    call: ToolCall
    options: tuple[PermissionOption, ...]
    text: str | None = None

    @property
    def switches_mode(self) -> bool:
        """Whether an answer chooses how the agent goes on, as the approval of a plan does."""
        plan = self.call.input.get("plan") if isinstance(self.call.input, Mapping) else None
        return self.call.kind == "switch_mode" or isinstance(plan, str)

    @property
    def has_plain_options(self) -> bool:
        """Whether the kinds of the options say everything: at most one of each, none unknown.

        The options of any other request differ by their names only.
        """
        kinds = [option.kind for option in self.options]
        return (
            not self.switches_mode
            and len(set(kinds)) == len(kinds)
            and all(kind in OPTION_KINDS for kind in kinds)
            and not any(option.changes_mode for option in self.options)
        )

    def option(self, option_id: str) -> PermissionOption | None:
        return next((option for option in self.options if option.id == option_id), None)

    def option_for(self, decision: str) -> PermissionOption | None:
        """The option that means just `decision`; None if only its name could tell.

        `approved` is never more than once where a single option says so, and
        `approved_for_session` is `allow_always` only where that cannot mean anything else.
        """
        match decision:
            case "approved_for_session" if self.has_plain_options:
                return self._only(ALLOW_ALWAYS) or self._only(ALLOW_ONCE)
            case "approved" | "approved_for_session":
                return self._allowed_once()
            case "denied":
                return self._first(REJECT_ONCE) or self._only(REJECT_ALWAYS)
        return None

    def _allowed_once(self) -> PermissionOption | None:
        if self._first(ALLOW_ONCE):
            once = [each for each in self.options if each.kind == ALLOW_ONCE]
            plain = [each for each in once if not each.changes_mode]
            return plain[0] if len(plain) == 1 else None
        if self.has_plain_options:
            return self._only(ALLOW_ALWAYS)
        odd = [option for option in self.options if option.kind not in OPTION_KINDS]
        return odd[0] if len(odd) == 1 and not self._first(ALLOW_ALWAYS) else None

    def _first(self, kind: str) -> PermissionOption | None:
        return next((option for option in self.options if option.kind == kind), None)

    def _only(self, kind: str) -> PermissionOption | None:
        found = [option for option in self.options if option.kind == kind]
        return found[0] if len(found) == 1 else None

    def completed_by(self, earlier: ToolCall | None) -> PermissionRequest:
        """This request, with what an earlier update of the same call said and it leaves out."""
        if earlier is None:
            return self
        call = self.call
        whole = evolve(
            call,
            title=call.title or earlier.title,
            kind=call.kind or earlier.kind,
            input=call.input if call.input else earlier.input or call.input,
            changes=call.changes or earlier.changes,
            locations=call.locations or earlier.locations,
        )
        return evolve(self, call=whole)

    @property
    def arguments(self) -> Any:
        """The tool's input; where that is empty, what the request shows otherwise, by the names
        that pages know: `command`, `file_path`, `old_string`, `new_string`, `diff`, `plan`."""
        given = self.call.input
        if given is not None and not isinstance(given, Mapping):
            return given
        found = dict(given or {})
        if any(found.get(key) for key in _TELLING_KEYS):
            return found
        return {**self._described(), **found}

    def _described(self) -> dict[str, Any]:
        call, text = self.call, self.text
        if self.switches_mode and text:
            return {"plan": text}
        found: dict[str, Any] = {}
        if call.changes:
            found |= _changes_as_arguments(call.changes)
        elif call.locations:
            paths = list(dict.fromkeys(place.path for place in call.locations))
            found |= {"file_path": paths[0]} if len(paths) == 1 else {"files": paths}
        command = _QUOTED_COMMAND.match(text) if text and call.kind == "execute" else None
        if command is not None:
            found["command"] = command[1]
            return found
        if call.kind == "execute" and call.title:  # Gemini has the command nowhere else
            found["command"] = call.title
        if text:
            found["description"] = text
        return found

    def as_json(self) -> dict[str, Any]:
        """What pages need besides the arguments: `options`, `kind`, `locations`, `changes` (as
        unified diffs) and `text`; `byName` if the options differ by their names only. Each is left
        out if there is none."""
        call = self.call
        fields: dict[str, Any] = {
            "options": [option.as_json() for option in self.options],
            "byName": bool(self.options) and not self.has_plain_options,
            "kind": call.kind,
            "locations": [_location(place.path, place.line) for place in call.locations or ()],
            "changes": _diffs(call.changes or ()),
            "text": self.text,
        }
        return {name: value for name, value in fields.items() if value}


def read_permission_request(params: Mapping[str, Any]) -> PermissionRequest:
    """Read a permission request. Raises Malformed if it has no tool call."""
    call = read_tool_call(mapping(params.get("toolCall")))
    if call is None:
        raise Malformed("a permission request without a tool call")
    options = tuple(
        PermissionOption(
            option_id, str(item.get("kind") or ""), text_or_none(item.get("name")) or option_id
        )
        for item in objects(params.get("options"))
        if (option_id := text_or_none(item.get("optionId")))
    )
    # What the call has as its output is what the agent says to the person, not a result.
    said = call.output if isinstance(call.output, str) else None
    text = said if said is None or len(said) <= MAX_TEXT_LENGTH else f"{said[:MAX_TEXT_LENGTH]}…"
    return PermissionRequest(evolve(call, output=None, output_delta=None), options, text or None)


def _location(path: str, line: int | None) -> dict[str, Any]:
    return {"path": path} if line is None else {"path": path, "line": line}


def _changes_as_arguments(changes: tuple[FileChange, ...]) -> dict[str, Any]:
    if len(changes) == 1:
        change = changes[0]
        old = change.old or ""
        if len(old) + len(change.new) <= MAX_ARGUMENT_LENGTH:
            return {"file_path": change.path, "old_string": old, "new_string": change.new}
        return {"file_path": change.path, "diff": diff_of(change).text[:MAX_TEXT_LENGTH]}
    diff = "\n".join(item["diff"] for item in _diffs(changes))
    return {"files": [change.path for change in changes], "diff": diff[:MAX_TEXT_LENGTH]}


def _diffs(changes: tuple[FileChange, ...]) -> list[dict[str, Any]]:
    found, room = [], MAX_DIFFS_LENGTH
    for change in changes:
        diff = diff_of(change).as_json()
        if len(diff["diff"]) > room:
            diff["diff"] = f"{change.path}: +{diff['added']} −{diff['removed']} lines"
        room -= len(diff["diff"])
        found.append(diff)
    return found
