"""The conversations that the demo agent keeps in files, which other demo agents prune."""

import errno
import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from hapi.session.demo.conversation import (
    MAX_CONVERSATIONS,
    DemoConversation,
    remove_oldest_transcripts,
    transcript_path,
)
from hapi.session.demo.texts import abilities
from tests.support.disk_vanishing import removed_after_listing

FIRST, SECOND = "demo-0000000000000001", "demo-0000000000000002"


class SilentStream:
    """Keeps what the agent says."""

    def __init__(self):
        self.said = []

    def update(self, session_id, kind, /, **fields):
        if kind == "agent_message_chunk":
            self.said.append(fields["content"]["text"])


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("HAPI_HOME", str(tmp_path))
    return tmp_path


def conversation(session_id=FIRST, stream=None):
    return DemoConversation(stream or SilentStream(), session_id, "/")


def texts(session_id=FIRST):
    loaded = conversation(session_id)
    loaded.load()
    return [entry["text"] for entry in loaded.transcript]


def keep(home, count):
    (home / "demo").mkdir(exist_ok=True)
    kept = [home / "demo" / f"demo-{number:016x}.jsonl" for number in range(100, 100 + count)]
    for age, path in enumerate(reversed(kept)):
        path.write_text('{"role": "user", "text": "old"}\n')
        os.utime(path, (1_700_000_000 - age, 1_700_000_000 - age))
    return kept


def test_pruning_goes_on_when_another_agent_has_removed_what_was_listed(home, monkeypatch):
    kept = keep(home, 6)
    with removed_after_listing(monkeypatch, *kept[:2]):
        remove_oldest_transcripts(str(home / "demo"), 3)
    assert sorted((home / "demo").iterdir()) == kept[3:]


def test_a_file_that_is_removed_between_the_look_at_it_and_its_removal_is_no_error(
    home, monkeypatch
):
    kept = keep(home, 4)
    unlink = os.unlink

    def twice(path):
        unlink(path)
        unlink(path)

    monkeypatch.setattr(os, "unlink", twice)
    remove_oldest_transcripts(str(home / "demo"), 2)
    assert sorted((home / "demo").iterdir()) == kept[2:]


def test_agents_that_start_at_once_beside_many_kept_conversations_all_answer(home):
    keep(home, MAX_CONVERSATIONS)
    prompts = [
        {"method": "initialize", "params": {}},
        {"method": "session/new", "params": {"cwd": "/"}},
    ]

    def first_answer(_number):
        process = subprocess.Popen(
            [sys.executable, "-m", "hapi.session.demo.agent"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=os.environ | {"HAPI_HOME": str(home)},
        )
        try:
            for number, prompt in enumerate(prompts):
                process.stdin.write(json.dumps({"jsonrpc": "2.0", "id": number, **prompt}).encode())
                process.stdin.write(b"\n")
                process.stdin.flush()
            session_id = reply_to(process, 1)["result"]["sessionId"]
            prompt = {"sessionId": session_id, "prompt": [{"type": "text", "text": "mode"}]}
            call = {"jsonrpc": "2.0", "id": 2, "method": "session/prompt", "params": prompt}
            process.stdin.write(json.dumps(call).encode() + b"\n")
            process.stdin.flush()
            return reply_to(process, 2)
        finally:
            process.kill()
            process.communicate()

    with ThreadPoolExecutor(8) as pool:
        replies = list(pool.map(first_answer, range(16)))
    assert [reply.get("error") for reply in replies] == [None] * 16
    assert len(list((home / "demo").iterdir())) <= MAX_CONVERSATIONS + 8


def reply_to(process, number):
    return next(found for found in map(json.loads, process.stdout) if found.get("id") == number)


def test_a_conversation_whose_file_another_agent_has_removed_is_written_again_as_a_whole():
    ours = conversation()
    ours.record("user", "one")
    os.unlink(transcript_path(FIRST))
    ours.record("agent", "two")
    assert texts() == ["one", "two"]


def test_conversations_do_not_mix():
    conversation(FIRST).record("user", "mine")
    conversation(SECOND).record("user", "yours")
    assert (texts(FIRST), texts(SECOND)) == (["mine"], ["yours"])


def test_a_conversation_that_was_removed_after_it_was_found_counts_as_missing():
    with pytest.raises(FileNotFoundError):
        conversation().load()


def test_a_torn_line_costs_that_line_only(home):
    ours = conversation()
    ours.record("user", "one")
    with open(transcript_path(FIRST), "ab") as file:
        file.write(b'{"role": "user", "te\n')
    ours.record("agent", "two")
    assert texts() == ["one", "two"]


class FullDisk:
    """`os.write` that takes a part of each write, and then nothing, until there is space."""

    def __init__(self, monkeypatch):
        self._write, self.is_full = os.write, True
        monkeypatch.setattr(os, "write", self.write)

    def write(self, descriptor, data):
        if not self.is_full:
            return self._write(descriptor, data)
        if len(data) < 10:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return self._write(descriptor, bytes(data)[: len(data) - 5])


def test_what_a_full_disk_refused_is_written_with_the_next_entry(monkeypatch):
    ours, disk = conversation(), FullDisk(monkeypatch)
    ours.record("user", "one")
    assert os.path.getsize(transcript_path(FIRST)) == 0
    disk.is_full = False
    ours.record("agent", "two")
    assert texts() == ["one", "two"]


def test_an_agent_on_a_full_disk_answers_and_says_that_it_may_not_remember(monkeypatch):
    stream = SilentStream()
    ours, disk = conversation(stream=stream), FullDisk(monkeypatch)
    ours.answer("which mode is it?")
    said = "".join(stream.said)
    assert said.startswith("I am in the mode")
    assert "could not be saved (No space left on device)" in said
    disk.is_full = False
    stream.said.clear()
    ours.answer("which mode is it?")
    assert "could not be saved" not in "".join(stream.said)
    assert len(texts()) == 4


def test_an_answer_that_was_cut_off_is_given_when_the_agent_is_asked_to_go_on(home):
    conversation().record("user", "run: echo before")
    stream = SilentStream()
    again = conversation(stream=stream)
    again.load()
    again.mode = "yolo"
    again.answer("Please go on.")
    assert "`echo before` ended with 0" in "".join(stream.said)
    stream.said.clear()
    again.answer("Please go on.")  # nothing is open any more
    assert "ended with 0" not in "".join(stream.said)


def test_the_demo_agent_says_where_mode_and_model_are_changed_on_the_page_and_in_the_terminal():
    said = " ".join(abilities("plan").split())
    assert said.endswith(
        "change it or the model in the session's settings on the page, or with F3 and F2 in the "
        "terminal."
    )
