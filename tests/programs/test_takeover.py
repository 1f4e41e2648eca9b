"""Two hubs of one database behind HAProxy: a runner and its session are used through takeovers."""

from __future__ import annotations

import json
import re
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

import pytest
from attrs import define, field

from tests.growth.balancers import start_haproxy
from tests.support.postgres import PASSWORD, PostgresServer
from tests.support.programs import CANARY, Program, Stage, free_port, until

pytestmark = [pytest.mark.program, pytest.mark.peer("haproxy")]
HAPI = [sys.executable, "-m", "hapi"]


def ask(method: str, url: str, body: Any = None, token: str = "") -> tuple[int, Any]:
    """Status and JSON; status 0 without an answer."""
    content = None if body is None else json.dumps(body).encode()
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {token}"}
    request = Request(url, content, headers, method=method)
    try:
        with urlopen(request, timeout=10) as reply:
            return reply.status, json.load(reply)
    except HTTPError as error:
        return error.code, None
    except (URLError, OSError, ValueError):
        return 0, None


@define(eq=False)
class Pair:
    """Hubs by name. `people` is the balancer's address."""

    stage: Stage
    database: str
    ports: dict[str, int] = field(factory=dict)
    hubs: dict[str, Program] = field(factory=dict)
    people: str = ""
    token: str = ""
    session: str = ""
    prompts: list[str] = field(factory=list)
    times: dict[str, float] = field(factory=dict)

    def start(self, name: str) -> None:
        port = self.ports.setdefault(name, free_port())
        argv = [*HAPI, "hub", "--port", str(port), "--name", name]
        argv += ["--trusted-proxy", "127.0.0.1", "--database", self.database]
        home = {"HAPI_HOME": str(self.stage.directory(name)), "CLI_API_TOKEN": CANARY}
        hub = self.hubs[name] = self.stage.start(f"{name}-{len(self.stage.programs)}", argv, home)
        hub.ready(lambda: "Hub listens on" in hub.output)

    def ready(self, name: str) -> int:
        return ask("GET", f"http://127.0.0.1:{self.ports[name]}/ready")[0]

    @property
    def active(self) -> str:
        (found,) = [name for name in self.hubs if self.ready(name) == 200]
        return found

    def takeover(self, how: str) -> str:
        """Wait until the other hub serves than the one that did; its name."""
        (other,) = set(self.hubs) - {self.was_active}
        until(lambda: self.ready(other) == 200, 60.0, f"hub {other} to take over")
        self.times[how] = round(time.monotonic() - self.begin, 2)
        return other

    was_active: str = ""
    begin: float = 0.0

    def rest(self, method: str, path: str, body: Any = None) -> Any:
        """What the hubs answer; asked again while none serves, or the session has not come back."""

        def asked() -> Any:
            status, found = ask(method, self.people + path, body, self.token)
            assert status in (0, 200, 201, 409, 502, 503, 504), (status, path)
            return (found,) if status in (200, 201) else None

        return until(asked, 120.0, f"{method} {path}")[0]

    def open(self) -> None:
        self.token = self.rest("POST", "/api/auth", {"accessToken": CANARY})["token"]
        machine = until(self.online, 120.0, "the machine to be online")
        body = {"directory": str(self.stage.directory("work")), "agent": "demo"}
        self.session = self.rest("POST", f"/api/machines/{machine}/spawn", body)["sessionId"]

    def online(self) -> str | None:
        machines = self.rest("GET", "/api/machines")["machines"]
        return machines[0]["id"] if machines and machines[0]["active"] else None

    def prompt(self, text: str) -> None:
        """Post a prompt, as a page that sends it again while it gets no answer."""
        self.prompts.append(text)
        body = {"text": text, "localId": f"local-{text}"}
        self.rest("POST", f"/api/sessions/{self.session}/messages", body)

    def answered(self) -> bool:
        """Whether each prompt but the first was answered; nothing stands there twice."""
        path = f"/api/sessions/{self.session}/messages?limit=200"
        contents = [message["content"] for message in self.rest("GET", path)["messages"]]
        people = [each["content"]["text"] for each in contents if each["role"] == "user"]
        agent = [json.dumps(each) for each in contents if each["role"] == "agent"]
        answers = [sum(f"You said: {text}" in each for each in agent) for text in self.prompts[1:]]
        assert len(people) == len(set(people)), people
        assert max(answers, default=0) <= 1, agent
        return people == self.prompts and bool(agent) and min(answers, default=1) == 1


def make_pair(stage: Stage, database: str) -> Pair:
    """Two hubs, HAProxy, a runner and a session."""
    made = Pair(stage, database)
    for name in ("a", "b"):
        made.start(name)
    port = free_port()
    made.people = f"http://127.0.0.1:{port}"
    start_haproxy(stage, port, list(made.ports.values()))
    until(lambda: ask("GET", made.people + "/ready")[0] == 200, 60.0, "HAProxy")
    runner = {
        "HAPI_HOME": str(stage.directory("runner")),
        "HAPI_API_URL": made.people,
        "CLI_API_TOKEN": CANARY,
    }
    stage.start("runner", [*HAPI, "runner", "start-sync"], runner)
    made.open()
    made.prompt("mode")  # the first prompt of another kind begins a tour
    until(made.answered, 120.0, "the first answer")
    return made


def test_a_session_is_used_through_a_stop_a_kill_and_a_freeze_of_the_active_hub(
    stage: Stage, database_url: str
) -> None:
    pair = make_pair(stage, database_url)
    pair.prompt("before")
    until(pair.answered, 120.0, "the answer before all")
    for how in (signal.SIGTERM, signal.SIGKILL, signal.SIGSTOP):
        pair.was_active = pair.active
        hub = pair.hubs[pair.was_active]
        pair.begin = time.monotonic()
        hub.process.send_signal(how)
        pair.prompt(f"during-{how.name}")
        pair.takeover(how.name)
        until(pair.answered, 120.0, f"the answer during {how.name}")
        if how is signal.SIGSTOP:
            hub.process.send_signal(signal.SIGCONT)
            until(lambda: pair.ready(pair.was_active) == 503, 30.0, "the frozen hub to wait")
        else:
            assert hub.exit_code(30.0) == (0 if how is signal.SIGTERM else -how)
            pair.start(pair.was_active)
        pair.prompt(f"after-{how.name}")
        until(pair.answered, 120.0, f"the answer after {how.name}")
    until(pair.online, 60.0, "the machine")
    print(f"seconds until the other hub served: {pair.times}")
    assert pair.times["SIGTERM"] < 8.0
    assert pair.times["SIGKILL"] < 8.0
    assert pair.times["SIGSTOP"] < 20.0
    for name in pair.hubs:
        logs = [path.read_text() for path in Path(pair.stage.directory(name)).rglob("*.log")]
        assert not re.search(r"Traceback|could not take over", "".join(logs))


def test_a_session_is_used_through_a_crash_of_the_database_whose_password_nobody_sees(
    stage: Stage, postgres_servers: Callable[..., PostgresServer]
) -> None:
    server = postgres_servers(port=True)
    server.create_database("hubs")
    pair = make_pair(stage, server.tcp_url("hubs"))  # on the command line of both
    for number in range(2):
        server.crash()
        pair.begin = time.monotonic()
        time.sleep(0.5 if number else 12.0)  # less and more than hubs serve without a database
        server.start()
        pair.prompt(f"after-{number}")
        until(pair.answered, 120.0, f"the answer after crash {number}")
        assert len([name for name in pair.hubs if pair.ready(name) == 200]) == 1
    assert all(hub.running for hub in pair.hubs.values())
    shown = stage.command_lines()
    assert any("--database postgresql://hapi:****" in line for line in shown)
    kept = [path.read_text(errors="replace") for path in stage.path.rglob("*") if path.is_file()]
    assert not [text for text in (*shown, *kept) if PASSWORD in text]
