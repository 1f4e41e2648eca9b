"""OpenCode's events as they were recorded (1.18.33, a scripted model), and damaged ones."""

import json
from pathlib import Path

import pytest

from hapi.protocol.acp.prompts import Usage
from hapi.protocol.permissions import PermissionAnswer
from hapi.session.local.opencode_events import ConversationReader
from hapi.session.local.opencode_requests import Requests
from tests.support.recording_mirror import RecordingMirror

SAMPLE = Path(__file__).parent / "samples/opencode-1.18.33.jsonl"
EVENTS = [json.loads(line) for line in SAMPLE.read_text().splitlines()]
SESSION = "ses_de2cb0037ffegRr7NLychrCNBz"
BEGIN = EVENTS[0]["properties"]["info"]["time"]["created"]


class Stage:
    def __init__(self, session=None, since=BEGIN):
        self.mirror, self.sent = RecordingMirror(), []
        self.reader = ConversationReader(
            self.mirror, since, session, lambda provider, model: 100_000
        )
        self.requests = Requests(
            self.mirror, lambda path, body: self.sent.append((path, body)), self.reader.call
        )

    def play(self, events):
        for event in events:
            self.reader.event(event)
            self.requests.event(event)
        return self


def messages(events):
    """The messages of the session as the server lists them after `events`."""
    found = {}
    for event in events:
        properties = event["properties"]
        if event["type"] == "message.updated":
            info = properties["info"]
            found.setdefault(info["id"], {"parts": {}})["info"] = info
        elif event["type"] == "message.part.updated":
            part = properties["part"]
            found[part["messageID"]]["parts"][part["id"]] = part
    return [
        {"info": each["info"], "parts": list(each["parts"].values())} for each in found.values()
    ]


def test_turns_are_reported_in_the_order_in_which_they_happened():
    assert Stage().play(EVENTS).mirror.story() == [
        "> run: echo hello > out.txt && cat out.txt",
        "begins",
        "reasoning: A tool is wanted.",
        "message: I will run it.",
        "echo hello > out.txt && cat out.txt: in_progress",
        "asks echo hello > out.txt && cat out.txt",
        "allowed",
        "result",
        "message: Output: hello",
        "ends",
        "> ask: Which colour?",
        "begins",
        "reasoning: A tool is wanted.",
        "asks AskUserQuestion",
        "question: in_progress",
        "allowed",
        "result",
        (
            'message: Output: User has answered your questions: "Which colour?"="Blue". '
            "You can now continue with the user's answers in mind."
        ),
        "ends",
        "> write: /home/ann/shop/a.txt some words",
        "begins",
        "reasoning: A tool is wanted.",
        "write: in_progress",
        "asks write",
        "allowed",
        "result",
        "message: Output: Wrote file successfully.",
        "ends",
        "> please hold",
        "begins",
        "message: Holding ",
        "- Session aborted",
        "ends",
    ]


def test_the_session_its_title_and_the_usage_of_each_turn_are_told_once():
    mirror = Stage().play(EVENTS).mirror
    assert mirror.of("agent_session") == [SESSION]
    assert mirror.of("title") == ["A short title"]
    used = [call[1:] for call in mirror.calls if call[0] == "usage"]
    assert used == [(Usage(200, 40), "scripted/plain", (120, 100_000))] * 3


def test_times_never_go_back_and_keys_are_never_given_twice():
    mirror = Stage().play(EVENTS).mirror
    assert mirror.times == sorted(mirror.times)
    assert len(set(mirror.keys)) == len(mirror.keys)


def test_a_written_file_is_a_card_with_its_changes():
    cards = [
        data
        for data in Stage().play(EVENTS).mirror.of("record")
        if data.get("nativeKind") == "edit"
    ]
    assert cards[0]["changes"][0]["path"] == "/home/ann/shop/a.txt"


@pytest.mark.parametrize("lost", [(0, 30), (12, 40), (20, 100), (60, len(EVENTS))])
def test_what_a_lost_stream_left_out_is_read_later_and_nothing_twice(lost):
    first, last = lost
    stage = Stage(SESSION).play(EVENTS[:first])
    stage.reader.messages(messages(EVENTS[:last]))
    stage.reader.messages(messages(EVENTS[:last]))
    stage.play(EVENTS[last:])
    if last == len(EVENTS):
        stage.reader.status({})

    def said(story):
        return [line for line in story if line[:1] == ">" or line.startswith("message:")]

    assert said(stage.mirror.story()) == said(Stage().play(EVENTS).mirror.story())
    results = [line for line in stage.mirror.story() if line == "result"]
    assert len(results) == 3


def test_messages_from_before_the_program_began_are_not_reported():
    stage = Stage(SESSION, since=BEGIN + 10**9)
    stage.reader.messages(messages(EVENTS))
    assert [name for name in stage.mirror.names() if name != "title"] == []


def test_after_a_crash_reading_goes_on_from_the_checkpoint_with_the_same_keys():
    before = Stage().play(EVENTS[:49])
    place = before.reader.place
    assert place["session"] == SESSION
    after = Stage(SESSION, place["since"])
    after.reader.messages(messages(EVENTS))
    new = [key for key in after.mirror.keys if key not in before.mirror.keys]
    assert set(after.mirror.keys) - set(new) <= set(before.mirror.keys)
    assert "> run" not in "".join(after.mirror.story())


def test_a_subagent_is_no_session_of_the_person():
    child = json.loads(json.dumps(EVENTS).replace(SESSION, "ses_child"))
    for event in child:
        if event["type"].startswith("session.") and "info" in event["properties"]:
            event["properties"]["info"]["parentID"] = SESSION
    stage = Stage(SESSION).play(child)
    assert [line for line in stage.mirror.story() if "asks" not in line and line != "allowed"] == []
    assert "asks bash" in stage.mirror.story()  # the terminal asks for it as well


def test_another_session_is_followed_once_the_person_prompts_it():
    later = json.dumps(EVENTS[:49]).replace("17957863", "17957963")
    other = json.loads(later.replace(SESSION, "ses_other"))
    stage = Stage().play(EVENTS).play([other[0]])
    assert stage.mirror.of("agent_session") == [SESSION]
    stage.play(other[1:])
    assert stage.mirror.of("agent_session") == [SESSION, "ses_other"]


def test_an_old_session_that_is_prompted_is_followed_once_it_is_known_to_be_the_persons():
    other = json.loads(json.dumps(EVENTS[1:49]).replace(SESSION, "ses_other"))
    stage = Stage(SESSION).play(other)
    assert stage.mirror.of("agent_session") == ["ses_other"]
    assert stage.mirror.story()[0].startswith("> run")


# --- requests
def answer(**given):
    return PermissionAnswer("x", **{"approved": True, "decision": "approved", **given})


@pytest.mark.parametrize(
    ("given", "body"),
    [
        ({}, {"reply": "once"}),
        ({"decision": "approved_for_session"}, {"reply": "always"}),
        ({"approved": False, "decision": "denied"}, {"reply": "reject"}),
        (
            {"approved": False, "decision": "denied", "reason": "Not now"},
            {"reply": "reject", "message": "Not now"},
        ),
    ],
)
def test_the_answer_of_the_page_is_what_opencode_gets(given, body):
    stage = Stage().play(EVENTS[:23])
    [(request, reply)] = stage.mirror.answers.items()
    reply(answer(**given))
    assert stage.sent == [(f"/permission/{request}/reply", body)]


def test_a_question_is_answered_with_the_labels_and_refused_without():
    stage = Stage()
    asked = next(event for event in EVENTS if event["type"] == "question.asked")
    stage.play(EVENTS[:1]).play([asked])
    [(request, reply)] = stage.mirror.answers.items()
    reply(answer(answers={"Which colour?": ["Blue"]}))
    reply(answer(approved=False, decision="denied"))
    assert stage.sent == [
        (f"/question/{request}/reply", {"answers": [["Blue"]]}),
        (f"/question/{request}/reject", {}),
    ]


def test_a_request_stands_at_the_card_of_its_call():
    stage = Stage().play(EVENTS[:23])
    [request] = stage.mirror.of("request")
    cards = [data["callId"] for data in stage.mirror.of("record") if data["type"] == "tool-call"]
    assert cards == [request.call_id]
    assert request.arguments == {"command": "echo hello > out.txt && cat out.txt"}


def test_requests_that_were_settled_while_the_stream_was_lost_are_over():
    stage = Stage().play(EVENTS[:23])
    stage.requests.listed([], [])
    assert stage.mirror.calls[-1][2] is None


def test_requests_are_over_when_the_program_ends():
    stage = Stage().play(EVENTS[:23])
    stage.requests.finish()
    stage.reader.finish()
    assert stage.mirror.story()[-3:] == ["over", "failed", "ends"]


# --- hostile
RUBBISH = [None, 7, "x", [], {}, [None], {"id": 5}, {"time": {"created": "x"}}, -1, True]


@pytest.mark.parametrize("value", RUBBISH, ids=repr)
def test_nothing_in_an_event_breaks_the_reader(value):
    for event in EVENTS[:30] + [e for e in EVENTS if e["type"].startswith("question")]:
        for damaged in _damaged(event, value):
            stage = Stage().play([EVENTS[0], EVENTS[1]])
            if isinstance(damaged, dict):
                stage.play([damaged])
            stage.reader.messages([damaged])
            stage.reader.sessions([damaged])
            stage.reader.status(damaged)
            stage.requests.listed([damaged], damaged)
            stage.reader.finish()


def _damaged(value, other):
    """Copies of `value` in each of which one part is replaced by `other`."""
    yield other
    if isinstance(value, dict):
        for name, item in value.items():
            for damaged in _damaged(item, other):
                yield {**value, name: damaged}
    elif isinstance(value, list):
        for index, item in enumerate(value):
            for damaged in _damaged(item, other):
                yield [*value[:index], damaged, *value[index + 1 :]]
