"""Sessions of our own whose agent (`tool_agent.py`) uses the tools that it is offered."""

from __future__ import annotations

import json
import sys
from http.client import HTTPConnection
from typing import Any
from urllib.parse import urlsplit

from tests.support.paths import SUPPORT
from tests.support.peers import OURS, Cast
from tests.support.programs import until


class ToolSessions:
    """A hub, a runner, and sessions whose agent does what a prompt says."""

    def __init__(self, cast: Cast, make: str = OURS) -> None:
        self.cast = cast
        agent = cast.directory("bin") / "tool-agent"
        agent.write_text(f"#!/bin/sh\nexec {sys.executable} {SUPPORT / 'tool_agent.py'}\n")
        agent.chmod(0o755)
        self.home = cast.home(OURS, "runner")
        self.configure({})
        self.agent = agent
        _, self.user = cast.hub(make)
        self.runner = cast.runner(OURS, self.user, HAPI_DSH_ACP_COMMAND=str(agent))
        self.project = cast.directory("project")

    def configure(self, settings: dict[str, Any]) -> None:
        path = self.home / "settings.json"
        before = json.loads(path.read_text()) if path.exists() else {}
        path.write_text(json.dumps({**before, **settings}))

    def session(self) -> str:
        return self.user.started(self.runner.machine_id, self.project, "dsh")

    def ask(self, session: str, **prompt: Any) -> str:
        """What the agent says to a prompt."""
        before = len(self.user.texts(session))
        self.user.say(session, json.dumps(prompt))
        return str(until(lambda: self.user.texts(session)[before:])[0])

    def call(self, session: str, tool: str, **arguments: Any) -> str:
        return self.ask(session, tool=tool, arguments=arguments)

    def image(self, session: str) -> Any:
        """The latest picture of the conversation."""
        found = [one for one in self.user.records(session) if one["type"] == "generated-image"]
        return found[-1]

    def bytes_of(self, session: str, image: str) -> bytes:
        where = urlsplit(self.user.url)
        connection = HTTPConnection(where.hostname or "", where.port, timeout=30)
        path = f"/api/sessions/{session}/generated-images/{image}"
        connection.request("GET", path, headers={"Authorization": f"Bearer {self.user.jwt}"})
        answer = connection.getresponse()
        content = answer.read()
        assert answer.status == 200, content
        return content
