"""The tool calls of an agent as lines of a terminal. Pure.

Agents tell a call in pieces: at first its kind alone, such as "Edit", later what it works on. A
line is printed once and stays, so it waits until it can say that.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from attrs import define, field

from hapi.protocol.acp.questions import QUESTION_TOOL
from hapi.protocol.acp.tool_content import Location

MAX_CALLS = 256  # that have not ended; the newest are kept
MAX_DETAIL = 200  # characters
# Arguments that say what a call does, under the names that agents give them.
DETAILS = (
    *("command", "cmd", "file_path", "filePath", "absolute_path", "notebook_path", "path"),
    *("pattern", "query", "url", "description"),
)


def detail_of(arguments: Any) -> str:
    """The command, path or the like among the arguments of a call; empty if there is none."""
    for name in DETAILS if isinstance(arguments, Mapping) else ():
        value = arguments.get(name)
        if isinstance(value, list):
            value = " ".join(map(str, value))
        if isinstance(value, str) and value.strip():
            first, *rest = value.strip().splitlines()
            is_cut = bool(rest) or len(first) > MAX_DETAIL
            return f"{first[:MAX_DETAIL]}…" if is_cut else first
    return ""


@define(eq=False, repr=False)
class ShownCall:
    """What is known of one call, and what of it was printed."""

    name: str = "tool"
    detail: str = ""
    status: str = ""
    diffs: Sequence[str] = ()
    is_shown: bool = False
    diff_is_shown: bool = False
    is_question: bool = False  # which is shown as it is asked

    @property
    def says_what_it_does(self) -> bool:
        return bool(self.detail) or (
            self.status != "pending" and not self.name.endswith(("…", "..."))
        )

    @property
    def text(self) -> str:
        told = self.detail.rsplit("/", 1)[-1]  # titles have paths in a shorter form
        return self.name if told in self.name else f"{self.name}: {self.detail}"


@define(eq=False, repr=False)
class ToolLines:
    """The calls that have not ended, by their ids."""

    _calls: dict[str, ShownCall] = field(factory=dict)

    def record(self, data: Mapping[str, Any]) -> ShownCall | None:
        """The record of a call or of a change of one; None for a question."""
        call = self._call(str(data.get("callId")))
        if data.get("name") == QUESTION_TOOL:
            call.is_question = True
            return None
        call.name, call.status = str(data.get("name")), str(data.get("status"))
        call.detail = detail_of(data.get("input")) or call.detail
        call.diffs = [str(each["diff"]) for each in data.get("changes") or ()] or call.diffs
        return call

    def locate(self, call_id: str, locations: Sequence[Location]) -> ShownCall | None:
        """The files that a call works on; None if it is not known."""
        call = self._calls.get(call_id)
        if call is None or call.is_question:
            return None
        if not call.detail and locations:
            call.detail = locations[0].path
        return call

    def asked(self, call_id: str, has_diff: bool) -> ShownCall | None:
        """A permission is asked for the call; `has_diff`: its changes are shown with that."""
        call = self._calls.get(call_id)
        if call is None or call.is_question:
            return None
        call.diff_is_shown |= has_diff
        return call

    def ended(self, call_id: str) -> ShownCall | None:
        """The call has a result; None if it is not known."""
        return self._calls.pop(call_id, None)

    def _call(self, call_id: str) -> ShownCall:
        call = self._calls.setdefault(call_id, ShownCall())
        while len(self._calls) > MAX_CALLS:
            del self._calls[next(iter(self._calls))]
        return call


def diff_lines(diffs: Iterable[str]) -> list[str]:
    return [line for diff in diffs for line in diff.splitlines()]
