"""The built-in demo agent: speaks ACP on stdio and shows what a session can do, on a machine without any coding agent.

Run as `python -m hapi.session.demo`. Standard library only, so that it is there at once. It has no model: it answers from what
the prompt says, asks before it runs one of a few harmless commands (without a shell), and keeps its conversations in files
below HAPI_HOME, so that they can be resumed.
"""

from __future__ import annotations

import json
import os
import re
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, NoReturn

from hapi.session.demotext import MODELS, MODES, PLAN, SLASH, abilities, command_in, pieces

Json = dict[str, Any]
PAUSE = {"swift": 0.01, "thorough": 0.06}  # seconds between two pieces of text
COMMAND_SECONDS, OUTPUT_LIMIT = 20.0, 32_000
KEPT = 100  # conversations; the oldest go first
_ID = re.compile(r"demo-[0-9a-f]{16}")


class Cancelled(Exception):
    """The user stopped the turn."""


class Refused(Exception):
    """Becomes a JSON-RPC error."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


class Wire:
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

    def update(self, session: Session, kind: str, /, **fields: Any) -> None:
        self.send({"method": "session/update", "params": {"sessionId": session.id, "update": {"sessionUpdate": kind, **fields}}})

    def ask(self, method: str, params: Json, answered: Callable[[Json], None]) -> None:
        with self._lock:
            self._next += 1
            number = self._next
            self._waiting[number] = answered
        self.send({"id": number, "method": method, "params": params})

    def answered(self, message: Json) -> None:
        answered = self._waiting.pop(message.get("id", -1), None)
        if answered is not None:
            answered(message)


class Session:
    """One conversation."""

    def __init__(self, wire: Wire, session_id: str, cwd: str) -> None:
        self.id, self.cwd, self._wire = session_id, cwd, wire
        self.mode, self.model = "default", "swift"
        self.cancelled, self._wake = threading.Event(), threading.Event()
        self._outcome: Json = {}
        self._always: set[str] = set()
        self._calls = 0
        self.said: list[Json] = []
        self.busy = False

    # --- memory
    def load(self) -> None:
        with open(transcript_path(self.id), encoding="utf-8") as file:
            self.said = [json.loads(line) for line in file]

    def remember(self, role: str, text: str) -> None:
        self.said.append({"role": role, "text": text})
        path = transcript_path(self.id)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(json.dumps(self.said[-1]) + "\n")

    # --- speaking
    def pause(self, seconds: float) -> None:
        if self.cancelled.wait(seconds):
            raise Cancelled

    def say(self, text: str) -> str:
        for piece in pieces(text):
            self._wire.update(self, "agent_message_chunk", content={"type": "text", "text": piece})
            self.pause(PAUSE[self.model])
        return text

    def think(self, text: str) -> None:
        for piece in pieces(text):
            self._wire.update(self, "agent_thought_chunk", content={"type": "text", "text": piece})
            self.pause(PAUSE[self.model] / 2)

    def plan(self, done: int) -> None:
        states = ["completed"] * done + ["in_progress"] + ["pending"] * len(PLAN)
        entries = [
            {"content": text, "priority": priority, "status": state}
            for (text, priority), state in zip(PLAN, states, strict=False)
        ]
        self._wire.update(self, "plan", entries=entries)

    # --- acting
    def run(self, argv: list[str]) -> str:
        """Ask, run, report; what to say about it."""
        self._calls += 1
        line, call_id = " ".join(argv), f"call-{len(self.said)}-{self._calls}"
        call: Json = {"toolCallId": call_id, "title": f"Shell: {line}", "kind": "execute", "rawInput": {"command": line}}
        self._wire.update(self, "tool_call", status="pending", **call)
        if self.mode != "bypassPermissions" and argv[0] not in self._always and not self._allowed(call, argv[0]):
            self._wire.update(self, "tool_call_update", toolCallId=call_id, status="failed", rawOutput="The user said no.")
            return f"Then I leave `{line}` alone."
        self._wire.update(self, "tool_call_update", toolCallId=call_id, status="in_progress")
        code, output = self._execute(argv)
        status = "completed" if code == 0 else "failed"
        content = [{"type": "content", "content": {"type": "text", "text": output}}]
        self._wire.update(self, "tool_call_update", toolCallId=call_id, status=status, content=content)
        count = len(output.splitlines())
        return f"`{line}` ended with {code} and wrote {count} line{'' if count == 1 else 's'}."

    def _allowed(self, call: Json, program: str) -> bool:
        options = [
            {"optionId": "once", "kind": "allow_once", "name": "Allow"},
            {"optionId": "always", "kind": "allow_always", "name": f"Always allow {program}"},
            {"optionId": "no", "kind": "reject_once", "name": "Reject"},
        ]
        self._wake.clear()
        params = {"sessionId": self.id, "toolCall": {**call, "status": "pending"}, "options": options}
        self._wire.ask("session/request_permission", params, self._permission_answered)
        while not (self._wake.wait(0.5) or self.cancelled.is_set()):
            pass
        outcome = self._outcome
        if self.cancelled.is_set() or outcome.get("outcome") != "selected":
            raise Cancelled
        if outcome.get("optionId") == "always":
            self._always.add(program)
        return outcome.get("optionId") in ("once", "always")

    def _permission_answered(self, message: Json) -> None:
        result = message.get("result")
        outcome = result.get("outcome") if isinstance(result, dict) else None
        self._outcome = outcome if isinstance(outcome, dict) else {}
        self._wake.set()

    def cancel(self) -> None:
        self.cancelled.set()
        self._wake.set()

    def _execute(self, argv: list[str]) -> tuple[int, str]:
        import subprocess

        try:
            child = subprocess.Popen(
                argv, cwd=self.cwd, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
            )
        except OSError as error:
            return 127, f"{argv[0]}: {error.strerror}"
        deadline = time.monotonic() + COMMAND_SECONDS
        said: list[bytes] = []
        reader = threading.Thread(target=lambda: said.append(child.stdout.read()), daemon=True)  # type: ignore[union-attr]
        reader.start()
        while child.poll() is None:
            if self.cancelled.wait(0.01) or time.monotonic() > deadline:
                child.kill()
        reader.join(1.0)
        if self.cancelled.is_set():
            raise Cancelled
        return child.returncode, b"".join(said)[:OUTPUT_LIMIT].decode(errors="replace").rstrip("\n")

    # --- one turn
    def answer(self, prompt: str) -> None:
        first = not any(entry["role"] == "agent" for entry in self.said)
        self.remember("user", prompt)
        said: list[str] = []
        try:
            for sentence in self._answer(prompt, first):
                said.append(self.say(sentence))
        finally:
            if said:
                self.remember("agent", "".join(said))

    def _answer(self, prompt: str, first: bool) -> Iterator[str]:
        words = prompt.strip().lower()
        argv, why_not = command_in(prompt)
        if re.search(r"\bfail\b", words):
            raise Refused(-32603, "The demo agent was asked to fail")
        if found := re.search(r"count to (\d{1,4})", words):
            for number in range(1, int(found[1]) + 1):
                yield f"{number} "
                self.pause(0.1)
            return
        if why_not is not None:
            self.think("That is none of the commands I may run.")
            yield why_not
        elif argv is not None:
            yield from self._with_command(argv)
        elif re.search(r"\bplan\b", words):
            self.think("A plan helps.")
            self.plan(0)
            yield "This is how I would go about it. In plan mode I would stop here."
        elif re.search(r"\bmode\b", words):
            yield f"I am in the mode `{self.mode}`, with the model `{self.model}`."
        elif re.search(r"\b(said|say|remember|history)\b", words):
            earlier = [entry["text"] for entry in self.said[:-1] if entry["role"] == "user"]
            yield "You said: " + "; ".join(f"“{text}”" for text in earlier) + "." if earlier else "You said nothing before."
        elif first or re.search(r"\b(tour|show|everything)\b", words):
            yield from self._tour()
        else:
            self.think("Nothing to do but answer.")
            yield f"You said: {prompt.strip().splitlines()[-1] if prompt.strip() else 'nothing'}\n\n"
            yield abilities(self.mode)

    def _tour(self) -> Iterator[str]:
        self.think("Somebody new. I show a thought, a plan, a question and a command.")
        yield "Hello! I am the demo agent of HAPI. Watch: first a plan, then I ask you before I look into this directory.\n\n"
        self.plan(0)
        if self.mode == "plan":
            yield "In plan mode I only plan. "
        else:
            yield from self._with_command(["ls", "-a"])
        yield "\n\n" + abilities(self.mode)

    def _with_command(self, argv: list[str]) -> Iterator[str]:
        if self.mode == "plan":
            self.plan(0)
            yield f"In plan mode I run nothing. Otherwise I would run `{' '.join(argv)}`. "
            return
        self.think("A command is wanted; I ask before I run it.")
        self.plan(1)
        said = self.run(argv)
        self.plan(len(PLAN))
        yield said


class Demo:
    """The agent: reads calls, answers them, runs turns in threads."""

    def __init__(self) -> None:
        self._wire = Wire()
        self._sessions: dict[str, Session] = {}
        self._calls: dict[str, Callable[[Json], Any]] = {
            "initialize": self._initialize,
            "authenticate": lambda params: {},
            "session/new": self._new,
            "session/load": self._load,
            "session/set_mode": self._set_mode,
            "session/set_config_option": self._set_option,
        }

    def serve(self) -> None:
        """Until the client closes our standard input."""
        for line in sys.stdin.buffer:
            try:
                message = json.loads(line)
            except ValueError:
                self._wire.send({"id": None, "error": {"code": -32700, "message": "Parse error"}})
                continue
            if isinstance(message, dict):
                self._take(message)
        for session in self._sessions.values():
            session.cancel()

    def _take(self, message: Json) -> None:
        method, number, params = message.get("method"), message.get("id"), message.get("params")
        params = params if isinstance(params, dict) else {}
        if method is None:
            self._wire.answered(message)
        elif method == "session/cancel":
            if session := self._sessions.get(str(params.get("sessionId"))):
                session.cancel()
        elif method == "session/prompt":
            self._begin(number, params)
        elif number is not None:
            self._reply(number, lambda: self._call(str(method), params))

    def _call(self, method: str, params: Json) -> Any:
        if method not in self._calls:
            raise Refused(-32601, f"Method not found: {method}")
        return self._calls[method](params)

    def _reply(self, number: Any, make: Callable[[], Any]) -> None:
        try:
            reply: Json = {"id": number, "result": make()}
        except Refused as problem:
            reply = {"id": number, "error": {"code": problem.code, "message": str(problem)}}
        except Exception as problem:
            reply = {"id": number, "error": {"code": -32603, "message": f"{type(problem).__name__}: {problem}"}}
        self._wire.send(reply)

    def _initialize(self, params: Json) -> Json:
        return {
            "protocolVersion": 1,
            "agentCapabilities": {"loadSession": True, "promptCapabilities": {"embeddedContext": True}},
            "agentInfo": {"name": "hapi-demo", "title": "HAPI demo agent", "version": "1"},
            "authMethods": [],
        }

    def _new(self, params: Json) -> Json:
        session = self._open(f"demo-{os.urandom(8).hex()}", params)
        return {"sessionId": session.id, **self._settings(session)}

    def _load(self, params: Json) -> Json:
        session_id = str(params.get("sessionId"))
        if _ID.fullmatch(session_id) is None or not os.path.exists(transcript_path(session_id)):
            raise Refused(-32602, f"There is no conversation {session_id}")
        session = self._open(session_id, params)
        session.load()
        for entry in session.said:
            kind = "user_message_chunk" if entry["role"] == "user" else "agent_message_chunk"
            self._wire.update(session, kind, content={"type": "text", "text": entry["text"]})
        return self._settings(session)

    def _open(self, session_id: str, params: Json) -> Session:
        session = Session(self._wire, session_id, str(params.get("cwd") or os.getcwd()))
        self._sessions[session_id] = session
        commands = [{"name": name, "description": description} for name, description in SLASH]
        threading.Timer(0.05, self._wire.update, (session, "available_commands_update"), {"availableCommands": commands}).start()
        return session

    def _settings(self, session: Session) -> Json:
        modes = [{"id": name, "name": name, "description": text} for name, text in MODES]
        return {
            "modes": {"currentModeId": session.mode, "availableModes": modes},
            "configOptions": [
                _option("mode", "Mode", session.mode, MODES),
                _option("model", "Model", session.model, MODELS),
            ],
        }

    def _session(self, params: Json) -> Session:
        found = self._sessions.get(str(params.get("sessionId")))
        if found is None:
            raise Refused(-32602, "No such session")
        return found

    def _set_mode(self, params: Json) -> Json:
        session = self._session(params)
        if params.get("modeId") not in dict(MODES):
            raise Refused(-32602, f"There is no mode {params.get('modeId')}")
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
                raise Refused(-32602, f"There is no {params.get('configId')} {value}")
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
        text = "\n".join(str(block.get("text", "")) for block in blocks or () if isinstance(block, dict))
        threading.Thread(target=self._reply, args=(number, lambda: self._turn(session, text)), daemon=True).start()

    def _turn(self, session: Session, text: str) -> Json:
        try:
            session.answer(text)
            reason = "end_turn"
        except Cancelled:
            reason = "cancelled"
        finally:
            session.busy = False
        size = sum(len(entry["text"]) for entry in session.said) // 4 + 1  # four letters a token, as a rule of thumb
        answer = len(session.said[-1]["text"]) // 4 + 1
        self._wire.update(session, "usage_update", used=size, size=100_000)
        usage = {"inputTokens": size - answer if size > answer else 0, "outputTokens": answer, "totalTokens": size}
        return {"stopReason": reason, "usage": usage}


def _refuse(problem: str) -> NoReturn:
    raise Refused(-32602, problem)


def _option(name: str, label: str, current: str, choices: tuple[tuple[str, str], ...]) -> Json:
    options = [{"value": value, "name": value, "description": text} for value, text in choices]
    return {"id": name, "name": label, "category": name, "type": "select", "currentValue": current, "options": options}


def transcript_path(session_id: str) -> str:
    """Below HAPI_HOME, else in the user's state directory; made private, the oldest conversations cleared away."""
    home = os.environ.get("HAPI_HOME")
    state = os.environ.get("XDG_STATE_HOME") or os.path.expanduser("~/.local/state")
    directory = os.path.join(home, "demo") if home else os.path.join(state, "hapi", "demo")
    path = os.path.join(directory, f"{session_id}.jsonl")
    if not os.path.exists(path):
        os.makedirs(directory, mode=0o700, exist_ok=True)
        found = sorted(
            (entry for entry in os.scandir(directory) if _ID.match(entry.name)), key=lambda entry: entry.stat().st_mtime
        )
        for entry in found[: max(0, len(found) - KEPT)]:
            os.unlink(entry.path)
    return path


if __name__ == "__main__":
    try:
        Demo().serve()
    except (KeyboardInterrupt, BrokenPipeError):
        pass
    os._exit(0)  # turns that still run end with us
