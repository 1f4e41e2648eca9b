"""Updates of an agent become the records that the page draws."""

import json
import re
import time
from itertools import count

from hapi.protocol.acp.prompts import Usage
from hapi.protocol.acp.tool_content import FileChange, TerminalEnd
from hapi.protocol.acp.updates import Plan, Text, Thought, ToolCall
from hapi.protocol.records import (
    READY,
    agent_record,
    event_record,
    message_event,
    token_count,
    user_record,
)
from hapi.protocol.transcript import OUTPUT_END, OUTPUT_START, Transcript
from tests.support.paths import FIXTURES


def transcript():
    numbers = count(1)
    return Transcript(lambda: f"id-{next(numbers)}")


def told(steps):
    """The records of (seconds, update) pairs and of the end of the turn."""
    made = transcript()
    return [record for at, update in steps for record in made.update(update, at)] + made.finish()


def test_text_goes_out_per_finished_block():
    made = transcript()
    assert made.update(Text("Hel"), 0) == []
    assert made.update(Text("lo"), 1) == []
    assert made.update(Plan(()), 2) == [
        {"type": "message", "message": "Hello", "id": "id-1"},
        {"type": "plan", "entries": []},
    ]
    assert made.finish() == []


def test_an_open_block_has_from_its_beginning_the_id_of_its_final_record():
    made = transcript()
    made.update(Thought("hm"), 0)
    assert (made.open_thought.id, made.open_thought.text) == ("id-1", "hm")
    made.update(Text("Hel"), 0)
    made.update(Text("lo"), 0)
    assert made.open_thought is None
    assert (made.open_text.id, made.open_text.text) == ("id-2", "Hello")
    assert made.finish() == [{"type": "message", "message": "Hello", "id": "id-2"}]
    assert made.open_text is None


def test_another_message_is_another_block():
    assert told([(0, Text("one", "a")), (0, Text("two", "b"))]) == [
        {"type": "message", "message": "one", "id": "id-1"},
        {"type": "message", "message": "two", "id": "id-2"},
    ]


def test_blank_text_is_not_shown():
    assert told([(0, Text("  \n")), (0, Thought(" "))]) == []


def test_thoughts_grow_in_snapshots_at_least_a_quarter_second_apart_and_end_without_live():
    records = told(
        [
            (0.0, Thought("a")),
            (0.1, Thought("b")),
            (0.25, Thought("c")),
            (0.3, Thought("d")),
            (0.4, Text("so")),
        ]
    )
    assert records == [
        {"type": "reasoning", "message": "a", "id": "id-1", "live": True},
        {"type": "reasoning", "message": "abc", "id": "id-1", "live": True},
        {"type": "reasoning", "message": "abcd", "id": "id-1"},
        {"type": "message", "message": "so", "id": "id-2"},
    ]


def test_each_stream_of_thought_has_an_id_of_its_own():
    records = told([(0, Thought("a")), (1, Text("x")), (2, Thought("b"))])
    assert [
        record["id"] for record in records if record["type"] == "reasoning" and "live" not in record
    ] == ["id-1", "id-3"]


def test_a_tool_call_lives_from_pending_to_its_result():
    records = told(
        [
            (0, ToolCall("c", "Shell: ls", "execute", "pending", {"command": "ls"})),
            (1, ToolCall("c", status="in_progress")),
            (2, ToolCall("c", status="in_progress", output="a")),
            (3, ToolCall("c", status="completed", output="a\nb")),
            (4, ToolCall("c", status="completed", output="late")),
        ]
    )
    call = {"type": "tool-call", "name": "Shell: ls", "callId": "c", "input": {"command": "ls"}}
    native = {"nativeTitle": "Shell: ls", "nativeKind": "execute"}
    assert records == [
        {**call, "status": "pending", **native},
        {**call, "status": "in_progress", **native},
        {"type": "tool-call-result", "callId": "c", "output": "a\nb", "is_error": False},
    ]


def test_pieces_that_a_terminal_prints_are_put_together():
    records = told(
        [
            (0, ToolCall("c", "ls", "execute", "in_progress", {"command": "ls"})),
            (1, ToolCall("c", output_delta="a.txt\n")),
            (2, ToolCall("c", output_delta="b.txt\n")),
            (3, ToolCall("c", status="completed", terminal_end=TerminalEnd(0))),
        ]
    )
    assert records[-1]["output"] == "a.txt\nb.txt\n"


def test_many_small_pieces_of_output_take_linear_time_and_make_no_records():
    def seconds(count):
        made, start = transcript(), time.process_time()
        made.update(ToolCall("c", "make", "execute", "in_progress", {"command": "make"}), 0)
        for number in range(count):
            assert (
                made.update(ToolCall("c", status="in_progress", output_delta="x" * 20), number)
                == []
            )
        return time.process_time() - start

    few = min(seconds(20_000) for _ in range(3))
    assert seconds(160_000) < 8 * 4 * few


def test_of_endless_output_the_start_and_the_end_are_kept():
    made = transcript()
    made.update(ToolCall("c", "make", "execute", "in_progress", output="first line\n"), 0)
    for number in range(100_000):
        made.update(ToolCall("c", output_delta=f"line {number}\n"), number)
    [live] = made.live_blocks()
    result = made.update(ToolCall("c", status="completed"), 1)[-1]["output"]
    assert live.text == result
    assert len(result) < OUTPUT_START + 3 * OUTPUT_END
    assert result.startswith("first line\nline 0\n")
    assert result.endswith("line 99998\nline 99999\n")
    start, words, end = re.split("\n… ([0-9]+) characters are not shown …\n", result)
    said = "first line\n" + "".join(f"line {number}\n" for number in range(100_000))
    assert len(start) + int(words) + len(end) == len(said)
    assert said.startswith(start)
    assert said.endswith(end)


def test_output_that_replaces_what_was_printed_is_all_of_it():
    [*_, result] = told(
        [
            (0, ToolCall("c", "ls", output="old")),
            (1, ToolCall("c", output_delta=" and more")),
            (2, ToolCall("c", output="new")),
            (3, ToolCall("c", status="completed", output_delta="er")),
        ]
    )
    assert result["output"] == "newer"


def test_the_exit_code_of_a_command_that_failed_is_the_last_line_of_its_output():
    [_, result] = told(
        [(0, ToolCall("c", "ls", None, "failed", output="x\n", terminal_end=TerminalEnd(2)))]
    )
    assert result["output"] == "x\nExited with code 2"


def test_an_update_with_empty_content_takes_the_words_of_the_question_back():
    records = told(
        [
            (0, ToolCall("c", "ls", output="May I run ls?")),
            (1, ToolCall("c", status="completed", output="")),
        ]
    )
    assert records[-1]["output"] == ""


def test_changes_are_shown_in_the_card_and_are_the_result_of_a_tool_that_says_nothing():
    change = FileChange("a.txt", "one\n", "two\n")
    [card, result] = told([(0, ToolCall("c", "Edit", "edit", "completed", changes=(change,)))])
    [shown] = card["changes"]
    assert (shown["path"], shown["added"], shown["removed"]) == ("a.txt", 1, 1)
    assert "-one\n+two" in shown["diff"]
    assert result["output"] == shown["diff"]


def test_a_call_that_is_first_seen_when_it_is_over_is_shown_with_its_result():
    records = told([(0, ToolCall("c", "read", "read", "failed", None, "no such file"))])
    assert [record["type"] for record in records] == ["tool-call", "tool-call-result"]
    assert records[1]["is_error"]


def test_a_call_without_title_is_named_by_its_kind():
    assert told([(0, ToolCall("c", kind="fetch"))])[0]["name"] == "fetch"


def test_a_permission_request_shows_the_card_first_and_does_not_turn_it_back():
    made = transcript()
    made.update(
        ToolCall("c", "bash", "execute", "in_progress", {"command": "ls", "description": "list"}), 0
    )
    records, tool, arguments = made.permission_requested(
        ToolCall("c", "ls", "execute", "pending", {"command": "ls"})
    )
    assert [(record["name"], record["status"]) for record in records] == [("ls", "in_progress")]
    assert (tool, arguments) == ("ls", {"command": "ls"})


def test_a_permission_request_for_an_unknown_call_makes_its_card():
    records, tool, arguments = transcript().permission_requested(ToolCall("c", "Write", "edit"))
    assert [record["type"] for record in records] == ["tool-call"]
    assert (tool, arguments) == ("Write", {})


def test_an_interrupted_turn_closes_the_calls_that_will_never_end():
    made = transcript()
    made.update(ToolCall("done", "a", status="completed"), 0)
    made.update(ToolCall("open", "b", status="in_progress"), 0)
    assert made.finish(interrupted=True) == [
        {"type": "tool-call-result", "callId": "open", "output": "Interrupted", "is_error": True}
    ]


def results(records):
    return [
        (record["callId"], record["output"], record["is_error"])
        for record in records
        if record["type"] == "tool-call-result"
    ]


def test_a_turn_that_ends_in_order_says_of_an_open_call_that_it_has_no_result():
    made = transcript()
    made.update(ToolCall("silent", "bash", "execute", "pending"), 0)
    made.update(ToolCall("half", "ls", "execute", "in_progress", output="a.txt"), 0)
    assert results(made.finish()) == [
        ("silent", "The agent reported no result for this call", False),
        ("half", "a.txt", False),
    ]
    assert made.finish() == []


def test_a_late_end_opens_the_card_again_with_its_name_and_input():
    made = transcript()
    made.update(ToolCall("c", "helper", "think", "pending", {"prompt": "look"}), 0)
    made.finish()
    card, result = made.update(ToolCall("c", status="completed", output="4 files read"), 9)
    assert (card["name"], card["input"]) == ("helper", {"prompt": "look"})
    assert (result["output"], result["is_error"]) == ("4 files read", False)


def test_a_call_that_was_asked_to_run_in_the_background_stays_open_and_ends_later():
    made = transcript()
    made.update(ToolCall("c", "make", "execute", "in_progress", {"run_in_background": True}), 0)
    assert made.finish() == []
    assert made.has_open_calls
    made.begin_turn()
    assert made.finish() == []
    assert results(made.update(ToolCall("c", status="completed", output="built"), 9)) == [
        ("c", "built", False)
    ]
    assert not made.has_open_calls


def test_a_call_that_goes_on_outside_a_turn_is_not_closed_by_the_end_of_another():
    made = transcript()
    made.update(ToolCall("c", "helper", "think", "pending"), 0)
    made.finish()
    (card,) = made.update(ToolCall("c", status="in_progress"), 1)
    assert (card["status"], card["reopens"]) == ("in_progress", True)
    made.begin_turn()
    assert made.finish() == []
    assert results(made.finish_background()) == [
        ("c", "The agent reported no result for this call", False)
    ]


def test_an_interrupted_call_is_not_opened_again_unless_it_has_ended():
    made = transcript()
    made.update(ToolCall("c", "bash", "execute", "in_progress"), 0)
    made.finish(interrupted=True)
    assert made.update(ToolCall("c", status="in_progress", output="more"), 1) == []
    assert results(made.update(ToolCall("c", status="failed", output="cancelled"), 2)) == [
        ("c", "cancelled", True)
    ]


def test_text_before_and_after_the_end_of_a_call_is_two_messages_in_order():
    records = told(
        [
            (0, ToolCall("c", "helper", "think", "in_progress")),
            (1, Text("Before the end. ")),
            (2, ToolCall("c", status="completed", output="done")),
            (3, Text("After the end.")),
        ]
    )
    assert [
        record.get("message") or record.get("output") or record["type"] for record in records
    ] == [
        "tool-call",
        "Before the end. ",
        "done",
        "After the end.",
    ]


def test_a_change_of_a_card_and_the_end_of_another_call_do_not_break_a_sentence():
    records = told(
        [
            (0, ToolCall("c", "helper", "think", "pending")),
            (1, Text("One ", "m")),
            (2, ToolCall("c", status="in_progress")),
            (3, Text("sentence ", "m")),
            (4, ToolCall("c", status="completed", output="done")),
            (5, Text("only.", "m")),
        ]
    )
    assert [record["message"] for record in records if record["type"] == "message"] == [
        "One sentence only."
    ]


def kinds_and_texts(records):
    return [(record["type"], record.get("message")) for record in records if not record.get("live")]


def test_a_thought_does_not_split_the_text_of_one_message():
    steps = [(0, Text("Two ", "m")), (1, Thought("hm")), (2, Text("words", "m"))]
    assert kinds_and_texts(told(steps)) == [("reasoning", "hm"), ("message", "Two words")]


def test_a_thought_splits_text_without_a_message_id_only_where_a_sentence_ends():
    broken_off = [(0, Text("Two ")), (1, Thought("hm")), (2, Text("words."))]
    assert kinds_and_texts(told(broken_off)) == [("reasoning", "hm"), ("message", "Two words.")]
    complete = [(0, Text("I look. ")), (1, Thought("hm")), (2, Text("Found."))]
    assert kinds_and_texts(told(complete)) == [
        ("message", "I look. "),
        ("reasoning", "hm"),
        ("message", "Found."),
    ]


def test_text_that_does_not_go_on_after_a_thought_comes_before_it():
    steps = [
        (0, Text("Reading", "m")),
        (1, Thought("hm")),
        (2, ToolCall("c", "cat", "read", "pending")),
    ]
    assert kinds_and_texts(told(steps))[:3] == [
        ("message", "Reading"),
        ("reasoning", "hm"),
        ("tool-call", None),
    ]


def test_the_words_of_a_question_are_not_the_output_of_the_tool():
    made = transcript()
    made.permission_requested(ToolCall("c", "ls", "execute", "pending", None, "Run ls here?"))
    result = made.update(ToolCall("c", status="completed", output=""), 1)[-1]
    assert result["output"] == ""


def recorded():
    """What the real session process sent as `message`, in order."""
    lines = [
        json.loads(line) for line in (FIXTURES / "session-full-acp.jsonl").read_text().splitlines()
    ]
    frames = [
        line["frame"]
        for line in lines
        if line.get("dir") == "c2s" and line["frame"].startswith('42/cli,["message"')
    ]
    return [json.loads(frame.removeprefix("42/cli,"))[1]["message"] for frame in frames]


def test_the_first_turn_of_the_recording_comes_out_as_recorded():
    made = transcript()
    steps = [
        (0.0, Thought("Let me think about this.")),
        (0.3, Thought(" Done.")),
        (0.31, Text("Listing files. ")),
        (
            0.31,
            Plan(
                (
                    {"content": "list files", "priority": "high", "status": "in_progress"},
                    {"content": "report", "priority": "low", "status": "pending"},
                )
            ),
        ),
        (0.31, ToolCall("call-1", "Shell: ls", "execute", "pending", {"command": "ls"})),
        (0.9, ToolCall("call-1", status="in_progress")),
        (0.9, ToolCall("call-1", status="completed", output="a.txt\nb.txt")),
        (1.0, Text("There are two files.")),
    ]
    ours = [agent_record(record) for at, update in steps for record in made.update(update, at)]
    ours += [agent_record(record) for record in made.finish()]
    ours += [agent_record(token_count(Usage(110, 20, 120, 5, 10), "k2", None)), event_record(READY)]
    theirs = [content for content in recorded() if content["content"]["data"]["type"] != "summary"][
        : len(ours)
    ]
    assert [comparable(content) for content in ours] == [comparable(content) for content in theirs]


def comparable(content):
    """Without generated ids; npm's process sends a call's native names once, ours each time."""
    copy = json.loads(json.dumps(content))
    inner = copy["content"]
    inner.pop("id", None)
    data = inner["data"]
    data.pop("id", None)
    for name in ("nativeTitle", "nativeKind"):
        data.pop(name, None)
    return copy


def test_status_lines_and_typed_prompts_have_the_recorded_shape():
    aborted = next(
        content
        for content in recorded()
        if content["content"]["data"].get("message") == "Session aborted"
    )
    assert comparable(event_record(message_event("Session aborted"))) == comparable(aborted)
    assert user_record("hi") == {
        "role": "user",
        "content": {"type": "text", "text": "hi"},
        "meta": {"sentFrom": "cli"},
    }
