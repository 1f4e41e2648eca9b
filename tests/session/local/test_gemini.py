"""How Gemini's own program is started, and how its file is found and followed."""

import json
import os

import pytest
from twisted.internet.task import Clock

from hapi.session.local.gemini import SEARCH_INTERVAL, TURN_TIMEOUT, make_loadable, own_program
from hapi.session.local.interface import LocalStart
from tests.support.recording_mirror import RecordingMirror

ID = "e7bdf498-b71d-416d-be36-c71235dce2da"
LATER = "2999-01-01T00:00:00.000Z"
ANSWER = {"type": "gemini", "content": "Good day", "tokens": {"input": 1, "output": 1}}


class Stage:
    def __init__(self, home, **given):
        self.home, self.clock, self.mirror = home, Clock(), RecordingMirror()
        environ = {"HOME": str(home)}
        self.start = LocalStart("/bin/gemini", "row", str(home / "no"), environ, home, **given)
        self.program = own_program(self.clock, self.start, self.mirror)

    def chat(self, session, minute="2026-11-27T14-00", **head):
        path = self.home / f".gemini/tmp/shop/chats/session-{minute}-{session[:8]}.jsonl"
        path.parent.mkdir(parents=True, exist_ok=True)
        head = {"sessionId": session, "startTime": LATER, "kind": "main", **head}
        self.write(path, head)
        return path

    @staticmethod
    def write(path, *lines):
        with path.open("a") as file:
            file.writelines(json.dumps(line) + "\n" for line in lines)

    def say(self, path, text):
        self.write(
            path,
            {"id": f"{text}:user", "type": "user", "content": [{"text": text}]},
            {"id": f"{text}:answer", **ANSWER},
        )

    def run(self, seconds=SEARCH_INTERVAL):
        if not self.program._polls.running:
            self.program.started(os.getpid())
        self.clock.advance(seconds)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"agent_session": ID}, ("--resume", ID)),
        ({"agent_session": ID, "model": "flash"}, ("--resume", ID, "--model", "flash")),
        (
            {"agent_session": ID, "permission_mode": "acceptEdits"},
            ("--resume", ID, "--approval-mode", "auto_edit"),
        ),
        ({"agent_session": ID, "permission_mode": "read-only"}, ("--resume", ID)),
        ({"agent_session": ID, "words": ("--debug",)}, ("--resume", ID, "--debug")),
    ],
)
def test_what_the_session_knows_becomes_words_of_the_program(tmp_path, given, words):
    assert Stage(tmp_path, **given).program.prepare().argv[1:] == words


def test_a_new_conversation_has_the_id_that_it_was_given(tmp_path):
    stage = Stage(tmp_path)
    option, session = stage.program.prepare().argv[1:]
    assert option == "--session-id"
    stage.run()
    stage.say(stage.chat(session), "Hello")
    stage.run()
    assert stage.mirror.of("agent_session") == [session]
    assert stage.mirror.story() == ["> Hello", "begins", "message: Good day"]
    stage.run(TURN_TIMEOUT)
    assert stage.mirror.story()[-1] == "ends"
    assert stage.mirror.places[-1]["offset"] > 0


def test_of_two_files_of_a_conversation_the_one_that_holds_it_is_followed(tmp_path):
    before = Stage(tmp_path)
    path = before.chat(ID)
    before.say(path, "Before")
    before.chat(ID, minute="2026-11-27T14-05")  # as the ACP server begins one
    stage = Stage(tmp_path, agent_session=ID)
    stage.run()
    stage.say(path, "After")
    stage.run()
    assert stage.mirror.of("prompt") == ["After"]


def test_after_a_crash_it_is_read_from_the_checkpoint(tmp_path):
    before = Stage(tmp_path)
    path = before.chat(ID)
    before.say(path, "Known")
    place = {"path": str(path), "offset": path.stat().st_size}
    before.say(path, "Not known")
    stage = Stage(tmp_path, agent_session=ID, checkpoint=place)
    stage.run()
    assert stage.mirror.of("prompt") == ["Not known"]


def test_a_conversation_that_begins_after_clear_is_followed(tmp_path):
    stage = Stage(tmp_path, agent_session=ID)
    stage.say(stage.chat(ID), "First")
    stage.program = own_program(stage.clock, stage.start, stage.mirror)
    stage.run()
    stage.chat("0b1c2d3e-old", startTime="2020-01-01T00:00:00.000Z")
    stage.chat("aa1c2d3e-sub", kind="subagent")
    stage.say(stage.chat("ad11714c-new"), "Second")
    stage.run()
    stage.run()
    assert stage.mirror.of("agent_session") == ["ad11714c-new"]
    assert stage.mirror.of("prompt") == ["Second"]


def test_a_file_of_this_minute_is_named_as_if_it_had_begun_before(tmp_path):
    path = tmp_path / "session-2026-11-27T14-00-e7bdf498.jsonl"
    path.write_text("kept")
    at = 1795788000.0  # 2026-11-27 14:00:00 UTC
    make_loadable(path, at + 60)
    assert path.exists()
    make_loadable(path, at + 59)
    assert (tmp_path / "session-2026-11-27T13-59-e7bdf498.jsonl").read_text() == "kept"
    assert not path.exists()


@pytest.mark.parametrize("session", ["../../..", "*", "", "short", "[a-z][a-z]"])
def test_an_odd_id_names_no_file(tmp_path, session):
    stage = Stage(tmp_path, agent_session=session)
    stage.run()
    assert stage.mirror.calls == []
