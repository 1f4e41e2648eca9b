"""A model on loopback for real agents: OpenAI chat completions and responses, Anthropic messages
and Gemini, answered from the prompt itself.

What it answers follows from the last message alone, so any number of agents may share it:

| the prompt contains | the answer |
| --- | --- |
| `run: <command>` | a thought, a sentence, a shell call; then `Output: <result>` |
| `write: <path> <text>` | a call of the tool that writes files or applies patches |
| `read: <path>` | a call of the tool that reads files |
| `edit: <path> <old>=><new>` | a call of the tool that edits files or applies patches |
| `ask: <question>` | a question with the answers Red and Blue, if there is a tool for it |
| `count: <n>` | n words, 50 ms apart |
| `plan: <title>` | a plan in Markdown with that title, for the tool that presents plans |
| `hold` | begins to speak, and ends when the test calls `release()` |
| `Please go on with` | the answer to the prompt before |
| `fail with 401` (403, 404, 429, 500, 529) | that status and the error of a provider |
| `fail with quota` | status 429 and the error of an account without credit |
| `fail with context` | status 400 and the error of a prompt that is too long |
| `fail with garbage` | status 200 and no stream of any kind |
| `fail with hangup` | the connection ends in the middle of the answer |
| `fail` | status 400 with an error |
| anything else | `You said: <last line of the prompt>`, with the number of pictures in it, if any |

`python model_endpoint.py [PORT]` serves until it is ended and prints its URL.
"""

from __future__ import annotations

import gzip
import json
import re
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.support.model_requests import Json, Request, read_request
from tests.support.model_streams import Call, Fail, Hold, Pace, Step, Text, Thought, stream, whole

# The names that agents give to tools of one kind, the usual one first.
SHELLS = (
    *("bash", "shell", "exec_command", "run_shell_command", "execute", "shell_command", "terminal"),
    *("run_command", "execute_command"),
)
WRITERS = ("write", "write_file", "writefile", "create", "create_file")
READERS = ("read", "read_file", "readfile", "view", "read_text_file")
EDITORS = ("edit", "replace", "edit_file", "search_replace", "strreplacefile", "str_replace")
PATCHERS = ("apply_patch",)
ASKERS = ("askuserquestion", "ask_user_question", "ask_user", "question", "request_user_input")
PLANNERS = ("exitplanmode", "exit_plan_mode")
GO_ON = "Please go on with"
MODELS = ("plain", "other", "gpt-5.5")


def answer(request: Request) -> list[Step]:
    """What to say to a request."""
    if request.output is not None:
        return [Text(f"Output: {request.output.strip()}")]
    if request.wanted is not None and not request.tools:
        return [Text(json.dumps(example(request.wanted)))]
    prompt = request.prompt
    if GO_ON in prompt:
        prompt = next((said for said in reversed(request.prompts) if GO_ON not in said), prompt)
    if shell_tool(request) is None:
        return [Text("A short title")]
    if found := re.search(r"fail with (\w+)", prompt):
        return [FAILURES[found[1]]]
    if "fail" in prompt:
        return [Fail(400, "the model is out of order")]
    if "hold" in prompt:
        return [Text("Holding "), Hold(), Text("and released.")]
    if found := re.search(r"(?m)^.*?\b(run|write|read|edit|ask|count|plan): *(.+)$", prompt):
        return [Thought("A tool is wanted."), *steps_for(request, found[1], found[2].strip())]
    pictures = f" ({request.pictures} pictures)" if request.pictures else ""
    last = (prompt.splitlines() or [""])[-1]
    return [Thought("Nothing to do but answer."), Text(f"You said: {last}{pictures}")]


FAILURES = {
    "401": Fail(401, "Incorrect API key provided: none", "authentication_error"),
    "403": Fail(403, "Your account may not use this model", "permission_error"),
    "404": Fail(404, "The model `plain` does not exist", "not_found_error"),
    "429": Fail(429, "Rate limit reached, please try again in 20s", "rate_limit_error"),
    "quota": Fail(
        429,
        "You exceeded your current quota, please check your plan and billing details",
        "insufficient_quota",
    ),
    "500": Fail(500, "The server had an error while processing the request", "api_error"),
    "529": Fail(529, "Overloaded", "overloaded_error"),
    "context": Fail(
        400, "prompt is too long: 250000 tokens > 200000 maximum", "invalid_request_error"
    ),
    "garbage": Fail(200, "<html><body><h1>Sign in to the Wi-Fi</h1></body></html>", "garbage"),
    "hangup": Fail(200, "", "hangup"),
}


def steps_for(request: Request, verb: str, rest: str) -> list[Step]:
    path, _, text = rest.partition(" ")
    match verb:
        case "count":
            return [Text("".join(f"word{number} " for number in range(int(rest))), 0.05)]
        case "run":
            known = {("command", "cmd", "commands"): rest}
            # Codex asks only before commands that shall leave its sandbox.
            known |= {("sandbox_permissions",): "require_escalated", ("justification",): "A test"}
            call = call_of(request, SHELLS, known)
            return [Text("I will run it."), *call]
        case "plan":
            plan = f"# {rest}\n\n1. **First** step\n2. Second step in `a.txt`\n"
            return call_of(request, PLANNERS, {("plan",): plan})
        case "read":
            return call_of(request, READERS, {PATHS: rest})
        case "write":
            known = {PATHS: path, ("content", "contents", "file_text", "text"): f"{text}\n"}
            return call_of(request, WRITERS, known) or patched(
                request, f"*** Add File: {path}\n+{text}"
            )
        case "edit":
            old, _, new = text.partition("=>")
            known = {
                PATHS: path,
                ("old_string", "oldString", "old_str", "old_text"): old,
                ("new_string", "newString", "new_str", "new_text"): new,
                ("edit",): {"old": old, "new": new},
                ("content",): f"<<<<<<< SEARCH\n{old}\n=======\n{new}\n>>>>>>> REPLACE",
            }
            return call_of(request, EDITORS, known) or patched(
                request, f"*** Update File: {path}\n@@\n-{old}\n+{new}"
            )
    return asked(request, rest)


PATHS = ("file_path", "filePath", "path", "absolute_path")


def call_of(
    request: Request, names: tuple[str, ...], known: dict[tuple[str, ...], Any]
) -> list[Step]:
    """A call of the first tool that has one of the names; [] if the agent has none."""
    name = tool_named(request, names)
    if name is None:
        return []
    schema = request.tools[name]
    properties, given = schema.get("properties") or {}, {}
    for spellings, value in known.items():
        for spelling in spellings:
            if spelling in properties:
                is_list = properties[spelling].get("type") == "array"
                as_list = ["bash", "-lc", value] if is_list and isinstance(value, str) else value
                given[spelling] = as_list
                break
    for missing in set(schema.get("required") or []) - set(given):
        given[missing] = example(properties.get(missing) or {})
    return [Call(name, given)]


def patched(request: Request, change: str) -> list[Step]:
    patch = f"*** Begin Patch\n{change}\n*** End Patch\n"
    name = tool_named(request, PATCHERS)
    if name is None:
        return [Text(f"There is no tool for it among {', '.join(request.tools)}")]
    if name in request.free_form:
        return [Call(name, {}, patch)]
    return call_of(request, PATCHERS, {("input", "patch", "patchText"): patch})


def asked(request: Request, question: str) -> list[Step]:
    name = tool_named(request, ASKERS)
    if name is None:
        return [Text("There is no tool to ask with")]
    options = [{"label": label, "description": label} for label in ("Red", "Blue")]
    whole_question = {
        "id": "colour",
        "question": question,
        "header": "Colour",
        "options": options,
        "multiSelect": False,
        "multiple": False,
        "type": "choice",
    }
    properties = request.tools[name].get("properties") or {}
    if "questions" not in properties:
        return [Call(name, {"question": question, "options": ["Red", "Blue"]})]
    allowed = (properties["questions"].get("items") or {}).get("properties") or whole_question
    return [
        Call(
            name,
            {"questions": [{key: whole_question[key] for key in whole_question if key in allowed}]},
        )
    ]


def tool_named(request: Request, names: tuple[str, ...]) -> str | None:
    by_name = {name.lower(): name for name in request.tools}
    return next((by_name[name] for name in names if name in by_name), None)


def shell_tool(request: Request) -> str | None:
    """The name that the agent gave to its shell tool."""
    return tool_named(request, SHELLS)


def example(schema: Json) -> Any:
    """A value that the JSON schema accepts."""
    if schema.get("enum"):
        return schema["enum"][0]
    properties = schema.get("properties") or {}
    if properties:
        return {name: example(part) for name, part in properties.items()}
    kind = schema.get("type")
    plain: dict[str, Any] = {"boolean": False, "number": 1, "integer": 1, "array": [], "object": {}}
    return plain.get(str(kind).lower(), "scripted")


class Model:
    """The endpoint, serving from a thread of its own between `start` and `stop`; a context manager
    too. `requests` are the bodies that came in, `asked` the same as `Request`."""

    def __init__(self, port: int = 0) -> None:
        self.requests: list[dict[str, Any]] = []
        self.asked: list[Request] = []
        self.holding = threading.Event()  # somebody waits for `release`
        self._released = threading.Event()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_HEAD(self) -> None:
                self._reply(200, b"")

            def do_GET(self) -> None:
                if self.path.split("?")[0].endswith("/models"):
                    self._reply(200, json.dumps(model_list()).encode())
                else:
                    self._reply(404, b"{}")

            def do_POST(self) -> None:
                body, path = self._body(), self.path.split("?")[0]
                if path.endswith(("/count_tokens", ":countTokens")):
                    self._reply(200, b'{"input_tokens": 100, "totalTokens": 100}')
                    return
                request = read_request(path, body)
                if request is None:
                    self._reply(404, b"{}")
                    return
                outer.requests.append(body)
                outer.asked.append(request)
                self._answer(request)

            def _body(self) -> Json:
                if "chunked" in (self.headers.get("transfer-encoding") or ""):
                    raw = b"".join(iter(self._chunk, b""))
                else:
                    raw = self.rfile.read(int(self.headers.get("content-length") or 0))
                if "gzip" in (self.headers.get("content-encoding") or ""):
                    raw = gzip.decompress(raw)
                value = json.loads(raw or b"{}")
                return value if isinstance(value, dict) else {}

            def _chunk(self) -> bytes:
                size = int(self.rfile.readline().split(b";")[0].strip() or b"0", 16)
                data = self.rfile.read(size)
                self.rfile.readline()
                return data

            def _answer(self, request: Request) -> None:
                steps = answer(request)
                for step in steps:
                    if isinstance(step, Fail):
                        self._fail(step)
                        return
                if not request.streamed:
                    self._reply(200, json.dumps(whole(request, steps)).encode())
                    return
                self.send_response(200)
                self.send_header("content-type", "text/event-stream")
                self.send_header("connection", "close")
                self.end_headers()
                self.close_connection = True
                try:
                    for part in stream(request, steps, Pace(outer.wait, time.sleep)):
                        self.wfile.write(part)
                        self.wfile.flush()
                except OSError:
                    return  # the agent was aborted

            def _fail(self, step: Fail) -> None:
                if step.kind == "garbage":
                    self._reply(step.status, step.message.encode(), "text/html")
                elif step.kind == "hangup":
                    self.send_response(step.status)
                    self.send_header("content-type", "text/event-stream")
                    self.send_header("content-length", "100000")
                    self.end_headers()
                    self.close_connection = True
                else:
                    error = {"type": step.kind, "message": step.message, "code": step.status}
                    told = {"type": "error", "error": error}
                    self._reply(step.status, json.dumps(told).encode())

            def _reply(self, status: int, body: bytes, kind: str = "application/json") -> None:
                self.send_response(status)
                self.send_header("content-type", kind)
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


def model_list() -> Json:
    """The models, in the words of OpenAI, Anthropic and Gemini at once."""
    listed = [
        {"id": name, "object": "model", "type": "model", "display_name": name, "created": 1}
        for name in MODELS
    ]
    gemini = [
        {"name": f"models/{name}", "supportedGenerationMethods": ["generateContent"]}
        for name in MODELS
    ]
    return {"object": "list", "data": listed, "models": gemini, "has_more": False}


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
