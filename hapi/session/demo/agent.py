"""The built-in demo agent: shows what a session can do on a machine without a coding agent.

Run as `python -m hapi.session.demo.agent`; it speaks ACP on stdio. It uses the standard library
only, so that it starts at once. It has no model: it answers from what the prompt says, asks before
it runs one of a few harmless commands (without a shell), and keeps its conversations in files below
HAPI_HOME, so that they can be resumed.
"""

from __future__ import annotations

import json
import os
import sys
import threading
from collections.abc import Callable
from typing import Any, NoReturn

from hapi.session.demo.conversation import (
    CONVERSATION_ID,
    Cancelled,
    DemoConversation,
)
from hapi.session.demo.jsonrpc import Json, JsonRpcStream, RpcError
from hapi.session.demo.texts import MODELS, MODES, SLASH


class DemoAgent:
    """The agent: reads calls, answers them, and runs turns in threads."""

    def __init__(self) -> None:
        self._stream = JsonRpcStream()
        self._sessions: dict[str, DemoConversation] = {}
        self._calls: dict[str, Callable[[Json], Any]] = {
            "initialize": self._initialize,
            "authenticate": lambda params: {},
            "session/new": self._new,
            "session/load": self._load,
            "session/fork": self._fork,
            "session/set_mode": self._set_mode,
            "session/set_config_option": self._set_option,
        }

    def serve(self) -> None:
        """Until the client closes our standard input."""
        for line in sys.stdin.buffer:
            try:
                message = json.loads(line)
            except ValueError:
                self._stream.send({"id": None, "error": {"code": -32700, "message": "Parse error"}})
                continue
            if isinstance(message, dict):
                self._take(message)
        for session in self._sessions.values():
            session.cancel()

    def _take(self, message: Json) -> None:
        method, number, params = message.get("method"), message.get("id"), message.get("params")
        params = params if isinstance(params, dict) else {}
        if method is None:
            self._stream.answered(message)
        elif method == "session/cancel":
            if session := self._sessions.get(str(params.get("sessionId"))):
                session.cancel()
        elif method == "session/prompt":
            self._begin(number, params)
        elif number is not None:
            self._reply(number, lambda: self._call(str(method), params))

    def _call(self, method: str, params: Json) -> Any:
        if method not in self._calls:
            raise RpcError(-32601, f"Method not found: {method}")
        return self._calls[method](params)

    def _reply(self, number: Any, make: Callable[[], Any]) -> None:
        try:
            reply: Json = {"id": number, "result": make()}
        except RpcError as problem:
            reply = {"id": number, "error": {"code": problem.code, "message": str(problem)}}
        except Exception as problem:
            reply = {
                "id": number,
                "error": {"code": -32603, "message": f"{type(problem).__name__}: {problem}"},
            }
        self._stream.send(reply)

    def _initialize(self, params: Json) -> Json:
        return {
            "protocolVersion": 1,
            "agentCapabilities": {
                "loadSession": True,
                "sessionCapabilities": {"fork": {}},
                "promptCapabilities": {"embeddedContext": True},
            },
            "agentInfo": {"name": "hapi-demo", "title": "HAPI demo agent", "version": "1"},
            "authMethods": [],
        }

    def _new(self, params: Json) -> Json:
        session_id = f"demo-{os.urandom(8).hex()}"
        session = DemoConversation(self._stream, session_id, _directory(params))
        self._open(session)
        return {"sessionId": session.id, **self._settings(session)}

    def _load(self, params: Json) -> Json:
        session_id = str(params.get("sessionId"))
        session = DemoConversation(self._stream, session_id, _directory(params))
        if CONVERSATION_ID.fullmatch(session_id) is None:
            raise RpcError(-32602, f"There is no conversation {session_id}")
        try:
            session.load()
        except FileNotFoundError as error:
            raise RpcError(-32602, f"There is no conversation {session_id}") from error
        self._open(session)
        for entry in session.transcript:
            kind = "user_message_chunk" if entry["role"] == "user" else "agent_message_chunk"
            self._stream.update(session.id, kind, content={"type": "text", "text": entry["text"]})
        return self._settings(session)

    def _fork(self, params: Json) -> Json:
        original = DemoConversation(self._stream, str(params.get("sessionId")), _directory(params))
        if CONVERSATION_ID.fullmatch(original.id) is None:
            raise RpcError(-32602, f"There is no conversation {original.id}")
        try:
            original.load()
        except FileNotFoundError as error:
            raise RpcError(-32602, f"There is no conversation {original.id}") from error
        copy = self._new(params)
        for entry in original.transcript:
            self._sessions[copy["sessionId"]].record(entry["role"], entry["text"])
        return copy

    def _open(self, session: DemoConversation) -> None:
        self._sessions[session.id] = session
        commands = [{"name": name, "description": description} for name, description in SLASH]
        threading.Timer(
            0.05,
            self._stream.update,
            (session.id, "available_commands_update"),
            {"availableCommands": commands},
        ).start()

    def _settings(self, session: DemoConversation) -> Json:
        modes = [{"id": name, "name": name, "description": text} for name, text in MODES]
        return {
            "modes": {"currentModeId": session.mode, "availableModes": modes},
            "configOptions": [
                _option("mode", "Mode", session.mode, MODES),
                _option("model", "Model", session.model, MODELS),
            ],
        }

    def _session(self, params: Json) -> DemoConversation:
        found = self._sessions.get(str(params.get("sessionId")))
        if found is None:
            raise RpcError(-32602, "No such session")
        return found

    def _set_mode(self, params: Json) -> Json:
        session = self._session(params)
        if params.get("modeId") not in dict(MODES):
            raise RpcError(-32602, f"There is no mode {params.get('modeId')}")
        session.mode = params["modeId"]
        return {}

    def _set_option(self, params: Json) -> Json:
        session = self._session(params)
        value = params.get("value")
        match params.get("configId"):
            case "mode" if value in dict(MODES):
                session.mode = value
            case "model" if value in dict(MODELS):
                session.model = value
            case _:
                raise RpcError(-32602, f"There is no {params.get('configId')} {value}")
        return {"configOptions": self._settings(session)["configOptions"]}

    def _begin(self, number: Any, params: Json) -> None:
        session = self._sessions.get(str(params.get("sessionId")))
        if session is None or session.busy:
            problem = "No such session" if session is None else "A turn is running already"
            self._reply(number, lambda: _refuse(problem))
            return
        session.busy = True
        session.cancelled.clear()
        blocks = params.get("prompt")
        text = "\n".join(
            str(block.get("text", "")) for block in blocks or () if isinstance(block, dict)
        )
        threading.Thread(
            target=self._reply, args=(number, lambda: self._turn(session, text)), daemon=True
        ).start()

    def _turn(self, session: DemoConversation, text: str) -> Json:
        try:
            session.answer(text)
            reason = "end_turn"
        except Cancelled:
            reason = "cancelled"
        finally:
            session.busy = False
        size = (
            sum(len(entry["text"]) for entry in session.transcript) // 4 + 1
        )  # four letters a token, as a rule of thumb
        answer = len(session.transcript[-1]["text"]) // 4 + 1
        self._stream.update(session.id, "usage_update", used=size, size=100_000)
        usage = {
            "inputTokens": size - answer if size > answer else 0,
            "outputTokens": answer,
            "totalTokens": size,
        }
        return {"stopReason": reason, "usage": usage}


def _directory(params: Json) -> str:
    return str(params.get("cwd") or os.getcwd())


def _refuse(problem: str) -> NoReturn:
    raise RpcError(-32602, problem)


def _option(name: str, label: str, current: str, choices: tuple[tuple[str, str], ...]) -> Json:
    options = [{"value": value, "name": value, "description": text} for value, text in choices]
    return {
        "id": name,
        "name": label,
        "category": name,
        "type": "select",
        "currentValue": current,
        "options": options,
    }


if __name__ == "__main__":
    try:
        DemoAgent().serve()
    except (KeyboardInterrupt, BrokenPipeError):
        pass
    os._exit(0)  # turns that still run end with us
