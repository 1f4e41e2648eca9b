"""JSON-RPC for the demo agent: lines on stdin and stdout, shared by the threads of its turns."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Callable
from typing import Any

Json = dict[str, Any]


class RpcError(Exception):
    """Becomes a JSON-RPC error."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


class JsonRpcStream:
    """JSON-RPC on standard input and output; turns run in threads and share it."""

    def __init__(self) -> None:
        self._out, self._lock = sys.stdout.buffer, threading.Lock()
        self._waiting: dict[int, Callable[[Json], None]] = {}
        self._next = 0

    def send(self, message: Json) -> None:
        line = json.dumps({"jsonrpc": "2.0", **message}, separators=(",", ":")).encode() + b"\n"
        with self._lock:
            self._out.write(line)
            self._out.flush()

    def update(self, session_id: str, kind: str, /, **fields: Any) -> None:
        self.send(
            {
                "method": "session/update",
                "params": {"sessionId": session_id, "update": {"sessionUpdate": kind, **fields}},
            }
        )

    def call(self, method: str, params: Json, answered: Callable[[Json], None]) -> None:
        with self._lock:
            self._next += 1
            number = self._next
            self._waiting[number] = answered
        self.send({"id": number, "method": method, "params": params})

    def answered(self, message: Json) -> None:
        answered = self._waiting.pop(message.get("id", -1), None)
        if answered is not None:
            answered(message)
