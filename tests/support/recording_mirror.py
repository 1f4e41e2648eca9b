"""A `Mirror` that only writes down what is reported to it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from attrs import define, field

from hapi.protocol.acp.prompts import Usage
from hapi.protocol.permissions import PermissionAnswer
from hapi.session.local.interface import LocalRequest


@define
class RecordingMirror:
    """`calls` has each call with its arguments, without times and keys."""

    calls: list[tuple[Any, ...]] = field(factory=list)
    times: list[int] = field(factory=list)
    keys: list[str] = field(factory=list)
    places: list[Any] = field(factory=list)
    answers: dict[str, Callable[[PermissionAnswer], None] | None] = field(factory=dict)

    def names(self) -> list[str]:
        return [call[0] for call in self.calls]

    def of(self, name: str) -> list[Any]:
        return [call[1] for call in self.calls if call[0] == name]

    def story(self) -> list[str]:
        """What a page shows, a line for each record."""
        return [line for call in self.calls if (line := _line(*call)) is not None]

    def agent_session(self, session_id: str) -> None:
        self.calls.append(("agent_session", session_id))

    def thinking(self, is_thinking: bool) -> None:
        self.calls.append(("thinking", is_thinking))

    def prompt(self, text: str, at: int, key: str) -> None:
        self._timed(at, key)
        self.calls.append(("prompt", text))

    def record(self, data: Mapping[str, Any], at: int, key: str) -> None:
        self._timed(at, key)
        self.calls.append(("record", dict(data)))

    def output(self, line: Mapping[str, Any], at: int, key: str) -> None:
        self._timed(at, key)
        self.calls.append(("output", dict(line)))

    def model_chosen(self) -> None:
        self.calls.append(("model_chosen",))

    def status(self, text: str) -> None:
        self.calls.append(("status", text))

    def title(self, title: str) -> None:
        self.calls.append(("title", title))

    def usage(self, used: Usage | None, model: str | None, context: tuple[int, int] | None) -> None:
        self.calls.append(("usage", used, model, context))

    def request(
        self, request: LocalRequest, answer: Callable[[PermissionAnswer], None] | None
    ) -> None:
        self.answers[request.id] = answer
        self.calls.append(("request", request))

    def settled(self, request_id: str, approved: bool | None) -> None:
        self.calls.append(("settled", request_id, approved))

    def checkpoint(self, place: Any) -> None:
        self.places.append(place)

    def _timed(self, at: int, key: str) -> None:
        self.times.append(at)
        self.keys.append(key)


def _line(name: str, *values: Any) -> str | None:
    match name, *values:
        case "prompt", text:
            return f"> {text}"
        case "status", text:
            return f"- {text}"
        case "thinking", is_thinking:
            return "begins" if is_thinking else "ends"
        case "request", LocalRequest(tool=tool):
            return f"asks {tool}"
        case "settled", _, approved:
            return {True: "allowed", False: "refused", None: "over"}[approved]
        case "record", {"type": "message" | "reasoning" as kind, "message": text}:
            return f"{kind}: {text}"
        case "record", {"type": "tool-call", "name": tool, "status": status}:
            return f"{tool}: {status}"
        case "record", {"type": "tool-call-result", "is_error": failed}:
            return "failed" if failed else "result"
        case "record", {"type": kind}:
            return str(kind)
    return None
