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
        self.meanwhile: list[Any] = []  # what happens while a command waits
        self.machine: Any = None  # the socket of a runner
        self.spawned: list[Any] = []  # what it was asked for
        monkeypatch.setattr("hapi.client.transport.make_http", lambda *_: self)

    def request(self, method: str, url: str, **more: Any) -> Any:
        if method == "POST" and self.id in url:
            self.posted.append(url.partition(self.id)[2])
        return self.stage.stub.request(method, url, **more)

    def _run_once(self, ask: Any, seconds: float) -> Any:
        running = Deferred.fromCoroutine(ask(self.stage.clock))
        for _ in range(40):
            self.stage.stub.flush()
            self.stage.clock.advance(0)
            if self.meanwhile and self.meanwhile[0]():
                self.meanwhile.pop(0)
            if self.machine is not None:
                self._answer_spawn(self.machine)
            for asked in self.peer.events("rpc-request")[self.answered :]:
                self.answered += 1
                self.asked = json.loads(asked["params"])
                self.peer.answer(json.dumps({"ok": True}))
        return result_of(running)

    def _answer_spawn(self, machine: Any) -> None:
        """Be a runner: the session that is started is the one that is there."""
        for asked in machine.events("rpc-request")[len(self.spawned) :]:
            self.spawned.append(json.loads(asked["params"]))
            machine.answer(json.dumps({"type": "success", "sessionId": self.id}))

    def wait_for(self, **requests: Any) -> None:
        """Have the session wait for answers to these requests."""
        change = {"sid": self.id, "expectedVersion": 1, "agentState": {"requests": requests}}
        self.peer.ask("update-state", change)

    def say(self, kind: str, **data: Any) -> None:
        message = {"role": "agent", "content": {"type": kind, "data": data}}
        self.peer.send("message", {"sid": self.id, "message": message})

    def take_prompt(self) -> bool:
        """Begin a turn, once there is a prompt."""
        listed = self.stage.get(f"/api/sessions/{self.id}/messages")["messages"]
        waiting = [each["localId"] for each in listed if each["localId"] and not each["invokedAt"]]
        if waiting:
            self.stage.clock.advance(0.01)
            self.peer.send("messages-consumed", {"sid": self.id, "localIds": waiting})
            self.stage.clock.advance(0.01)
        return bool(waiting)

    def answer_prompt(self, *texts: str) -> bool:
        """Take the prompt, say `texts` and end the turn."""
        if not self.take_prompt():
            return False
        for text in texts:
            self.say("codex", type="message", message=text)
        self.stage.clock.advance(0.01)
        self.say("event", type="ready")
        return True

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


def test_a_session_of_another_namespace_is_refused_as_an_unknown_one(terminal):
    foreign = terminal.stage.session("bob", tag="other")
    assert terminal.refusal("show", foreign) == (
        f"the hub has no session {foreign}; `hapi sessions list` shows them"
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


def test_the_answer_is_all_that_a_waiting_send_prints(terminal):
    terminal.meanwhile.append(lambda: terminal.answer_prompt("42"))
    done = terminal.end("send", terminal.id, "how many?", "--wait")
    assert (done.stdout, done.stderr, done.exit_code) == ("42\n", "", 0)
    told = terminal.json("wait", terminal.id)
    assert told == {"sessionId": terminal.id, "state": "done", "answer": "42", "texts": ["42"]}


def test_a_turn_without_an_answer_has_an_exit_code_of_its_own(terminal):
    terminal.meanwhile.append(terminal.answer_prompt)
    done = terminal.end("send", terminal.id, "how many?", "--wait", "--json")
    assert done.exit_code == 9
    assert json.loads(done.stdout)["state"] == "failed"
    assert "the turn ended without an answer" in done.stderr


def test_who_waits_is_told_that_the_turn_was_stopped_and_the_session_goes_on(terminal):
    terminal.run("send", terminal.id, "count")
    terminal.take_prompt()
    terminal.say("event", type="message", message="Session aborted")
    terminal.say("event", type="ready")
    done = terminal.end("wait", terminal.id)
    assert done.exit_code == 9
    assert done.stderr == "hapi: the turn was stopped; the session goes on\n"


def test_a_prompt_can_be_waited_for_by_its_local_id(terminal):
    first = terminal.json("send", terminal.id, "one")["localId"]
    terminal.answer_prompt("first")
    terminal.run("send", terminal.id, "two")
    terminal.answer_prompt("second")
    assert terminal.run("wait", terminal.id, "--prompt", first) == "first\n"
    assert terminal.run("wait", terminal.id) == "second\n"


def test_the_end_of_a_conversation_is_printed_line_by_line(terminal):
    terminal.run("send", terminal.id, "list\nthe files")
    terminal.take_prompt()
    for _ in range(2):
        terminal.say("codex", type="tool-call", callId="c", name="Bash")
    terminal.say("event", type="message", message="Session aborted")
    terminal.say("codex", type="message", message="so: \x1b[31mred")
    assert terminal.run("tail", terminal.id).splitlines() == [
        "You: list",
        "  the files",
        "Tool: Bash",
        "Note: The turn was stopped; the session goes on",
        "Agent: so: \\x1b[31mred",
    ]
    assert terminal.run("tail", terminal.id, "-n", "1") == "Agent: so: \\x1b[31mred\n"
    assert terminal.run("tail", terminal.id, "-n", "0") == ""
    assert len(terminal.run("tail", terminal.id, "-n", "6").splitlines()) == 5
    [line] = terminal.run("tail", terminal.id, "-n", "1", "--json").splitlines()
    assert json.loads(line)["text"] == "so: \x1b[31mred"


QUESTIONS = [
    {
        "question": "Which colour?",
        "header": "Colour",
        "multiSelect": False,
        "options": [{"label": "Red"}, {"label": "Blue", "description": "as the sea"}],
    },
    {
        "question": "Which sizes?",
        "header": "Size",
        "multiSelect": True,
        "options": [{"label": "S"}, {"label": "M"}, {"label": "L"}],
    },
]
ASKED = {"tool": "AskUserQuestion", "arguments": {"questions": QUESTIONS}, "createdAt": 5}


def test_questions_are_shown_and_answered(terminal):
    terminal.wait_for(q1=ASKED, r1=REQUEST)
    assert terminal.run("answer", terminal.id).splitlines() == [
        "Request q1",
        "1. [Colour] Which colour?",
        "   1) Red",
        "   2) Blue: as the sea",
        "2. [Size] Which sizes? (several)",
        "   1) S",
        "   2) M",
        "   3) L",
    ]
    assert terminal.json("answer", terminal.id)["questions"] == QUESTIONS
    assert terminal.run("answer", terminal.id, "2", "s,3") == "Questions answered\n"
    assert terminal.asked["answers"] == {"Which colour?": ["Blue"], "Which sizes?": ["S", "L"]}


def test_one_question_is_answered_by_its_name(terminal):
    terminal.wait_for(q1=ASKED)
    terminal.run("answer", terminal.id, "--to", "Size=1", "--to", "Which colour?=a dark one")
    assert terminal.asked["answers"] == {"Which colour?": ["a dark one"], "Which sizes?": ["S"]}


def test_questions_with_ids_are_answered_by_them(terminal):
    listed = [{**each, "id": f"q-{n}"} for n, each in enumerate(QUESTIONS)]
    terminal.wait_for(q1={**ASKED, "arguments": {"questions": listed}})
    terminal.run("answer", terminal.id, "red")
    assert terminal.asked["answers"] == {"q-0": {"answers": ["Red"]}}


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (("1", "2", "3"), "there are 3 answers to 2 questions"),
        (("9",), "'Which colour?' has 2 choices, no 9"),
        (("1", "--to", "Colour=2"), "the question 'Which colour?' is answered twice"),
        (("--to", "Taste=2"), "no question is named 'Taste'"),
        ((" ",), "the answer to 'Which colour?' is empty"),
    ],
)
def test_an_answer_that_fits_no_question_is_refused(terminal, words, reason):
    terminal.wait_for(q1=ASKED)
    done = terminal.end("answer", terminal.id, *words)
    assert reason in done.stderr
    assert terminal.posted == []


def test_there_is_nothing_to_answer(terminal):
    terminal.wait_for(r1=REQUEST)
    assert terminal.refusal("answer", terminal.id) == "no question is open in this session"


def test_what_a_session_needs_to_run_for_names_what_starts_it_again(terminal):
    terminal.peer.send("session-end", {"sid": terminal.id, "time": terminal.stage.now()})
    name = terminal.id[:8]
    told = terminal.refusal("send", name, "hello")
    assert told == f"session {name} is inactive; `hapi sessions reopen {name}` starts it again"
    attached = CliRunner().invoke(hapi, ["attach", name])
    assert attached.stderr == f"hapi: {told}\n"


def test_a_session_that_runs_is_not_opened_again(terminal):
    assert terminal.run("reopen", terminal.id) == "The session is running\n"
    assert terminal.posted == []


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (("--wait",), "--wait needs a prompt"),
        ((".", "hello", "--archive"), "--archive needs --wait"),
        ((".", " "), "the prompt is empty"),
        ((".",), "this machine is not connected to the hub"),
        ((".", "--machine", "nope"), "the machine nope is not connected"),
    ],
)
def test_a_session_that_cannot_be_started_is_refused(terminal, words, reason):
    done = terminal.end("new", *words)
    assert reason in done.stderr


def test_a_session_is_started_on_the_machine_that_is_named(terminal):
    machine_id, _ = terminal.stage.machine()
    done = terminal.end("new", "relative", "--machine", machine_id)
    assert "the directory must be absolute" in done.stderr


def test_a_session_is_started_with_its_settings_and_its_first_prompt(terminal):
    machine_id, terminal.machine = terminal.stage.machine()
    terminal.machine.serve(machine_id, "spawn-happy-session")
    terminal.meanwhile.append(lambda: terminal.answer_prompt("done"))
    words = ("/srv/shop", "hello", "--machine", machine_id[:6], "--agent", "codex")
    settings = ("--model", "m", "--effort", "high", "--permission-mode", "default")
    done = terminal.end("new", *words, *settings, "--worktree-name", "w", "--wait")
    assert (done.exit_code, done.stdout) == (0, "done\n")
    assert terminal.id in done.stderr
    [asked] = terminal.spawned
    assert asked["directory"] == "/srv/shop"
    expected = {
        "agent": "codex",
        "model": "m",
        "modelReasoningEffort": "high",
        "permissionMode": "default",
        "sessionType": "worktree",
        "worktreeName": "w",
    }
    assert expected.items() <= asked.items()
    assert "effort" not in asked


class Follow:
    """`hapi sessions tail -f` while the hub comes and goes."""

    def __init__(self, terminal: Any, monkeypatch: Any) -> None:
        from hapi.cli.commands.sessions.tail import Follower
        from hapi.client import ApiClient, HubAccess

        self.terminal, self.is_down = terminal, False
        monkeypatch.setattr("hapi.client.transport.make_http", lambda *_: self)
        client = ApiClient(terminal.stage.clock, HubAccess(HUB, TOKEN))
        self.follower = Follower(client, terminal.id, False)
        self.tick(Deferred.fromCoroutine(self.follower.print_newest(1)))
        self.running = Deferred.fromCoroutine(self.follower.follow())

    def request(self, method: str, url: str, **more: Any) -> Any:
        if self.is_down:
            raise OSError("refused")
        return self.terminal.stage.stub.request(method, url, **more)

    def tick(self, until: Any = None, seconds: int = 3) -> None:
        for _ in range(seconds * 4):
            self.terminal.stage.clock.advance(0.25)
            for _ in range(4):
                self.terminal.stage.stub.flush()


def test_what_is_added_while_the_hub_is_away_is_printed_once(terminal, monkeypatch, capsys):
    terminal.say("codex", type="message", message="before")
    terminal.say("codex", type="message", message="first")
    follow = Follow(terminal, monkeypatch)
    terminal.say("codex", type="message", message="second")
    follow.tick()
    follow.is_down = True
    for number in range(250):  # more than one page
        terminal.say("codex", type="message", message=f"number {number}")
    follow.tick(seconds=40)
    follow.is_down = False
    follow.tick(seconds=40)
    printed = capsys.readouterr()
    numbers = [f"Agent: number {number}" for number in range(250)]
    assert printed.out.splitlines() == ["Agent: first", "Agent: second", *numbers]
    assert printed.err.count("the hub is away") == 1
    follow.running.cancel()
    follow.running.addErrback(lambda _: None)
