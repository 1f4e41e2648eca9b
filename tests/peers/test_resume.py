"""`hapi resume` and `hapi ping-peer` of both makes at hubs of both makes."""

from __future__ import annotations

import json
import os
import pty
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread

import pytest
from attrs import frozen

from tests.support.peers import NPM, NPM_BINARY, OUR_HAPI, OURS, Cast, Json, Running, User
from tests.support.programs import alive, level, until

pytestmark = pytest.mark.peer("hapi", "opencode")


@frozen
class Machine:
    """A machine with npm's runner, and somebody at its terminal."""

    cast: Cast
    user: User
    runner: Running

    @property
    def environment(self) -> dict[str, str]:
        return {**self.cast.base, **self.cast.settings(self.user, self.runner.home, "")}

    def run(self, make: str, *words: str, stdin: str = "") -> str:
        """What the command prints."""
        done = subprocess.run(
            [*(OUR_HAPI if make == OURS else [NPM_BINARY]), *words],
            env=self.environment,
            cwd=self.cast.path,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=180,
            check=False,
        )
        assert done.returncode == 0, done
        return done.stdout

    def pid(self, session_id: str) -> int:
        return int(self.user.session(session_id)["metadata"]["hostPid"])


def introduction() -> Json:
    client = {"name": "test", "version": "1"}
    return {"protocolVersion": "2025-03-26", "capabilities": {}, "clientInfo": client}


def is_local(user: User, session_id: str) -> bool:
    """Whether an agent's own program has the session in a terminal."""
    found = user.session(session_id)
    state = found["agentState"] or {}
    is_running = found["active"] and found["metadata"]["lifecycleState"] == "running"
    return bool(is_running and state.get("controlledByUser"))


@contextmanager
def in_a_terminal(machine: Machine, make: str, home: Path, *words: str) -> Iterator[bytearray]:
    """The program on a pseudo-terminal; what it has shown."""
    shown = bytearray()
    leader, follower = pty.openpty()
    program = subprocess.Popen(
        [*(OUR_HAPI if make == OURS else [NPM_BINARY]), *words],
        env={**machine.environment, "HAPI_HOME": str(home), "TERM": "xterm-256color"},
        cwd=machine.cast.path,
        stdin=follower,
        stdout=follower,
        stderr=follower,
        start_new_session=True,
    )
    os.close(follower)

    def read() -> None:
        try:
            while piece := os.read(leader, 65536):
                shown.extend(piece)
        except OSError:
            return  # the program has ended

    reader = Thread(target=read, daemon=True)
    reader.start()
    try:
        yield shown
    finally:
        program.terminate()
        program.wait(30)
        reader.join(10)
        os.close(leader)


@pytest.mark.parametrize("hub", [OURS, NPM][: level(1, 2)])
def test_a_session_of_npms_goes_on_in_our_terminal_and_in_npms_again(cast, hub):
    _, user = cast.hub(hub)
    machine = Machine(cast, user, cast.runner(NPM, user))
    session_id = user.started(machine.runner.machine_id, cast.directory("project"))
    user.say(session_id, "remember the word heliotrope")
    user.idle(session_id)
    until(lambda: "title" in str(user.session(session_id)["metadata"].get("summary")))
    until(lambda: not user.session(session_id)["thinking"])  # both commands show it
    npm_process = machine.pid(session_id)

    assert machine.run(OURS, "ping-peer", "--list") == machine.run(NPM, "ping-peer", "--list")
    ours = machine.run(OURS, "inspect-peer", session_id[:8])
    assert ours == machine.run(NPM, "inspect-peer", session_id[:8])
    url = user.session(session_id)["metadata"]["hapiMcpUrl"]
    calls = [
        {"method": "initialize", "params": introduction()},
        {"method": "tools/list"},
        {"method": "tools/call", "params": {"name": "list_peers", "arguments": {}}},
    ]
    lines = [
        json.dumps({"jsonrpc": "2.0", "id": number, **each}) for number, each in enumerate(calls)
    ]
    tools = ("--tools", "list_peers,ping_peer")
    bridged = machine.run(OURS, "mcp", "--url", url, *tools, stdin="\n".join(lines))
    answers = [json.loads(line)["result"] for line in bridged.splitlines()]
    assert answers[0]["serverInfo"]["name"]
    assert {tool["name"] for tool in answers[1]["tools"]} == {"list_peers", "ping_peer"}
    assert "content" in answers[2]

    said = {}
    for make in (OURS, NPM):
        said[make] = machine.run(make, "ping-peer", session_id[:8], "hello from the shell")
        answer = machine.run(OURS, "sessions", "wait", session_id)
        assert answer == "You said: hello from the shell\n"
    assert said[OURS] == said[NPM]

    until(lambda: not user.session(session_id)["thinking"])
    answer = machine.run(OURS, "resume", session_id[:8], stdin="and what else?")
    assert "You said: and what else?" in answer
    until(lambda: not alive(npm_process))
    resumed = user.archived(session_id)
    assert (resumed["startedBy"], resumed["hostPid"] != npm_process) == ("terminal", True)
    if hub == NPM:
        return

    home = cast.directory("elsewhere")
    (home / "settings.json").write_text(f'{{"machineId": "{machine.runner.machine_id}"}}')
    for make, words in ((NPM, ()), (OURS, ("--local",))):
        with in_a_terminal(machine, make, home, "resume", session_id, *words) as shown:
            until(lambda: is_local(user, session_id), what=f"{make}'s terminal: {shown!r}")
        user.archived(session_id)
