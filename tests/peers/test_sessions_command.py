"""`hapi sessions` from the list to the deletion, at our hub and at npm's."""

from __future__ import annotations

import json
import subprocess
from typing import Any

import pytest
from attrs import frozen

from tests.support.peers import NPM, OUR_HAPI, OURS, Cast, User
from tests.support.programs import CANARY, level, until

pytestmark = pytest.mark.peer("hapi", "opencode")


@frozen
class Terminal:
    """Somebody who has the address of the hub and the access token, and no HAPI home in use."""

    cast: Cast
    user: User

    @property
    def environment(self) -> dict[str, str]:
        home = str(self.cast.directory("elsewhere"))
        login = {"HAPI_API_URL": self.user.url, "CLI_API_TOKEN": CANARY, "HAPI_HOME": home}
        return {**self.cast.base, **login}

    def run(self, *words: str, code: int = 0) -> str:
        """What the command prints, on standard error if it fails."""
        done = subprocess.run(
            [*OUR_HAPI, "sessions", *words],
            env=self.environment,
            cwd=self.cast.path,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == code, done
        return done.stderr if code else done.stdout

    def json(self, *words: str) -> Any:
        return json.loads(self.run(*words, "--json"))


@pytest.mark.parametrize("hub", [OURS, NPM][: level(1, 2)])
def test_a_session_is_steered_from_the_command_line_from_the_list_to_the_deletion(cast, hub):
    _, user = cast.hub(hub)
    running = cast.runner(OURS, user, OURS)
    terminal = Terminal(cast, user)
    assert terminal.run("list") == "No sessions\n"
    session_id = user.started(running.machine_id, cast.directory("project"))
    [listed] = terminal.json("list")
    assert (listed["id"], listed["agent"], listed["state"]) == (session_id, "opencode", "idle")
    assert session_id in terminal.run("list", "--active")

    watching = cast.start(
        "watch", [*OUR_HAPI, "sessions", "watch"], terminal.environment, output=".printed"
    )
    watching.ready(lambda: "Connected" in watching.output)
    short = session_id[:8]
    assert terminal.run("send", short, "Please run: touch made && echo so-$((20+1))") == (
        "Prompt sent\n"
    )
    request_id, _ = user.asked(session_id)
    shown = terminal.run("show", short)
    assert "waiting for an answer" in shown
    assert f"Request {request_id}: " in shown
    assert terminal.json("list")[0]["state"] == "waiting"
    assert terminal.run("approve", short) == "Request approved\n"
    until(lambda: any("Output: so-21" in text for text in user.texts(session_id)))
    user.idle(session_id)
    assert "Output: so-21" in terminal.run("show", short, "--messages", "50")
    watching.ready(lambda: f"{session_id} you: Please run: touch made" in watching.output)
    watching.end()

    terminal.run("send", short, "Please run: echo other")
    user.asked(session_id)
    assert terminal.run("deny", short, "--abort") == "Request denied\n"
    user.idle(session_id)
    assert "no permission request is open" in terminal.run("approve", short, code=1)
    assert terminal.run("stop", short) == "No turn is running\n"

    assert terminal.run("send", short, "hello", "--wait") == "You said: hello\n"
    asking = ("send", short, "Please run: echo third", "--wait", "--timeout", "2m")
    assert "the agent waits for an answer" in terminal.run(*asking, code=8)
    terminal.run("approve", short)
    assert terminal.run("wait", short) == "Output: third\n"
    assert terminal.run("tail", short, "-n", "1") == "Agent: Output: third\n"

    assert terminal.run("archive", short) == "Session archived\n"
    user.archived(session_id)
    until(lambda: terminal.json("list")[0]["state"] == "archived")
    assert terminal.json("delete", short, "--yes") == {"sessionId": session_id, "deleted": True}
    assert terminal.run("list") == "No sessions\n"
    assert "the hub has no session" in terminal.run("show", short, code=1)
