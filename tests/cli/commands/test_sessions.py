"""What `hapi sessions` prints of what the hub says, without a hub."""

from __future__ import annotations

import json
from typing import Any

import pytest
from click.testing import CliRunner

from hapi.cli.app import hapi
from hapi.cli.base.errors import USAGE, CommandError
from hapi.cli.commands.sessions import show
from hapi.cli.commands.sessions.ask import find_session
from hapi.cli.commands.sessions.watch import Report
from hapi.client import Event, Message, Session

OPTIONS = [{"id": "once", "name": "Allow", "kind": "allow_once"}]
REQUESTS = {"r1": {"tool": "Bash", "arguments": {"command": "ls"}, "options": OPTIONS}}
SESSION_ID = "04610d65-0000-4000-8000-000000000001"


def spoken(seq: int, role: str, text: str) -> Message:
    return Message(f"m{seq}", seq, {"role": role, "content": {"type": "text", "text": text}})


def noted(seq: int, text: str) -> Message:
    data = {"type": "message", "message": text}
    return Message(f"m{seq}", seq, {"role": "agent", "content": {"type": "event", "data": data}})


def tool_call(seq: int) -> Message:
    data = {"type": "tool-call", "name": "Bash"}
    return Message(f"m{seq}", seq, {"role": "agent", "content": {"type": "codex", "data": data}})


class HubWithOneSession:
    """The client of a hub whose session waits, after a turn with many tool calls."""

    async def sessions(self) -> list[Any]:
        return [Session(SESSION_ID)]

    async def session(self, session_id: str) -> Session:
        return Session(session_id, active=True, agent_state={"requests": REQUESTS})

    async def messages(self, session_id: str, limit: int = 50) -> list[Message]:
        found = [
            spoken(1, "user", "earlier"),
            spoken(2, "user", "list the files"),
            *(tool_call(seq) for seq in range(3, 40)),
            spoken(40, "agent", "there are none"),
            noted(41, "Claude prompt failed: \x1b[31mno\nmore"),
            noted(42, "Session aborted"),
        ]
        return found[-limit:]


@pytest.fixture
def one_session(monkeypatch):
    def ask_hub(ask: Any) -> Any:
        try:
            ask(HubWithOneSession()).send(None)
        except StopIteration as end:
            return end.value
        raise AssertionError("the command waits for something else than the hub")

    monkeypatch.setattr(show, "ask_hub", ask_hub)


def shown(*words: str) -> str:
    done = CliRunner().invoke(hapi, ["sessions", "show", SESSION_ID, *words])
    assert done.exit_code == 0, done.output
    return done.stdout


def test_a_session_is_shown_with_its_newest_prompts_and_answers_however_many_tool_calls_it_made(
    one_session,
):
    text = shown("--messages", "2")
    assert "You: list the files" in text
    assert "Agent: there are none" in text
    assert "earlier" not in text
    assert "earlier" in shown("--messages", "3")
    assert "there are none" not in shown("--messages", "0")


def test_a_session_is_shown_with_the_notes_that_the_end_of_its_conversation_has(one_session):
    assert shown("--messages", "1").endswith(
        "Agent: there are none\n\n"
        "Note: Claude prompt failed: \\x1b[31mno more\n\n"
        "Note: The turn was stopped; the session goes on\n"
    )


def test_a_session_is_shown_with_the_options_of_its_requests_and_their_ids(one_session):
    assert "  Option once: Allow\n" in shown()
    report = json.loads(shown("--json", "--messages", "1"))
    assert report["state"] == "waiting"
    assert report["requests"][0]["options"] == OPTIONS
    assert [message["id"] for message in report["messages"]] == ["m40", "m41", "m42"]


def test_an_empty_id_is_a_usage_error_and_not_the_beginning_of_all_ids():
    with pytest.raises(CommandError, match="the ID of the session is empty") as refused:
        find_session(HubWithOneSession(), "").send(None)
    assert refused.value.exit_code == USAGE


def updated(**data: Any) -> Event:
    return Event("session-updated", {"sessionId": "s1", "data": data})


def test_who_watches_is_told_of_requests_and_of_the_begin_and_end_of_turns_once():
    report = Report()
    assert report.lines(updated(thinking=False)) == []
    assert report.lines(updated(thinking=True, activeAt=1)) == ["s1 is working"]
    assert report.lines(updated(thinking=True, activeAt=2)) == []
    asked = updated(agentState={"version": 3, "value": {"requests": REQUESTS}})
    assert report.lines(asked) == ["s1 waits for an answer: request r1 (Bash)"]
    assert report.lines(updated(id="s1", agentState={"requests": REQUESTS})) == []  # the whole
    assert report.lines(updated(agentState={"version": 4, "value": {"requests": {}}})) == []
    assert report.lines(asked) == ["s1 waits for an answer: request r1 (Bash)"]
    assert report.lines(updated(thinking=False)) == ["s1 is idle"]
    assert report.lines(updated(active=False, thinking=False)) == ["s1 is inactive"]


def called(**data: Any) -> Event:
    content = {"role": "agent", "content": {"type": "codex", "data": {"type": "tool-call", **data}}}
    message = {"id": "m1", "seq": 1, "content": content}
    return Event("message-received", {"sessionId": "s1", "message": message})


def test_who_watches_is_told_of_each_tool_call_once():
    report = Report()
    assert report.lines(called(callId="c1", name="Bash", status="pending")) == ["s1 tool: Bash"]
    assert report.lines(called(callId="c1", name="Bash", status="in_progress")) == []
    assert report.lines(called(callId="c2", name="Bash")) == ["s1 tool: Bash"]


def test_who_watches_is_told_once_that_a_session_is_inactive_until_it_is_active_again():
    report = Report()
    assert report.lines(updated(active=False)) == ["s1 is inactive"]
    assert report.lines(updated(id="s1", active=False)) == []
    assert report.lines(updated(active=True, thinking=True)) == ["s1 is working"]
    assert report.lines(updated(active=False)) == ["s1 is inactive"]
