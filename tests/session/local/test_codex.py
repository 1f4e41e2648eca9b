"""How Codex's own program is started, and how its transcript is found and followed."""

import json
import os

import pytest
from twisted.internet.task import Clock

from hapi.session.local.codex import FOUND_INTERVAL, own_program
from hapi.session.local.interface import LocalStart
from tests.support.recording_mirror import RecordingMirror

ID = "01a21d48-ebeb-7703-94fa-472cffd923c8"


class Stage:
    """A home with transcripts; those in `open` are open in this process, as Codex has its own."""

    def __init__(self, home, **given):
        self.home, self.clock, self.mirror, self.open = home, Clock(), RecordingMirror(), []
        environ = {"CODEX_HOME": str(home)}
        self.start = LocalStart("/bin/codex", "row", str(home), environ, home, **given)
        self.program = own_program(self.clock, self.start, self.mirror)

    def transcript(self, session=ID, **head):
        path = self.home / f"sessions/2026/11/27/rollout-2026-11-27T13-54-07-{session}.jsonl"
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.open("a")
        self.open.append(file)
        head = {"id": session, "source": "cli", "thread_source": "user", **head}
        self.write(file, "session_meta", **head)
        return file

    @staticmethod
    def write(file, line, **payload):
        line = {"timestamp": "2026-11-27T13:54:13.857Z", "type": line, "payload": payload}
        file.write(json.dumps(line) + "\n")
        file.flush()

    def say(self, file, text):
        for payload in (
            {"type": "task_started"},
            {"type": "user_message", "message": text},
            {"type": "task_complete"},
        ):
            self.write(file, "event_msg", **payload)

    def run(self):
        if not self.program._polls.running:
            self.program.started(os.getpid())
        self.clock.advance(FOUND_INTERVAL)

    def end(self):
        for file in self.open:
            file.close()


@pytest.fixture
def stage(tmp_path):
    stages = []

    def make(**given):
        stages.append(Stage(tmp_path, **given))
        return stages[-1]

    yield make
    for each in stages:
        each.end()


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({}, ("--no-daemon",)),
        (
            {"agent_session": ID},
            ("resume", ID, "-c", 'approvals_reviewer="user"', "--no-daemon"),
        ),
        ({"model": "gpt-5.5"}, ("--no-daemon", "--model", "gpt-5.5")),
        ({"effort": "low"}, ("--no-daemon", "-c", 'model_reasoning_effort="low"')),
        ({"permission_mode": "read-only"}, ("--no-daemon", "--sandbox", "read-only")),
        ({"words": ("--search",)}, ("--no-daemon", "--search")),
        (
            {"mcp_servers": ({"name": "hapi", "url": "http://127.0.0.1:1/"},)},
            ("--no-daemon", "-c", 'mcp_servers.hapi.url="http://127.0.0.1:1/"'),
        ),
        (
            {"mcp_servers": ({"name": "hapi", "command": '/a"b', "args": ["x"]},)},
            (
                *("--no-daemon", "-c", 'mcp_servers.hapi.command="/a\\"b"'),
                *("-c", 'mcp_servers.hapi.args=["x"]', "-c", "mcp_servers.hapi.env={}"),
            ),
        ),
    ],
)
def test_what_the_session_knows_becomes_words_of_the_program(stage, given, words):
    assert stage(**given).program.prepare().argv[1:] == words


def test_a_reviewer_that_the_person_has_chosen_stays(stage, tmp_path):
    (tmp_path / "config.toml").write_text('approvals_reviewer = "auto_review"\n')
    words = stage(agent_session=ID).program.prepare().argv
    assert 'approvals_reviewer="auto_review"' in words


def test_a_new_conversation_is_found_by_the_file_that_the_program_has_open(stage):
    found = stage()
    found.run()
    assert found.mirror.calls == []
    found.say(found.transcript(), "Hello")
    found.run()
    assert found.mirror.of("agent_session") == [ID]
    assert found.mirror.story() == ["begins", "> Hello", "ends"]


def test_what_was_said_before_is_not_reported(stage):
    before = stage()
    before.say(before.transcript(), "Before")
    found = stage(agent_session=ID)
    file = found.transcript()
    found.run()
    found.say(file, "After")
    found.run()
    assert found.mirror.of("prompt") == ["After"]
    assert found.mirror.of("agent_session") == []


def test_after_a_crash_it_is_read_from_the_checkpoint(stage):
    before = stage()
    file = before.transcript()
    before.say(file, "Known")
    before.run()
    [place] = before.mirror.places[-1:]
    before.say(file, "Not known")
    found = stage(agent_session=ID, checkpoint=place)
    found.run()
    assert found.mirror.of("prompt") == ["Not known"]


@pytest.mark.parametrize(
    "head", [{"thread_source": "subagent"}, {"source": {"subagent": "review"}}, {"id": None}]
)
def test_conversations_of_subagents_and_reviewers_are_not_followed(stage, head):
    found = stage()
    found.say(found.transcript(**head), "Review this")
    found.run()
    assert found.mirror.calls == []


def test_another_conversation_of_the_program_is_followed(stage):
    found = stage()
    found.say(found.transcript(), "First")
    found.run()
    found.say(found.transcript(session="01a21d99"), "Second")
    found.run()
    found.run()
    assert found.mirror.of("agent_session") == [ID, "01a21d99"]
    assert found.mirror.of("prompt") == ["First", "Second"]


def test_a_damaged_transcript_is_followed_as_far_as_it_can_be_read(stage):
    found = stage()
    file = found.transcript()
    file.write('{"type": "event_msg"\n\x00\x01\n[]\n')
    found.say(file, "Hello")
    found.run()
    assert found.mirror.of("prompt") == ["Hello"]
