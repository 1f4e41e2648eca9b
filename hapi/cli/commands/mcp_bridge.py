"""`hapi mcp --url URL`: the HTTP MCP server of a session on standard input and output.

Messages are passed on one for one ("Streamable HTTP" and "stdio" of the Model Context Protocol,
revision 2025-03-26); of the tools, only the chosen ones are offered and called.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPException
from threading import Lock
from typing import Any
from urllib.error import HTTPError
from urllib.request import ProxyHandler, Request, build_opener

from attrs import define, field

MAX_CALLS = 8  # at the same time
CALL_TIMEOUT = 600.0  # seconds: a tool may ask a person
SESSION_HEADER, VERSION_HEADER = "Mcp-Session-Id", "MCP-Protocol-Version"
SERVER_FAILED, TOOL_UNKNOWN, NOT_JSON = -32000, -32602, -32700  # codes of JSON-RPC


@define(eq=False, repr=False)
class Bridge:
    """`tools`: the names of those that are offered, None: all."""

    _url: str
    _tools: frozenset[str] | None
    _out: Any
    _lock: Lock = field(factory=Lock)
    _session: str | None = None  # what the server calls this connection
    _version: str | None = None  # of the protocol
    # Without the proxies of the agent's environment: the server is on this machine.
    _opener: Any = field(factory=lambda: build_opener(ProxyHandler({})))

    def run(self, lines: Iterable[bytes]) -> None:
        """Pass messages on until the client says no more, and its calls are answered."""
        with ThreadPoolExecutor(MAX_CALLS) as calls:
            for line in lines:
                if not line.strip():
                    continue
                message = _decoded(line)
                if message is None:
                    self._answer(_error(None, NOT_JSON, "Parse error"))
                elif message.get("method") == "tools/call":
                    calls.submit(self._pass_on, message)
                else:  # in order: the others need the session that `initialize` opens
                    self._pass_on(message)

    def _pass_on(self, message: Mapping[str, Any]) -> None:
        name, is_asked = message.get("id"), "id" in message and "method" in message
        try:
            if refusal := self._refusal(message):
                self._answer(_error(name, TOOL_UNKNOWN, refusal))
                return
            answers = list(self._exchange(message))
        except (OSError, HTTPException, ValueError) as error:
            answers = [_error(name, SERVER_FAILED, self._reason(error))] if is_asked else []
        for answer in answers:
            if is_asked and answer.get("id") == name:
                self._learn(message, answer)
            self._answer(answer)

    def _refusal(self, message: Mapping[str, Any]) -> str | None:
        if message.get("method") != "tools/call" or self._tools is None:
            return None
        params = message.get("params")
        tool = params.get("name") if isinstance(params, dict) else None
        return None if tool in self._tools else f"Unknown tool: {str(tool)[:200]}"

    def _learn(self, message: Mapping[str, Any], answer: dict[str, Any]) -> None:
        """Take from an answer what the next messages need, and the tools that are not offered."""
        result = answer.get("result")
        if not isinstance(result, dict):
            return
        if message.get("method") == "initialize":
            version = result.get("protocolVersion")
            self._version = version if isinstance(version, str) else None
        listed = result.get("tools")
        if message.get("method") == "tools/list" and isinstance(listed, list) and self._tools:
            offered = [each for each in listed if _name(each) in self._tools]
            answer["result"] = {**result, "tools": offered}

    def _exchange(self, message: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        """What the server replies. Raises OSError, HTTPException, ValueError."""
        headers = {
            "Content-Type": "application/json",
            "Accept": "application/json, text/event-stream",
        }
        for header, value in ((SESSION_HEADER, self._session), (VERSION_HEADER, self._version)):
            if value is not None:
                headers[header] = value
        request = Request(self._url, json.dumps(message).encode(), headers)
        with self._opener.open(request, timeout=CALL_TIMEOUT) as reply:
            self._session = reply.headers.get(SESSION_HEADER) or self._session
            if reply.headers.get_content_type() == "text/event-stream":
                yield from _events(reply)
            elif content := reply.read().strip():
                yield from _messages(json.loads(content))

    def _reason(self, error: Exception) -> str:
        if isinstance(error, HTTPError):
            return f"The session at {self._url} answered with HTTP {error.code}"
        reason = getattr(error, "reason", None) or error
        return f"The session does not answer at {self._url}: {reason}"

    def _answer(self, message: Mapping[str, Any]) -> None:
        with self._lock:
            self._out.write(json.dumps(message).encode() + b"\n")
            self._out.flush()


def _decoded(line: bytes) -> dict[str, Any] | None:
    try:
        message = json.loads(line)
    except ValueError:
        return None
    return message if isinstance(message, dict) else None


def _events(reply: Iterable[bytes]) -> Iterator[dict[str, Any]]:
    """The messages of a stream of server-sent events (HTML standard, section 9.2)."""
    data: list[str] = []
    for raw in reply:
        line = raw.decode("utf-8", "replace").rstrip("\r\n")
        if line.startswith("data:"):
            data.append(line[5:].removeprefix(" "))
        elif not line and data:
            yield from _messages(json.loads("\n".join(data)))
            data.clear()


def _messages(value: Any) -> Iterator[dict[str, Any]]:
    for each in value if isinstance(value, list) else [value]:
        if isinstance(each, dict):
            yield each


def _name(tool: Any) -> Any:
    return tool.get("name") if isinstance(tool, dict) else None


def _error(name: Any, code: int, text: str) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": name, "error": {"code": code, "message": text}}


def run(url: str, tools: frozenset[str] | None) -> int:
    """Serve until the client says no more; the exit code."""
    try:
        Bridge(url, tools, sys.stdout.buffer).run(sys.stdin.buffer)
    except BrokenPipeError:
        return 0  # the client is gone
    return 0
