"""`hapi ping-peer` and `hapi inspect-peer` at a hub in memory, in the words of npm's commands."""

from __future__ import annotations

import json
from typing import Any

import pytest
from click.testing import CliRunner, Result
from twisted.internet.defer import Deferred

from hapi.cli.app import hapi
from tests.support.hub_stage import TOKEN, Stage, result_of


class Terminal:
    """A terminal beside a hub in memory, with one session."""

    def __init__(self, monkeypatch: Any, tmp_path: Any) -> None:
        self.stage = Stage()
        self.id, self.peer = self.stage.live(name="The shop")
        monkeypatch.setenv("HAPI_HOME", str(tmp_path))
        monkeypatch.setenv("HAPI_API_URL", "http://127.0.0.1:3006")
        monkeypatch.setenv("CLI_API_TOKEN", TOKEN)
        monkeypatch.setattr("hapi.cli.commands.sessions.ask.run_once", self._run_once)
        monkeypatch.setattr("hapi.client.transport.make_http", lambda *_: self.stage.stub)

    def _run_once(self, ask: Any, seconds: float) -> Any:
        running = Deferred.fromCoroutine(ask(self.stage.clock))
        for _ in range(20):
            self.stage.stub.flush()
            self.stage.clock.advance(0.1)
        return result_of(running)

    def end(self, *words: str, stdin: str = "") -> Result:
        return CliRunner().invoke(hapi, list(words), input=stdin)

    def prompts(self) -> list[str]:
        listed = self.stage.get(f"/api/sessions/{self.id}/messages")["messages"]
        return [each["content"]["content"]["text"] for each in listed]


@pytest.fixture
def terminal(monkeypatch, tmp_path):
    return Terminal(monkeypatch, tmp_path)


def test_the_list_has_npms_lines(terminal, monkeypatch):
    done = terminal.end("ping-peer", "--list")
    assert done.stdout == f"  {terminal.id}  active=true  flavor=opencode  The shop\n"
    monkeypatch.setenv("HAPI_SESSION_ID", terminal.id)
    done = terminal.end("ping-peer", "--list")
    assert done.stdout == "No peer sessions found on this hub/namespace.\n"


def test_a_message_is_delivered_with_npms_lines(terminal):
    done = terminal.end("ping-peer", terminal.id[:8], "hello from the cli")
    assert done.stdout.splitlines() == [
        f'hapi ping-peer: resolved {terminal.id}  active=true  name="The shop"',
        "hapi ping-peer: sending message (18 chars)...",
        f"hapi ping-peer: OK - delivered to {terminal.id}",
    ]
    assert terminal.prompts() == ["hello from the cli"]


def test_a_message_is_read_from_a_file_or_from_standard_input(terminal, tmp_path):
    (tmp_path / "message").write_text("from a file\n")
    file = str(tmp_path / "message")
    assert terminal.end("ping-peer", terminal.id, "--message-file", file).exit_code == 0
    done = terminal.end("ping-peer", terminal.id, "--message-file", "-", "--json", stdin="piped\n")
    assert json.loads(done.stdout) == {"sessionId": terminal.id, "delivered": True}
    assert terminal.prompts() == ["from a file", "piped"]
    assert terminal.end("ping-peer", terminal.id, "--message-file", "/nowhere").exit_code == 1


def test_a_session_is_read_in_npms_lines(terminal):
    terminal.stage.rest("POST", f"/api/sessions/{terminal.id}/messages", {"text": "list\nfiles"})
    said = {"type": "message", "message": "so \x1b[31m"}
    message = {"role": "agent", "content": {"type": "codex", "data": said}}
    terminal.peer.send("message", {"sid": terminal.id, "message": message})
    lines = terminal.end("inspect-peer", terminal.id[:8]).stdout.splitlines()
    assert [line.partition(":")[0] for line in lines[:9]] == [
        *("sessionId", "path", "name", "flavor", "active", "thinking", "lifecycle", "cwd"),
        "updatedAt",
    ]
    assert lines[1:3] == [f"path: /sessions/{terminal.id}", "name: The shop"]
    assert lines[9:] == [
        "messages (text snippets, newest page): 2",
        "[user] list files",
        "[agent] so \\x1b[31m",
    ]
    assert json.loads(terminal.end("inspect-peer", terminal.id, "--json").stdout)["active"] is True


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("ping-peer",), "missing session id; usage: hapi ping-peer <session-id> <message>"),
        (
            ("ping-peer", "abc"),
            "missing message; provide as arg, --message-file PATH, or --message-file -",
        ),
        (("ping-peer", "zzzzzzzz", "hi"), "no session matching prefix 'zzzzzzzz'"),
        (("inspect-peer", "zzzzzzzz"), "no session matching prefix 'zzzzzzzz'"),
        (("inspect-peer",), "missing session id; usage: hapi inspect-peer <session-id>"),
    ],
)
def test_what_fails_has_npms_sentence_and_code(terminal, words, sentence):
    done = terminal.end(*words)
    assert (done.stderr, done.exit_code) == (f"hapi {words[0]}: {sentence}\n", 2)


@pytest.mark.parametrize("verb", ["ping-peer", "inspect-peer"])
def test_the_help_tells_one_thing_of_the_exit_code_of_a_failure(terminal, verb):
    shown = " ".join(terminal.end(verb, "--help").stdout.split())
    assert "whatever the reason, or a usage error" in shown
    assert "exit code 2" not in shown
    assert "explained in one sentence" not in shown


def test_a_message_file_that_cannot_be_read_has_the_exit_code_of_the_help(terminal):
    done = terminal.end("ping-peer", terminal.id, "--message-file", "/nowhere")
    assert (done.exit_code, "/nowhere: No such file" in done.stderr) == (1, True)
    shown = " ".join(terminal.end("ping-peer", "--help").stdout.split())
    assert "1 the file of the message cannot be read" in shown


def test_a_prefix_of_several_sessions_is_refused(terminal):
    others = [terminal.stage.session(tag=str(number)) for number in range(17)]
    first = next(
        letter
        for letter in "0123456789abcdef"
        if sum(each[0] == letter for each in [*others, terminal.id]) > 1
    )
    done = terminal.end("ping-peer", first, "hi")
    assert f"prefix '{first}' matches" in done.stderr
    assert "use a longer prefix" in done.stderr
