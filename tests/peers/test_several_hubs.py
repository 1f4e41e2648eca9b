"""Runners and sessions of both makes behind HAProxy, in front of two hubs of one database."""

from __future__ import annotations

import json
import signal
from collections import Counter
from collections.abc import Callable

import pytest
import socketio

from tests.growth.balancers import start_haproxy
from tests.support.model_endpoint import Model
from tests.support.peers import NPM, OUR_HAPI, OURS, Cast, User, quietly
from tests.support.postgres import PASSWORD, ROLE, PostgresServer
from tests.support.programs import Program, free_port, until

pytestmark = [
    pytest.mark.peer("hapi", "opencode", "haproxy"),
    pytest.mark.program,
    pytest.mark.postgres,
]
DATABASE = "peers"


class Hubs:
    """Hubs of one database and the balancer in front of them."""

    def __init__(self, cast: Cast, server: PostgresServer, names: str) -> None:
        self.cast, self.server = cast, server
        server.create_database(DATABASE)
        self.programs: dict[str, Program] = {}
        self.users: dict[str, User] = {}  # of each hub itself
        for name in names:
            port = free_port()
            self.users[name] = User(f"http://127.0.0.1:{port}", cast.token)
            self.programs[name] = self.start(name, port)
        port = free_port()
        ports = [int(user.url.rsplit(":", 1)[1]) for user in self.users.values()]
        self.balancer = start_haproxy(cast, port, ports)
        self.user = User(f"http://127.0.0.1:{port}", cast.token)
        for name, user in [*self.users.items(), ("", self.user)]:
            program = self.programs.get(name, self.balancer)
            program.ready(lambda user=user: quietly(lambda: user.get("/ready")))
            user.login()

    def start(self, name: str, port: int) -> Program:
        environment = {
            "HAPI_DATABASE": f"postgresql://{ROLE}@127.0.0.1:{self.server.port}/{DATABASE}",
            "PGPASSWORD": PASSWORD,
            "CLI_API_TOKEN": self.cast.token,
            "HAPI_HOME": str(self.cast.home("hub", name)),
        }
        words = ["hub", "--port", str(port), "--name", name, "--trusted-proxy", "127.0.0.1"]
        words += ["--advertise", f"http://127.0.0.1:{port}"]
        return self.cast.start(f"hub-{name}", [*OUR_HAPI, *words], environment)

    def home(self, owner: str) -> str:
        """The name of the hub where a session or machine is at home."""
        query = f"""
            SELECT hubs.name FROM homes JOIN hubs ON hubs.id = homes.hub
            WHERE homes.owner = '{owner}'
        """
        return str(until(lambda: self.server.execute(query, DATABASE), what="a home")[0][0])

    def other(self, name: str) -> str:
        return next(each for each in self.users if each != name)


@pytest.fixture
def hubs(cast: Cast, postgres_servers: Callable[..., PostgresServer]) -> Hubs:
    return Hubs(cast, postgres_servers(True), "ab")


def test_npm_s_session_and_runner_go_on_at_another_hub_when_theirs_is_killed(
    cast: Cast, model: Model, hubs: Hubs
) -> None:
    running = cast.runner(NPM, hubs.user, NPM)
    machine = running.machine_id
    page = hubs.users[hubs.other(hubs.home(machine))]  # at the hub where the runner is not
    sid = page.started(machine, cast.directory("project"))
    page.say(sid, "number one")
    page.heard(sid, "You said: number one")
    page.idle(sid)
    pid = page.session(sid)["metadata"]["hostPid"]

    home = hubs.home(sid)
    page = hubs.users[hubs.other(home)]
    page.say(sid, "hold on")
    assert model.holding.wait(60)
    page.say(sid, "number two")  # waits in the queue
    hubs.programs[home].end(signal.SIGKILL)
    model.release()
    page.heard(sid, "You said: number two")
    page.say(sid, "number three")
    page.heard(sid, "You said: number three")
    page.idle(sid)

    assert hubs.home(sid) == hubs.other(home)
    assert page.session(sid)["metadata"]["hostPid"] == pid
    said = [record["message"] for record in page.records(sid) if record["type"] == "user"]
    assert said == ["number one", "hold on", "number two", "number three"]
    texts = page.texts(sid)
    answers = Counter(
        "".join(texts[n : n + 2]) if text == "Holding " else text for n, text in enumerate(texts)
    )
    for text in (
        "You said: number one",
        "Holding and released.",
        "You said: number two",
        "You said: number three",
    ):
        assert answers[text] == 1, answers
    prompts = Counter(
        json.dumps(request["messages"][-1]) for request in model.requests if request.get("tools")
    )
    assert max(prompts.values()) == 1, prompts

    until(lambda: (page.machine(machine) or {}).get("active"), what="the runner to come back")
    second = page.started(machine, cast.directory("second"))
    assert second != sid
    for each in (sid, second):
        page.post(f"/api/sessions/{each}/archive")
        page.archived(each)


class Shell:
    """A page's terminal in a session."""

    def __init__(self, user: User, session_id: str) -> None:
        self.session_id, self.output, self.ready = session_id, "", 0
        self.client = socketio.Client(reconnection=False)
        self.client.on("terminal:ready", self._ready, namespace="/terminal")
        self.client.on("terminal:output", self._output, namespace="/terminal")
        auth = {"token": user.jwt}
        self.client.connect(user.url, namespaces=["/terminal"], auth=auth, transports=["websocket"])

    def _ready(self, _: object) -> None:
        self.ready += 1

    def _output(self, given: dict[str, str]) -> None:
        self.output += given["data"]

    def send(self, name: str, **given: object) -> None:
        self.client.emit(f"terminal:{name}", {"terminalId": "t", **given}, namespace="/terminal")

    def open(self) -> None:
        """Open the terminal, or come back to it."""
        before = self.ready
        self.send("create", sessionId=self.session_id, cols=80, rows=24)
        until(lambda: self.ready > before, what="the terminal")

    def type(self, text: str, wanted: str) -> None:
        self.send("write", data=f"{text}\n")
        until(lambda: wanted in self.output, what=f"the output {wanted!r}")

    def close(self) -> None:
        self.client.disconnect()


def test_a_terminal_at_another_hub_is_the_same_one_after_the_hub_of_its_session_was_stopped(
    cast: Cast, hubs: Hubs
) -> None:
    running = cast.runner(OURS, hubs.user, OURS)
    sid = hubs.user.started(running.machine_id, cast.directory("project"))
    home = hubs.home(sid)
    page = hubs.users[hubs.other(home)]
    shell = Shell(page, sid)
    shell.open()
    shell.type("kept=forty", "kept=forty")
    shell.type('echo "[$kept-two]"', "[forty-two]")

    assert hubs.programs[home].end(seconds=60.0) == 0
    until(lambda: hubs.home(sid) == hubs.other(home), what="the session to move")
    until(lambda: page.session(sid)["active"], what="the session to be active")
    shell.close()
    shell = Shell(page, sid)
    shell.open()
    shell.type('echo "[$kept-three]"', "[forty-three]")
    shell.close()
    page.post(f"/api/sessions/{sid}/archive")
    page.archived(sid)
