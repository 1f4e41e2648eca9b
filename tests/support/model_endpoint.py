"""A model on loopback for real agents: OpenAI chat completions and Anthropic messages, streamed,
answered from the prompt itself.

What it answers follows from the last message alone, so any number of agents may share it:

| the prompt contains | the answer |
| --- | --- |
| `run: <command>` | a thought, a sentence, a shell call; then `Output: <result>` |
| `hold` | begins to speak, and ends when the test calls `release()` |
| `fail` | status 400 with an error |
| anything else | `You said: <last line of the prompt>` |

`python model.py [PORT]` serves until it is ended and prints its URL.
"""

from __future__ import annotations

import json
import re
import sys
import threading
import uuid
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from attrs import frozen


@frozen
class Thought:
    text: str


@frozen
class Text:
    text: str


@frozen
class Shell:
    command: str


@frozen
class Hold:
    """Wait for `release()`, 120 s at most."""


@frozen
class Fail:
    message: str


Step = Thought | Text | Shell | Hold | Fail


def text_of(content: Any) -> str:
    """The last text in a message's content, a string or a list of parts; what agents add for the
    model alone is passed over."""
    if isinstance(content, str):
        return content
    texts = [
        part.get("text", "")
        for part in content or []
        if isinstance(part, dict) and part.get("type") == "text"
    ]
    return next(
        (text for text in reversed(texts) if not text.lstrip().startswith("<system-reminder>")), ""
    )


def tool_output(message: dict[str, Any]) -> str | None:
    """What the tool said, if `message` brings the result of a tool call."""
    content = message.get("content")
    if message.get("role") == "tool":
        return text_of(content)
    if isinstance(content, list):
        for part in content:
            if isinstance(part, dict) and part.get("type") == "tool_result":
                return text_of(part.get("content"))
    return None


def answer(request: dict[str, Any]) -> list[Step]:
    """What to say to a request of either API."""
    last = [
        message for message in request["messages"] if message["role"] not in ("system", "developer")
    ][-1]
    output = tool_output(last)
    if output is not None:
        return [Text(f"Output: {output.strip()}")]
    prompt = text_of(last.get("content")).strip()
    if shell_tool(request) is None:
        return [Text("A short title")]
    if "fail" in prompt:
        return [Fail("the model is out of order")]
    if "hold" in prompt:
        return [Text("Holding "), Hold(), Text("and released.")]
    if found := re.search(r"run: *(.+)", prompt):
        return [Thought("A command is wanted."), Text("I will run it."), Shell(found[1])]
    return [
        Thought("Nothing to do but answer."),
        Text(f"You said: {(prompt.splitlines() or [''])[-1]}"),
    ]


def shell_tool(request: dict[str, Any]) -> str | None:
    """The name that the agent gave to its shell tool."""
    names = [
        tool.get("name") or tool.get("function", {}).get("name", "")
        for tool in request.get("tools") or []
    ]
    return next((name for name in names if name.lower() in ("bash", "shell")), None)


def openai_stream(request: dict[str, Any], steps: list[Step], model: Model) -> Iterator[bytes]:
    base = {
        "id": f"chatcmpl-{uuid.uuid4().hex}",
        "object": "chat.completion.chunk",
        "created": 0,
        "model": request["model"],
    }

    def chunk(delta: dict[str, Any], finish: str | None = None) -> bytes:
        return sse({**base, "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]})

    yield chunk({"role": "assistant", "content": ""})
    finish = "stop"
    for step in steps:
        match step:
            case Thought(text):
                yield chunk({"reasoning_content": text})
            case Text(text):
                yield from (chunk({"content": piece}) for piece in pieces(text))
            case Hold():
                model.wait()
            case Shell(command):
                finish = "tool_calls"
                call = {"name": shell_tool(request), "arguments": json.dumps(shell_input(command))}
                given = {
                    "index": 0,
                    "id": f"call_{uuid.uuid4().hex[:12]}",
                    "type": "function",
                    "function": call,
                }
                yield chunk({"tool_calls": [given]})
    yield chunk({}, finish)
    yield sse(
        {
            **base,
            "choices": [],
            "usage": {"prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 120},
        }
    )
    yield b"data: [DONE]\n\n"


def anthropic_stream(request: dict[str, Any], steps: list[Step], model: Model) -> Iterator[bytes]:
    def event(kind: str, **fields: Any) -> bytes:
        return f"event: {kind}\n".encode() + sse({"type": kind, **fields})

    message = {
        "id": f"msg_{uuid.uuid4().hex}",
        "type": "message",
        "role": "assistant",
        "model": request["model"],
        "content": [],
    }
    usage = {
        "input_tokens": 100,
        "output_tokens": 1,
        "cache_read_input_tokens": 0,
        "cache_creation_input_tokens": 0,
    }
    yield event(
        "message_start",
        message={**message, "stop_reason": None, "stop_sequence": None, "usage": usage},
    )
    stop, index = "end_turn", 0
    for step in steps:
        match step:
            case Thought(text):
                block = {"type": "thinking", "thinking": "", "signature": ""}
                deltas = [
                    {"type": "thinking_delta", "thinking": text},
                    {"type": "signature_delta", "signature": "c2lnbmVk"},
                ]
            case Text(text):
                block, deltas = (
                    {"type": "text", "text": ""},
                    [{"type": "text_delta", "text": piece} for piece in pieces(text)],
                )
            case Shell(command):
                stop = "tool_use"
                block = {
                    "type": "tool_use",
                    "id": f"toolu_{uuid.uuid4().hex[:20]}",
                    "name": shell_tool(request),
                    "input": {},
                }
                deltas = [
                    {"type": "input_json_delta", "partial_json": json.dumps(shell_input(command))}
                ]
            case _:
                model.wait()
                continue
        yield event("content_block_start", index=index, content_block=block)
        for delta in deltas:
            yield event("content_block_delta", index=index, delta=delta)
        yield event("content_block_stop", index=index)
        index += 1
    yield event(
        "message_delta",
        delta={"stop_reason": stop, "stop_sequence": None},
        usage={"output_tokens": 20},
    )
    yield event("message_stop")


def sse(value: dict[str, Any]) -> bytes:
    return f"data: {json.dumps(value)}\n\n".encode()


def pieces(text: str) -> list[str]:
    return re.findall(r"\S*\s*", text)[:-1] or [text]


def shell_input(command: str) -> dict[str, str]:
    return {"command": command, "description": "what the test asked for"}


class Model:
    """The endpoint, serving from a thread of its own between `start` and `stop`; a context manager
    too."""

    def __init__(self, port: int = 0) -> None:
        self.requests: list[dict[str, Any]] = []
        self.holding = threading.Event()  # somebody waits for `release`
        self._released = threading.Event()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_HEAD(self) -> None:
                self._reply(200, b"")

            def do_GET(self) -> None:
                self._reply(404, b"{}")

            def do_POST(self) -> None:
                body = json.loads(
                    self.rfile.read(int(self.headers.get("content-length") or 0)) or b"{}"
                )
                path = self.path.split("?")[0]
                if path.endswith("/count_tokens"):
                    self._reply(200, b'{"input_tokens": 100}')
                elif not path.endswith(("/chat/completions", "/messages")) or not body.get(
                    "messages"
                ):
                    self._reply(404, b"{}")
                else:
                    outer.requests.append(body)
                    self._answer(
                        body, openai_stream if path.endswith("completions") else anthropic_stream
                    )

            def _answer(self, body: dict[str, Any], stream: Any) -> None:
                steps = answer(body)
                for step in steps:
                    if isinstance(step, Fail):
                        kind = "invalid_request_error"
                        self._reply(
                            400,
                            json.dumps(
                                {"type": "error", "error": {"type": kind, "message": step.message}}
                            ).encode(),
                        )
                        return
                self.send_response(200)
                self.send_header("content-type", "text/event-stream")
                self.send_header("connection", "close")
                self.end_headers()
                self.close_connection = True
                try:
                    for part in stream(body, steps, outer):
                        self.wfile.write(part)
                        self.wfile.flush()
                except OSError:
                    return  # the agent was aborted

            def _reply(self, status: int, body: bytes) -> None:
                self.send_response(status)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                """Quiet: what came in is in `requests`."""

        self._server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(
            target=self._server.serve_forever, name="model", daemon=True
        )

    def start(self) -> Model:
        self._thread.start()
        return self

    def stop(self) -> None:
        self.release()
        self._server.shutdown()
        self._server.server_close()

    __enter__ = start

    def __exit__(self, *_: object) -> None:
        self.stop()

    def wait(self) -> None:
        self.holding.set()
        self._released.wait(120)

    def release(self) -> None:
        """Let everybody who holds go on, from now on without holding."""
        self._released.set()

    def hold_again(self) -> None:
        self._released.clear()
        self.holding.clear()


LIMIT = {"context": 100000, "output": 8000}  # tokens


def opencode_settings(url: str, ask: bool = True) -> dict[str, Any]:
    """What `opencode.json` must say so that OpenCode asks this model, and the user before every
    command."""
    return {
        "$schema": "https://opencode.ai/config.json",
        "autoupdate": False,
        "share": "disabled",
        "model": "scripted/plain",
        "small_model": "scripted/plain",
        "permission": {"bash": "ask" if ask else "allow"},
        "provider": {
            "scripted": {
                "npm": "@ai-sdk/openai-compatible",
                "name": "Scripted",
                "options": {"baseURL": f"{url}/v1", "apiKey": "none"},
                "models": {
                    "plain": {
                        "name": "Plain",
                        "limit": LIMIT,
                        "reasoning": True,
                        "tool_call": True,
                    },
                    "other": {"name": "Other", "limit": LIMIT, "tool_call": True},
                },
            }
        },
    }


if __name__ == "__main__":
    with Model(int(sys.argv[1]) if len(sys.argv) > 1 else 0) as served:
        print(served.url, flush=True)
        threading.Event().wait()
