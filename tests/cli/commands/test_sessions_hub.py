"""The commands of `hapi sessions` against a hub in memory."""

from __future__ import annotations

import json
from typing import Any

import pytest
from click.testing import CliRunner, Result
from twisted.internet.defer import Deferred

from hapi.cli.app import hapi
from tests.support.hub_stage import TOKEN, Stage, result_of
from tests.support.paths import ROOT

HUB = "http://127.0.0.1:3006"
OPTIONS = [
    {"id": "once", "name": "Allow", "kind": "allow_once"},
    {"id": "always", "name": "Always allow ls", "kind": "allow_always"},
    {"id": "no", "name": "Reject", "kind": "reject_once"},
]
REQUEST = {"tool": "Bash", "arguments": {"command": "ls"}, "createdAt": 5, "options": OPTIONS}


class Terminal:
    """A terminal beside a hub in memory, and a live session there."""

    def __init__(self, monkeypatch: Any, tmp_path: Any) -> None:
        self.stage = Stage()
        self.id, self.peer = self.stage.live(name="Shop")
        self.peer.serve(self.id, "permission", "abort")
        monkeypatch.setenv("HAPI_HOME", str(tmp_path))
        monkeypatch.setenv("HAPI_API_URL", HUB)
        monkeypatch.setenv("CLI_API_TOKEN", TOKEN)
        monkeypatch.setattr("hapi.cli.commands.sessions.ask.run_once", self._run_once)
        self.posted: list[str] = []  # paths below the session
        self.answered = 0  # remote calls of the session
        self.asked: Any = None  # the arguments of the last one
        monkeypatch.setattr("hapi.client.transport.make_http", lambda *_: self)

    def request(self, method: str, url: str, **more: Any) -> Any:
        if method == "POST" and self.id in url:
            self.posted.append(url.partition(self.id)[2])
        return self.stage.stub.request(method, url, **more)

    def _run_once(self, ask: Any, seconds: float) -> Any:
        running = Deferred.fromCoroutine(ask(self.stage.clock))
        for _ in range(40):
            self.stage.stub.flush()
            for asked in self.peer.events("rpc-request")[self.answered :]:
                self.answered += 1
                self.asked = json.loads(asked["params"])
                self.peer.answer(json.dumps({"ok": True}))
        return result_of(running)

    def wait_for(self, **requests: Any) -> None:
        """Have the session wait for answers to these requests."""
        change = {"sid": self.id, "expectedVersion": 1, "agentState": {"requests": requests}}
        self.peer.ask("update-state", change)

    def say(self, kind: str, **data: Any) -> None:
        message = {"role": "agent", "content": {"type": kind, "data": data}}
        self.peer.send("message", {"sid": self.id, "message": message})

    def run(self, *words: str) -> str:
        done = self.end(*words)
        assert done.exception is None, done
        return done.stdout

    def json(self, *words: str) -> Any:
        return json.loads(self.run(*words, "--json"))

    def refusal(self, *words: str) -> str:
        """The sentence of a command that fails."""
        done = self.end(*words)
        assert done.exit_code == 1, done
        return done.stderr.removeprefix("hapi: ").rstrip("\n")

    def end(self, *words: str) -> Result:
        return CliRunner().invoke(hapi, ["sessions", *words], standalone_mode=False)


@pytest.fixture
def terminal(monkeypatch, tmp_path):
    return Terminal(monkeypatch, tmp_path)


def test_the_turn_of_a_session_that_works_is_stopped(terminal):
    terminal.stage.alive(terminal.peer, terminal.id, thinking=True)
    assert terminal.json("stop", terminal.id) == {"sessionId": terminal.id, "stopped": True}
    assert terminal.posted == ["/abort"]


def test_a_prompt_that_the_session_has_not_begun_is_stopped(terminal):
    terminal.run("send", terminal.id, "list the files")
    terminal.stage.tick(60)
    terminal.stage.alive(terminal.peer, terminal.id)
    assert terminal.run("stop", terminal.id) == "Turn stopped\n"


def test_a_request_that_waits_is_stopped(terminal):
    terminal.wait_for(r1=REQUEST)
    assert terminal.run("stop", terminal.id) == "Turn stopped\n"


def test_nothing_is_aborted_in_an_idle_session(terminal):
    terminal.say("event", type="ready")
    assert terminal.run("stop", terminal.id) == "No turn is running\n"
    assert terminal.json("stop", terminal.id)["stopped"] is False
    assert terminal.posted == []


@pytest.mark.parametrize("option", ["always", "Always allow ls", "always allow ls"])
def test_an_option_is_chosen_by_its_id_or_its_name(terminal, option):
    terminal.wait_for(r1=REQUEST)
    assert terminal.run("approve", terminal.id, "--option", option) == "Request approved\n"
    assert terminal.asked["optionId"] == "always"


def test_an_option_that_is_not_offered_is_refused_with_those_that_are(terminal):
    terminal.wait_for(r1=REQUEST)
    assert terminal.refusal("approve", terminal.id, "--option", "nope") == (
        "the request offers no option nope; it offers "
        "once (Allow), always (Always allow ls), no (Reject)"
    )
    assert terminal.posted == []


@pytest.mark.parametrize("name", ["nope", "3f0e1a52-0000-4000-8000-000000000000"])
@pytest.mark.parametrize("verb", ["show", "stop", "archive"])
def test_an_unknown_session_is_refused_with_the_same_sentence_however_it_is_named(
    terminal, verb, name
):
    assert terminal.refusal(verb, name) == (
        f"the hub has no session {name}; `hapi sessions list` shows them"
    )


def test_a_session_is_described_by_the_same_keys_in_the_list_and_by_itself(terminal):
    terminal.wait_for(r1=REQUEST)
    [listed] = terminal.json("list")
    shown = terminal.json("show", terminal.id)
    assert (listed["state"], listed["openRequests"], listed["active"]) == ("waiting", 1, True)
    assert listed == {key: shown[key] for key in listed}


def test_the_documentation_names_each_key_of_a_session(terminal):
    manual = (ROOT / "docs/client.md").read_text()
    for key in terminal.json("show", terminal.id):
        assert f"`{key}`" in manual
