"""JSON-RPC 2.0 on a pipe: one message per line, in UTF-8."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from attrs import define, field, frozen

from hapi.protocol.json import Malformed, from_json, to_json
from hapi.units import format_size

MAX_LINE_SIZE = 64 * 1024 * 1024  # bytes; a tool that prints a file may fill a few megabytes
METHOD_NOT_FOUND, INVALID_PARAMS, INTERNAL_ERROR = -32601, -32602, -32603
REQUEST_CANCELLED = -32800  # of the Agent Client Protocol's `$/cancel_request`

# A member that begins a message; JSON that is logged rarely begins so.
MESSAGE_START = re.compile(r'\{\s*"(?:jsonrpc|method|id|result|params)"\s*:')

Id = int | str


class LineTooLong(Exception):
    """The agent sent a line beyond the limit."""


@define
class LineBuffer:
    """Bytes in, whole lines out."""

    limit: int = MAX_LINE_SIZE
    _parts: list[bytes] = field(factory=list)
    _size: int = 0

    def feed(self, data: bytes) -> list[bytes]:
        """The stripped lines that `data` completes, without empty ones. Raises LineTooLong."""
        *lines, rest = data.split(b"\n")
        if lines:
            lines[0] = b"".join((*self._parts, lines[0]))
            self._parts, self._size = [], 0
        if rest:
            self._parts.append(rest)
            self._size += len(rest)
        if self._size > self.limit:
            self._parts, self._size = [], 0
            raise LineTooLong(f"a message of more than {format_size(self.limit)}B")
        return [line for line in (line.strip() for line in lines) if line]


@frozen
class Request:
    """A call that expects an answer with the same id."""

    id: Id
    method: str
    params: Mapping[str, Any]


@frozen
class Notification:
    method: str
    params: Mapping[str, Any]


@frozen
class Result:
    id: Id
    value: Any


@frozen
class Problem:
    """An answer that is an error. `id` is None when the agent could not even read our message."""

    id: Id | None
    code: int
    message: str
    data: Any = None


Message = Request | Notification | Result | Problem


def read_message(line: bytes) -> Message:
    """The message on one line. Raises Malformed.

    What stands before or after it on the line is skipped: a byte order mark, control sequences for
    a terminal, a prompt. Bytes that are not UTF-8 become replacement characters.
    """
    content = line.decode("utf-8", "replace")
    try:
        found = from_json(content)
    except Malformed:
        start, end = MESSAGE_START.search(content), content.rfind("}") + 1
        if start is None or (start.start() == 0 and end == len(content)):
            raise
        found = from_json(content[start.start() : end])
    if not isinstance(found, dict):
        raise Malformed("not a JSON-RPC object")
    number = found.get("id")
    if isinstance(number, bool) or not isinstance(number, int | str | None):
        raise Malformed("an id that is neither a number nor a string")
    method = found.get("method")
    if isinstance(method, str):
        params = found.get("params")
        given = params if isinstance(params, dict) else {}
        return Notification(method, given) if number is None else Request(number, method, given)
    wrong = found.get("error")
    if isinstance(wrong, dict):
        code, text = wrong.get("code"), wrong.get("message")
        return Problem(
            number,
            code if isinstance(code, int) else INTERNAL_ERROR,
            _problem_text(text, wrong),
            wrong.get("data"),
        )
    if number is None or "result" not in found:
        raise Malformed("neither a call nor an answer")
    return Result(number, found["result"])


def _problem_text(text: Any, error: Mapping[str, Any]) -> str:
    """The agent's error text; a bare `Internal error` gets the detail that came with it."""
    said = text if isinstance(text, str) and text else "unknown error"
    data = error.get("data")
    detail = (
        data
        if isinstance(data, str)
        else data.get("details") or data.get("message")
        if isinstance(data, dict)
        else None
    )
    return (
        f"{said}: {detail}" if isinstance(detail, str) and detail and detail not in said else said
    )


def request(number: int, method: str, params: Mapping[str, Any]) -> bytes:
    return _line({"jsonrpc": "2.0", "id": number, "method": method, "params": params})


def notification(method: str, params: Mapping[str, Any]) -> bytes:
    return _line({"jsonrpc": "2.0", "method": method, "params": params})


def result(number: Id, value: Any) -> bytes:
    return _line({"jsonrpc": "2.0", "id": number, "result": value})


def problem(number: Id, code: int, message: str) -> bytes:
    return _line({"jsonrpc": "2.0", "id": number, "error": {"code": code, "message": message}})


def _line(message: Mapping[str, Any]) -> bytes:
    return to_json(message).encode() + b"\n"
