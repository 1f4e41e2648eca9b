"""What agents say in ACP, read from the messages of real ones."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hapi.protocol.acp.introduction import read_introduction
from hapi.protocol.acp.offers import Choice, Offer, Select, read_offer, setting_call
from hapi.protocol.acp.permission_requests import PermissionOption, read_permission_request
from hapi.protocol.acp.pictures import Picture
from hapi.protocol.acp.prompts import Usage, read_usage
from hapi.protocol.acp.tool_content import FileChange, Location, TerminalEnd
from hapi.protocol.acp.updates import (
    Commands,
    Context,
    ModeChanged,
    OptionsChanged,
    Plan,
    Text,
    Thought,
    Titled,
    ToolCall,
    UserText,
    read_update,
)
from hapi.protocol.json import Malformed

OPENCODE = {
    "protocolVersion": 1,
    "agentCapabilities": {"loadSession": True, "sessionCapabilities": {"fork": {}, "list": {}}},
    "authMethods": [{"id": "login", "name": "Login", "description": "Run `opencode auth login`"}],
    "agentInfo": {"name": "OpenCode", "version": "1.18.33"},
}
CONFIG = [
    {
        "id": "model",
        "category": "model",
        "type": "select",
        "currentValue": "a/b",
        "options": [{"value": "a/b", "name": "A B"}, {"value": "c", "name": "C"}],
    },
    {
        "id": "effort",
        "category": "thought_level",
        "type": "select",
        "currentValue": "low",
        "options": [{"value": "low", "name": "Low"}],
    },
    {
        "id": "mode",
        "category": "mode",
        "type": "select",
        "currentValue": "build",
        "options": [{"value": "build", "name": "build"}],
    },
    {"id": "verbose", "type": "boolean", "currentValue": True},
]


def test_an_introduction_tells_abilities_and_how_to_log_in():
    found = read_introduction(OPENCODE)
    assert (found.loads_sessions, found.forks_sessions, found.name) == (True, True, "OpenCode")
    assert [method.name for method in found.auth_methods] == ["Login"]


@pytest.mark.parametrize("value", [None, [], {}, {"protocolVersion": 2}, {"protocolVersion": "1"}])
def test_another_version_of_the_protocol_is_refused(value):
    with pytest.raises(Malformed):
        read_introduction(value)


def test_config_options_say_what_can_be_chosen():
    offer = read_offer({"configOptions": CONFIG})
    assert offer.model == Select(
        "model", "a/b", (Choice("a/b", "A B"), Choice("c", "C")), name="model"
    )
    assert offer.mode.current == "build"
    assert offer.effort.current == "low"
    assert [(other.option, other.current) for other in offer.others] == [("verbose", "on")]
    assert setting_call("s", "verbose", offer.select("verbose"), "off")[1] == {
        "sessionId": "s",
        "configId": "verbose",
        "type": "boolean",
        "value": False,
    }


def test_the_options_of_codex_are_told_apart():
    def option(name, category, *values):
        choices = [{"value": value, "name": value} for value in values]
        return {"id": name, "category": category, "currentValue": values[0], "options": choices}

    offer = read_offer(
        {
            "configOptions": [
                option("mode", "mode", "agent", "read-only"),
                option("collaboration_mode", "collaboration_mode", "default", "plan"),
                option("fast-mode", "model_config", "off", "on"),
            ]
        }
    )
    assert (offer.collaboration.option, offer.speed.option) == ("collaboration_mode", "fast-mode")
    assert offer.others == ()


def test_older_agents_say_it_in_modes_and_models():
    offer = read_offer(
        {
            "modes": {
                "currentModeId": "default",
                "availableModes": [
                    {"id": "default", "name": "Default"},
                    {"id": "plan", "name": "Plan"},
                ],
            },
            "models": {"currentModelId": "m", "availableModels": [{"modelId": "m", "name": "M"}]},
        }
    )
    assert offer.mode == Select(
        None, "default", (Choice("default", "Default"), Choice("plan", "Plan"))
    )
    assert offer.model.has("m")


def test_choices_in_groups_are_choices():
    option = {
        **CONFIG[0],
        "options": [{"group": "g", "name": "G", "options": [{"value": "x", "name": "X"}]}],
    }
    assert read_offer({"configOptions": [option]}).model.choices == (Choice("x", "X"),)


def test_a_later_list_of_options_is_complete():
    modes = {"currentModeId": "ask", "availableModes": [{"id": "ask", "name": "Ask"}]}
    before = read_offer({"modes": modes, "configOptions": CONFIG[:2]})
    after = read_offer({"configOptions": [{**CONFIG[0], "currentValue": "c"}]}, before)
    assert (after.model.current, after.effort, after.mode) == ("c", None, before.mode)
    assert read_offer({}, before) == before


def test_settings_are_set_the_way_they_were_offered():
    assert setting_call("s", "mode", Select("mode", None, ()), "plan") == (
        "session/set_config_option",
        {"sessionId": "s", "configId": "mode", "value": "plan"},
    )
    assert setting_call("s", "mode", Select(None, None, ()), "plan") == (
        "session/set_mode",
        {"sessionId": "s", "modeId": "plan"},
    )
    assert setting_call("s", "model", Select(None, None, ()), "m") == (
        "session/set_model",
        {"sessionId": "s", "modelId": "m"},
    )


def text(said):
    return {"type": "text", "text": said}


@pytest.mark.parametrize(
    ("update", "expected"),
    [
        (
            {"sessionUpdate": "agent_message_chunk", "content": text("Hi"), "messageId": "m"},
            Text("Hi", "m"),
        ),
        ({"sessionUpdate": "agent_thought_chunk", "content": text("Hm")}, Thought("Hm")),
        ({"sessionUpdate": "user_message_chunk", "content": text("Q")}, UserText("Q")),
        (
            {
                "sessionUpdate": "tool_call",
                "toolCallId": "c",
                "title": "bash",
                "kind": "execute",
                "status": "pending",
                "rawInput": {"a": 1},
            },
            ToolCall("c", "bash", "execute", "pending", {"a": 1}),
        ),
        (
            {"sessionUpdate": "tool_call_update", "toolCallId": "c", "status": "strange"},
            ToolCall("c"),
        ),
        (
            {
                "sessionUpdate": "plan",
                "entries": [
                    {"content": "do", "priority": "huge", "status": "completed"},
                    {"content": ""},
                    3,
                ],
            },
            Plan(({"content": "do", "priority": "medium", "status": "completed"},)),
        ),
        (
            {
                "sessionUpdate": "available_commands_update",
                "availableCommands": [{"name": "init", "description": "set up"}, {"name": ""}],
            },
            Commands((("init", "set up"),)),
        ),
        ({"sessionUpdate": "current_mode_update", "currentModeId": "plan"}, ModeChanged("plan")),
        ({"sessionUpdate": "usage_update", "used": 10, "size": 100, "cost": {}}, Context(10, 100)),
        ({"sessionUpdate": "usage_update", "used": -1, "size": 100}, None),
        ({"sessionUpdate": "session_info_update", "title": "T"}, Titled("T")),
        ({"sessionUpdate": "tool_call"}, None),
        ({"sessionUpdate": "something new"}, None),
        (None, None),
    ],
)
def test_updates_are_read(update, expected):
    assert read_update({"sessionId": "s", "update": update}) == expected


def test_changed_options_are_handed_on_for_reading():
    update = read_update(
        {"update": {"sessionUpdate": "config_option_update", "configOptions": CONFIG}}
    )
    assert isinstance(update, OptionsChanged)
    assert read_offer(update.value, Offer()).model.current == "a/b"


@pytest.mark.parametrize(
    ("fields", "output"),
    [
        ({"rawOutput": "plain"}, "plain"),
        (
            {
                "rawOutput": {"output": "hi\n", "metadata": {}},
                "content": [{"type": "content", "content": text("other")}],
            },
            "hi\n",
        ),
        (
            {"rawOutput": [{"type": "text", "text": "one"}, {"type": "text", "text": "two"}]},
            "one\ntwo",
        ),
        (
            {
                "content": [
                    {"type": "content", "content": text("said")},
                    {"type": "terminal", "terminalId": "t"},
                ]
            },
            "said",
        ),
        ({"rawOutput": {"code": 1}}, {"code": 1}),
        (
            {
                "content": [
                    {
                        "type": "content",
                        "content": {"type": "image", "mimeType": "image/png", "data": "…"},
                    }
                ]
            },
            "[image image/png]",
        ),
        ({}, None),
    ],
)
def test_what_a_tool_gave_back_becomes_text_where_possible(fields, output):
    update = read_update(
        {
            "update": {
                "sessionUpdate": "tool_call_update",
                "toolCallId": "c",
                "status": "completed",
                **fields,
            }
        }
    )
    assert update.output == output


def tool_update(**fields):
    found = {"sessionUpdate": "tool_call_update", "toolCallId": "c", **fields}
    return read_update({"update": found})


def test_changes_of_files_are_kept_as_they_came_beside_the_text():
    change = {"type": "diff", "path": "a.txt", "oldText": "one\n", "newText": "two\n"}
    made = {"type": "diff", "path": "b.txt", "oldText": None, "newText": "new\n"}
    deleted = {"type": "diff", "path": "c.txt", "oldText": "gone\n", "newText": None}
    words = {"type": "content", "content": text("Edited")}
    update = tool_update(content=[change, words, made, deleted, {"type": "diff"}])
    assert update.changes == (
        FileChange("a.txt", "one\n", "two\n"),
        FileChange("b.txt", None, "new\n"),
        FileChange("c.txt", "gone\n", ""),
    )
    assert update.output == "Edited"


def test_an_update_that_empties_the_content_differs_from_one_that_does_not_mention_it():
    assert tool_update(content=[]).output == ""
    assert tool_update(status="completed").output is None
    assert tool_update(content=[{"type": "terminal", "terminalId": "t"}]).output is None


def test_locations_and_pictures_of_a_tool_are_read():
    picture = {"type": "image", "mimeType": "image/jpeg", "data": "AAAA"}
    update = tool_update(
        locations=[{"path": "/w/a.txt", "line": 3}, {"path": "/w/b.txt"}, {"line": 1}, 5],
        content=[{"type": "content", "content": picture}],
    )
    assert update.locations == (Location("/w/a.txt", 3), Location("/w/b.txt"))
    assert update.pictures == (Picture("image/jpeg", "AAAA"),)


@pytest.mark.parametrize("name", ["terminal_output", "terminal_output_delta"])
def test_what_a_terminal_printed_is_read_from_the_metadata(name):
    update = tool_update(
        content=[{"type": "terminal", "terminalId": "t"}],
        _meta={
            name: {"data": "a.txt\n", "terminal_id": "t"},
            "terminal_exit": {"exit_code": 2, "signal": None, "terminal_id": "t"},
        },
    )
    assert (update.output, update.output_delta) == (None, "a.txt\n")
    assert update.terminal_end == TerminalEnd(2)


def test_a_permission_request_names_its_call_and_options():
    found = read_permission_request(
        {
            "toolCall": {"toolCallId": "c", "title": "rm", "kind": "execute"},
            "options": [
                {"optionId": "once", "kind": "allow_once", "name": "Yes"},
                {"kind": "no id"},
            ],
        }
    )
    assert found.call == ToolCall("c", "rm", "execute")
    assert found.options == (PermissionOption("once", "allow_once", "Yes"),)
    with pytest.raises(Malformed):
        read_permission_request({"options": []})


def test_usage_counts_what_was_cached_as_input():
    usage = {
        "inputTokens": 100,
        "outputTokens": 20,
        "totalTokens": 130,
        "cachedReadTokens": 10,
        "thoughtTokens": 5,
    }
    assert read_usage({"usage": usage}) == Usage(110, 20, 130, 5, 10, None)
    assert read_usage({"stopReason": "end_turn"}) is None
    assert read_usage({"usage": {"inputTokens": True, "outputTokens": 1}}) is None


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "sessionUpdate",
                    "content",
                    "type",
                    "text",
                    "toolCallId",
                    "entries",
                    "rawOutput",
                    "_meta",
                    "locations",
                    "x",
                ]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)
kinds = st.sampled_from(
    [
        "agent_message_chunk",
        "tool_call",
        "tool_call_update",
        "plan",
        "available_commands_update",
        "usage_update",
        "x",
    ]
)


@given(
    kinds,
    st.dictionaries(
        st.sampled_from(
            ["content", "toolCallId", "entries", "rawOutput", "title", "availableCommands"]
        ),
        json_values,
    ),
)
def test_no_update_of_any_shape_raises(kind, fields):
    read_update({"update": {**fields, "sessionUpdate": kind}})


@given(json_values)
def test_no_offer_of_any_shape_raises(value):
    read_offer(value)
    read_offer({"configOptions": value, "modes": value, "models": value})
