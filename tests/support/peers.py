"""The programs of both makes, ours and npm's, behind one face; and a user of the hub's REST
interface."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import uuid
from collections.abc import Callable
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

from attrs import define, field

from tests.support.programs import ROOT, Program, Stage, free_port, until

OURS, NPM = "ours", "npm"
PEERS = Path(os.environ.get("HAPI_PEERS") or ROOT / ".cache/peers/node_modules").absolute()
NPM_HAPI = str(PEERS / ".bin/hapi")  # a small Node.js program that starts the next one
OPENCODE = PEERS / ".bin/opencode"
NPM_BINARY = str(next(iter(sorted(PEERS.glob("@twsxtd/hapi-*/bin/hapi"))), NPM_HAPI))
OUR_HAPI = [sys.executable, "-m", "hapi"]
Json = dict[str, Any]


class Refused(Exception):
    """The hub answered with a status of 400 or more."""

    def __init__(self, status: int, body: Any) -> None:
        super().__init__(f"{status}: {body}")
        self.status, self.body = status, body


@define(eq=False)
class User:
    """Somebody with the access token: logs in and speaks REST to a hub."""

    url: str
    token: str
    jwt: str = ""

    def login(self) -> User:
        self.jwt = self.call("POST", "/api/auth", {"accessToken": self.token})["token"]
        return self

    def call(self, method: str, path: str, body: Any = None, seconds: float = 40.0) -> Any:
        """The answer's JSON, or its text. Raises Refused, OSError."""
        where = urlsplit(self.url)
        connection = HTTPConnection(where.hostname or "", where.port, timeout=seconds)
        try:
            headers = {"Content-Type": "application/json"} | (
                {"Authorization": f"Bearer {self.jwt}"} if self.jwt else {}
            )
            connection.request(method, path, None if body is None else json.dumps(body), headers)
            answer = connection.getresponse()
            raw = answer.read()
        finally:
            connection.close()
        value = (
            json.loads(raw)
            if "json" in (answer.getheader("content-type") or "")
            else raw.decode(errors="replace")
        )
        if answer.status >= 400:
            raise Refused(answer.status, value)
        return value

    def get(self, path: str) -> Any:
        try:
            return self.call("GET", path)
        except ConnectionResetError:  # npm's hub sometimes drops a connection soon after its start
            return self.call("GET", path)

    def post(self, path: str, body: Any = None) -> Any:
        return self.call("POST", path, {} if body is None else body)

    # --- what a person does -----------------------------------------------------------------------

    def machines(self) -> list[Json]:
        return list(self.get("/api/machines")["machines"])

    def machine(self, machine_id: str) -> Json | None:
        return next((machine for machine in self.machines() if machine["id"] == machine_id), None)

    def session(self, session_id: str) -> Json:
        return dict(self.get(f"/api/sessions/{session_id}")["session"])

    def sessions(self) -> list[Json]:
        return list(self.get("/api/sessions")["sessions"])

    def spawn(
        self, machine_id: str, directory: Path, agent: str = "opencode", **options: Any
    ) -> Json:
        return dict(
            self.post(
                f"/api/machines/{machine_id}/spawn",
                {"directory": str(directory), "agent": agent, **options},
            )
        )

    def say(self, session_id: str, text: str) -> str:
        """Post a message; its local id."""
        local = str(uuid.uuid4())
        self.post(f"/api/sessions/{session_id}/messages", {"text": text, "localId": local})
        return local

    def messages(self, session_id: str) -> list[Json]:
        return list(self.get(f"/api/sessions/{session_id}/messages?limit=200")["messages"])

    def records(self, session_id: str) -> list[Json]:
        """What the agent said and did, oldest first, each with a `type`; Claude's own records
        brought to the same shape."""
        return [
            record
            for message in self.messages(session_id)
            for record in flatten(message["content"])
        ]

    def texts(self, session_id: str) -> list[str]:
        return [
            record["message"] for record in self.records(session_id) if record["type"] == "message"
        ]

    def started(
        self, machine_id: str, directory: Path, agent: str = "opencode", **options: Any
    ) -> str:
        """Spawn a session and wait until it is active: its id."""
        answer = self.spawn(machine_id, directory, agent, **options)
        assert answer["type"] == "success", answer
        until(
            lambda: self.session(answer["sessionId"])["active"], what="the session to become active"
        )
        return str(answer["sessionId"])

    def idle(self, session_id: str) -> None:
        """Wait for the turn's end: the agent's last word is `ready`."""
        until(
            lambda: self.records(session_id)[-1].get("event") == {"type": "ready"},
            what="the turn's end",
        )

    def heard(self, session_id: str, text: str, seconds: float = 180.0) -> None:
        """Wait until the agent has said exactly `text`."""
        until(lambda: text in self.texts(session_id), seconds, f"the answer {text!r}")

    def asked(self, session_id: str) -> tuple[str, Json]:
        """Wait for a permission request: its id and what it says."""
        return until(
            lambda: next(iter(self.requests(session_id).items()), None),
            what="the permission request",
        )

    def archived(self, session_id: str) -> Json:
        """Wait until the session is archived: its metadata."""
        return until(
            lambda: (
                (seen := self.session(session_id)["metadata"])["lifecycleState"] == "archived"
                and seen
            )
        )

    def requests(self, session_id: str) -> Json:
        return dict((self.session(session_id)["agentState"] or {}).get("requests") or {})

    def approve(self, session_id: str, request_id: str, decision: str = "approved") -> None:
        self.decide(session_id, request_id, "approve", decision=decision)

    def deny(self, session_id: str, request_id: str, decision: str = "denied") -> None:
        self.decide(session_id, request_id, "deny", decision=decision)

    def decide(self, session_id: str, request_id: str, verdict: str, **body: Any) -> None:
        """Answer a request; `verdict` is approve or deny."""
        path = f"/api/sessions/{session_id}/permissions/{quote(request_id, safe='')}/{verdict}"
        self.post(path, body)


def flatten(content: Any) -> list[Json]:
    """A stored message as records: `message`, `reasoning`, `tool-call`, `tool-call-result`, `user`,
    `event` and others."""
    inner = content.get("content")
    if content.get("role") == "user" and isinstance(inner, dict) and "text" in inner:
        return [{"type": "user", "message": inner["text"]}]
    if not isinstance(inner, dict):
        return [{"type": "unknown", "content": content}]
    if inner["type"] == "codex":
        return [dict(inner["data"])]
    if inner["type"] == "event":
        return [{"type": "event", "event": inner["data"]}]
    found = []
    for part in (inner.get("data") or {}).get("message", {}).get("content") or []:
        match part if isinstance(part, dict) else {"type": "text", "text": part}:
            case {"type": "text", "text": text}:
                found.append({"type": "message", "message": text})
            case {"type": "thinking", "thinking": text}:
                found.append({"type": "reasoning", "message": text})
            case {"type": "tool_use", "id": call, "name": name, "input": given}:
                found.append({"type": "tool-call", "callId": call, "name": name, "input": given})
            case {"type": "tool_result", "tool_use_id": call, "content": output}:
                found.append({"type": "tool-call-result", "callId": call, "output": output})
    return found


class Events(threading.Thread):
    """Listens to the hub's event stream; everything that came is in `seen`, oldest first."""

    def __init__(self, user: User, query: str = "all=true&visibility=visible") -> None:
        super().__init__(name="events", daemon=True)
        self.seen: list[Json] = []
        self.ended = threading.Event()
        where = urlsplit(user.url)
        self._connection = HTTPConnection(where.hostname or "", where.port, timeout=180)
        self._connection.request("GET", f"/api/events?{query}&token={user.jwt}")
        self._answer = self._connection.getresponse()
        self.start()

    def run(self) -> None:
        try:
            for line in self._answer:
                if line.startswith(b"data:"):
                    self.seen.append(json.loads(line[5:]))
        except (OSError, ValueError, HTTPException, AttributeError):
            pass  # closed by either side
        self.ended.set()

    def of(self, kind: str) -> list[Json]:
        return [event for event in self.seen if event["type"] == kind]

    def patches(self, session_id: str, key: str) -> list[Any]:
        """The values that `key` of the session took, as the stream told them."""
        updates = [
            event.get("data") or {}
            for event in self.of("session-updated")
            if event["sessionId"] == session_id
        ]
        return [data[key] for data in updates if key in data]

    def close(self) -> None:
        if self._connection.sock is not None:
            self._connection.sock.shutdown(2)


@define(eq=False)
class Running:
    """A hub or a runner that runs."""

    make: str
    program: Program
    home: Path

    @property
    def state(self) -> Json:
        """A runner's `runner.state.json`; {} if there is none."""
        try:
            return dict(json.loads((self.home / "runner.state.json").read_text()))
        except (OSError, ValueError):
            return {}

    @property
    def machine_id(self) -> str:
        return str(json.loads((self.home / "settings.json").read_text())["machineId"])

    def control(self, path: str, body: Any = None) -> Any:
        """POST to the runner's control port."""
        return User(f"http://127.0.0.1:{self.state['httpPort']}", "").post(path, body)


@define(eq=False)
class Cast(Stage):
    """A stage that knows how to start hubs, runners and sessions of either make."""

    token: str = ""
    environment: dict[str, str] = field(
        factory=dict
    )  # of runners and sessions: how agents are found and what they need

    def home(self, make: str, role: str) -> Path:
        path = self.directory(f"{make}-{role}")
        path.chmod(0o700)
        return path

    def hub(self, make: str, port: int | None = None, **environment: str) -> tuple[Running, User]:
        """Start a hub and log in."""
        home, port = self.home(make, "hub"), port or free_port()
        given = {
            "HAPI_HOME": str(home),
            "HAPI_LISTEN_HOST": "127.0.0.1",
            "HAPI_LISTEN_PORT": str(port),
            "CLI_API_TOKEN": self.token,
            "HAPI_IOS_PUSH": "off",
        }
        argv = [NPM_HAPI, "hub", "--no-relay"] if make == NPM else [*OUR_HAPI, "hub"]
        program = self.start(f"{make}-hub", argv, {**given, **environment}, output=".printed")
        user = User(f"http://127.0.0.1:{port}", self.token)
        program.ready(lambda: quietly(lambda: user.get("/health")), 60.0)
        return Running(make, program, home), user.login()

    def settings(self, user: User, home: Path, session: str) -> dict[str, str]:
        """The environment of a runner or session: which hub, which home, which make of session
        program."""
        return {
            "HAPI_HOME": str(home),
            "HAPI_API_URL": user.url,
            "CLI_API_TOKEN": self.token,
            **({"HAPI_CLI_EXECUTABLE": self.executable(session)} if session else {}),
            **self.environment,
        }

    def executable(self, make: str) -> str:
        """The `hapi` of that make, as one absolute path."""
        if make == NPM:
            return NPM_BINARY
        path = self.path / "bin/hapi"
        if not path.exists():
            path.parent.mkdir()
            path.write_text(f'#!/bin/sh\nexec {sys.executable} -m hapi "$@"\n')
            path.chmod(0o755)
        return str(path)

    def runner(
        self,
        make: str,
        user: User,
        session: str = "",
        argv: list[str] | None = None,
        **environment: str,
    ) -> Running:
        """Start a runner and wait until the hub shows it.

        `session` names another make for its children.
        """
        home = self.home(make, "runner")
        command = argv or (
            [NPM_HAPI, "runner", "start-sync"]
            if make == NPM
            else [*OUR_HAPI, "runner", "start-sync"]
        )
        given = self.settings(user, home, session if session != make else "")
        is_opencode_used = "OPENCODE_DISABLE_AUTOUPDATE" in self.environment and OPENCODE.exists()
        if NPM in (make, session) and is_opencode_used:
            self.prepare_opencode()
        program = self.start(f"{make}-runner", command, {**given, **environment})
        running = Running(make, program, home)
        program.ready(lambda: quietly(lambda: user.machine(running.machine_id)), 60.0)
        return running

    def agents(self, model_url: str, ask: bool = True) -> None:
        """Let the real agents on this stage ask the scripted model."""
        from tests.support.model_endpoint import opencode_settings

        config = self.directory("user/.config/opencode")
        (config / "opencode.json").write_text(json.dumps(opencode_settings(model_url, ask)))
        self.environment.update(
            PATH=os.pathsep.join([str(PEERS / ".bin"), self.base["PATH"]]),
            OPENCODE_DISABLE_AUTOUPDATE="1",
            OPENCODE_DISABLE_MODELS_FETCH="1",
            ANTHROPIC_BASE_URL=model_url,
            ANTHROPIC_API_KEY="none",
            CLAUDE_CODE_EXECUTABLE=str(PEERS / ".bin/claude"),
            CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC="1",
            DISABLE_AUTOUPDATER="1",
            IS_SANDBOX="1",  # Claude Code asks for it when it is run by root
        )

    def prepare_opencode(self) -> None:
        """Have OpenCode make its database. Two of its processes that do so at the same time get in
        each other's way, and one may end with "Failed query". npm's programs start two at once, and
        start none again; those of ours do, so they get a fresh home.
        """
        subprocess.run(
            [OPENCODE, "session", "list"],
            env={**self.base, **self.environment},
            cwd=self.directory("user"),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            check=True,
            timeout=120,
        )


def quietly(look: Callable[[], Any]) -> Any:
    """None instead of the errors that a program shows while it comes up."""
    try:
        return look()
    except (OSError, Refused, HTTPException, KeyError, ValueError):
        return None
