"""One HAPI home with a real runner and real sessions on it."""

import contextlib
import json
import sys
from http.client import HTTPConnection
from pathlib import Path

from hapi.attempts import AttemptFolder, attempts
from hapi.home import Home
from tests.support.paths import SUPPORT
from tests.support.programs import CANARY, Program, Stage

TWISTD = [
    sys.executable,
    "-c",
    "from twisted.scripts.twistd import run; run()",
    "-n",
    "--pidfile=",
    "hapi-runner",
]


OURS = [sys.executable, "-m", "hapi", "runner", "start-sync"]


EMBEDDED = """
import sys
from twisted.internet import reactor
from hapi.runner import RunnerOptions, runner_service
options = RunnerOptions.from_environment()
service = runner_service(reactor, options, on_retired=lambda code: reactor.stop())
reactor.callWhenRunning(service.startService)
reactor.addSystemEventTrigger("before", "shutdown", service.stopService)
reactor.run()
"""


MODES = {"twistd": TWISTD, "hapi": OURS, "embedded": [sys.executable, "-c", EMBEDDED]}


SESSION = f"{sys.executable} {SUPPORT / 'scripted_session.py'}"


class Machine:
    """One home with whatever runs on it."""

    def __init__(self, stage: Stage, hub: str = "http://127.0.0.1:1") -> None:
        self.stage, self.count = stage, 0
        self.home = Home(stage.directory("home")).prepare()
        self.environment = {
            "HAPI_HOME": str(self.home.path),
            "HAPI_API_URL": hub,
            "CLI_API_TOKEN": CANARY,
            "HAPI_CLAUDE_PATH": "/bin/true",
            "HAPI_CLI_EXECUTABLE": str(self.session_program()),
        }

    def session_program(self) -> Path:
        path = self.stage.path / "session"
        path.write_text(f'#!/bin/sh\nexec {SESSION} "$@"\n')
        path.chmod(0o755)
        return path

    def start(self, mode: str = "twistd", *flags: str, **environment: str) -> Program:
        """Start the runner and wait until its control API answers."""
        self.count += 1
        program = self.stage.start(
            f"runner-{self.count}", [*MODES[mode], *flags], self.environment | environment
        )
        program.ready(lambda: self.state().get("pid") == program.pid and self.answers())
        return program

    def state(self) -> dict:
        try:
            return json.loads(self.home.runner_state.read_text())
        except (OSError, ValueError):
            return {}

    def answers(self) -> bool:
        try:
            return bool(self.post("/status"))
        except OSError:
            return False

    def post(self, path: str, body: object = None, timeout: float = 120.0) -> dict:
        connection = HTTPConnection("127.0.0.1", self.state().get("httpPort", 1), timeout=timeout)
        with contextlib.closing(connection):
            connection.request(
                "POST", path, json.dumps(body or {}), {"Content-Type": "application/json"}
            )
            return json.loads(connection.getresponse().read())

    def spawn(self, kind: str = "plain", **more: str) -> dict:
        return self.post(
            "/spawn-session", {"directory": str(self.stage.path / "work" / kind), **more}
        )

    def session(self, kind: str = "plain", **more: str) -> str:
        answer = self.spawn(kind, **more)
        assert answer["success"], answer
        return answer["sessionId"]

    def listed(self) -> dict[str, dict]:
        children = self.post("/list")["children"]
        found = {child["happySessionId"]: child for child in children}
        assert len(found) == len(children), "a session is listed twice"
        return found

    def stop(self, session_id: str) -> str:
        return self.post("/stop-session", {"sessionId": session_id})["status"]

    def attempt(self, session_id: str) -> AttemptFolder:
        return next(
            folder
            for folder in attempts(self.home)
            if folder.session and folder.session.session_id == session_id
        )
