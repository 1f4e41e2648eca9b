"""Questions of agents: forms and addresses of elicitation, questions in permission requests."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hapi.protocol.acp.elicitation import accepted, read_elicitation
from hapi.protocol.acp.permission_requests import PermissionOption
from hapi.protocol.acp.questions import (
    question_arguments,
    questions_of_tool,
    read_answers,
    selected_option,
)
from hapi.protocol.json import Malformed

# as claude-agent-acp 0.100.0 and codex-acp 2.6.0 ask
CLAUDE = {
    "mode": "form",
    "toolCallId": "toolu_1",
    "message": "Which colour?",
    "requestedSchema": {
        "type": "object",
        "properties": {
            "question_0": {
                "type": "string",
                "title": "Colour",
                "oneOf": [
                    {"const": "Red", "title": "Red", "description": "warm"},
                    {"const": "Blue", "title": "Blue"},
                ],
            },
            "question_0_custom": {"type": "string", "title": "Other", "description": "Type it"},
        },
    },
}
CODEX = {
    "mode": "form",
    "message": "Codex needs your input to continue.",
    "requestedSchema": {
        "properties": {
            "db": {
                "type": "string",
                "title": "Which database?",
                "description": "Database",
                "_meta": {"codex": {"isOther": True}},
                "oneOf": [
                    {"const": "pg", "title": "pg"},
                    {"const": "None of the above", "title": "None of the above"},
                ],
            },
            "db_note": {
                "type": "string",
                "title": "Additional answer or note",
                "_meta": {"codex": {"questionId": "db", "role": "user_note"}},
            },
            "name": {"type": "string", "title": "Which name?", "_meta": {"codex": {}}},
        },
        "required": ["db", "name"],
    },
}
FORM = {
    "message": "Set up the project",
    "requestedSchema": {
        "properties": {
            "port": {"type": "integer", "title": "Port", "minimum": 1024, "maximum": 65535},
            "ratio": {"type": "number", "default": 0.5},
            "log": {"type": "boolean", "title": "Log?", "default": True},
            "mail": {"type": "string", "format": "email", "minLength": 3, "maxLength": 8},
            "parts": {
                "type": "array",
                "minItems": 1,
                "maxItems": 2,
                "items": {
                    "anyOf": [
                        {"const": "#f00", "title": "Red"},
                        {"const": "#0f0", "title": "Green"},
                        {"const": "#00f", "title": "Blue"},
                    ]
                },
                "default": ["#f00"],
            },
            "size": {"enum": ["s", "m"], "enumNames": ["Small", "Medium"], "default": "m"},
        },
        "required": ["port", "parts"],
    },
}


def answered(params, answers):
    questions = read_elicitation(params).questions
    return accepted(questions, read_answers(questions, answers))


def test_claudes_question_has_its_choices_and_free_text_beside_them():
    asked = read_elicitation(CLAUDE)
    assert asked.call_id == "toolu_1"
    assert question_arguments(asked.questions) == {
        "questions": [
            {
                "question": "Which colour?",
                "header": "Colour",
                "multiSelect": False,
                "options": [
                    {"label": "Red", "description": "warm"},
                    {"label": "Blue", "description": ""},
                ],
                "id": "question_0",
                "kind": "choice",
                "required": False,
                "other": True,
            }
        ]
    }


@pytest.mark.parametrize(
    "answers",
    [
        {"Which colour?": ["Blue"]},
        {"question_0": {"answers": ["Blue"]}},
        {"Colour": "Blue"},
        {"0": ["Blue"]},
    ],
)
def test_an_answer_is_found_by_text_id_header_or_index(answers):
    assert answered(CLAUDE, answers) == {"action": "accept", "content": {"question_0": "Blue"}}


def test_other_text_goes_to_the_field_that_the_agent_has_for_it():
    assert answered(CLAUDE, {"0": ["Teal"]})["content"] == {"question_0_custom": "Teal"}
    assert answered(CLAUDE, {"0": ["Red", "but dark"]})["content"] == {
        "question_0": "Red",
        "question_0_custom": "but dark",
    }


def test_codexs_questions_are_read_from_its_titles_and_its_note_selects_none_of_the_above():
    first, second = read_elicitation(CODEX).questions
    assert (first.text, first.header) == (
        "Codex needs your input to continue.\n\nWhich database?",
        "Database",
    )
    assert second.text == "Which name?"
    assert answered(CODEX, {"db": ["sqlite"], "name": ["x"]})["content"] == {
        "db": "None of the above",
        "db_note": "sqlite",
        "name": "x",
    }


def test_answers_have_the_types_of_the_schema():
    given_answers = {
        "port": ["8080"],
        "ratio": ["0.25"],
        "log": ["No"],
        "mail": ["a@b.c"],
        "parts": ["Red", "Blue"],
        "size": ["Small"],
    }
    assert answered(FORM, given_answers)["content"] == {
        "port": 8080,
        "ratio": 0.25,
        "log": False,
        "mail": "a@b.c",
        "parts": ["#f00", "#00f"],
        "size": "s",
    }


def test_defaults_and_limits_are_told_to_the_page():
    questions = {
        item["id"]: item
        for item in question_arguments(read_elicitation(FORM).questions)["questions"]
    }
    assert questions["parts"]["default"] == ["Red"]
    assert questions["size"]["default"] == ["Medium"]
    assert questions["log"]["default"] == ["Yes"]
    assert (questions["port"]["minimum"], questions["port"]["required"]) == (1024, True)
    assert questions["mail"]["format"] == "email"
    assert questions["port"]["question"] == "Set up the project\n\nPort"


@pytest.mark.parametrize(
    ("answers", "sentence"),
    [
        ({}, "Port” needs an answer"),
        ({"port": ["x"]}, "a whole number"),
        *(({"port": ["9" * count]}, "a whole number") for count in (20, 400, 5000)),
        ({"port": ["80"]}, "at least 1024"),
        ({"port": ["70000"]}, "at most 65535"),
        ({"port": ["2000"]}, "at least 1 choices"),
        ({"port": ["2000"], "parts": ["Red", "Green", "Blue"]}, "at most 2 choices"),
        ({"port": ["2000"], "parts": ["Pink"]}, "“Pink” is not one of the choices"),
        ({"port": ["2000"], "parts": ["Red"], "size": ["Small", "Medium"]}, "one choice"),
        ({"port": ["2000"], "parts": ["Red"], "log": ["perhaps"]}, "Yes or No"),
        ({"port": ["2000"], "parts": ["Red"], "ratio": ["nan"]}, "a number"),
        ({"port": ["2000"], "parts": ["Red"], "mail": ["ab"]}, "at least 3 characters"),
        ({"port": ["2000"], "parts": ["Red"], "mail": ["a@b.c", "d"]}, "one answer"),
    ],
)
def test_an_answer_that_does_not_fit_is_refused_in_words(answers, sentence):
    with pytest.raises(ValueError, match=sentence):
        answered(FORM, answers)


def test_an_address_is_asked_with_its_link_and_accepted_without_content():
    asked = read_elicitation(
        {"mode": "url", "message": "Log in", "url": "https://x.org/a", "elicitationId": "e1"}
    )
    (question,) = question_arguments(asked.questions)["questions"]
    assert (asked.id, question["url"], question["kind"]) == ("e1", "https://x.org/a", "confirm")
    assert "https://x.org/a" in question["question"]
    assert accepted(asked.questions, {}) == {"action": "accept"}


@pytest.mark.parametrize("url", ["javascript:alert(1)", "file:///etc/passwd", "", None])
def test_an_address_that_is_no_web_page_is_refused(url):
    with pytest.raises(Malformed):
        read_elicitation({"mode": "url", "message": "m", "url": url, "elicitationId": "e"})


def test_an_unknown_mode_is_refused():
    with pytest.raises(Malformed, match="'_vr' is not supported"):
        read_elicitation({"mode": "_vr", "message": "m"})


def test_questions_of_the_same_text_can_be_told_apart():
    properties = {name: {"type": "string", "title": "Name"} for name in ("a", "b")}
    questions = read_elicitation({"message": "m", "requestedSchema": {"properties": properties}})
    texts = [question.text for question in questions.questions]
    assert len(set(texts)) == 2


def test_a_form_without_fields_asks_to_continue():
    asked = read_elicitation({"message": "Run the tool?", "requestedSchema": {"properties": {}}})
    assert [choice.label for choice in asked.questions[0].choices] == ["Continue"]
    assert accepted(asked.questions, {}) == {"action": "accept"}


# --- questions in a permission request
QWEN = [
    PermissionOption("proceed_once", "allow_once", "Submit"),
    PermissionOption("cancel", "reject_once", "Cancel"),
]
EACH = [
    PermissionOption("q0_opt_0", "allow_once", "PostgreSQL"),
    PermissionOption("q0_opt_1", "allow_once", "SQLite"),
    PermissionOption("skip", "reject_once", "Skip"),
]
TOOL = {
    "questions": [
        {
            "question": "Which database?",
            "header": "DB",
            "options": [{"label": "PostgreSQL"}, {"label": "SQLite"}],
        },
        {"question": "Which parts?", "multiSelect": True, "options": ["one", "two"]},
    ]
}


def chosen(tool, answers, options):
    questions = questions_of_tool(tool)
    return selected_option(questions, read_answers(questions, answers), options)


def test_qwen_gets_the_answers_by_index_beside_the_option_that_submits():
    answers = {"Which database?": ["SQLite"], "Which parts?": ["one", "two"]}
    assert chosen(TOOL, answers, QWEN) == {
        "outcome": {"outcome": "selected", "optionId": "proceed_once"},
        "answers": {"0": "SQLite", "1": "one, two"},
    }


def test_the_chosen_answer_selects_the_option_of_its_name():
    one = {"questions": TOOL["questions"][:1]}
    answer = chosen(one, {"Which database?": ["SQLite"]}, EACH)
    assert answer["outcome"]["optionId"] == "q0_opt_1"
    other = [*EACH, PermissionOption("other", "allow_once", "Other…")]
    answer = chosen(one, {"Which database?": ["Oracle"]}, other)
    assert answer["outcome"]["optionId"] == "other"
    with pytest.raises(ValueError, match="only one of its own choices"):
        chosen(one, {"Which database?": ["Oracle"]}, EACH)
    with pytest.raises(ValueError, match="need an answer"):
        chosen(one, {}, EACH)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["type", "oneOf", "enum", "const", "title", "items", "default", "a", "b_custom"]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(st.dictionaries(st.sampled_from(["a", "a_custom", "b"]), JSON, max_size=3), JSON, JSON)
def test_a_schema_and_answers_of_any_shape_give_an_answer_or_a_sentence(properties, extra, answers):
    params = {"message": "m", "requestedSchema": {"properties": properties, "required": extra}}
    questions = read_elicitation(params).questions
    question_arguments(questions)
    questions_of_tool({"questions": extra})
    with suppress(ValueError):
        assert accepted(questions, read_answers(questions, answers))["action"] == "accept"


def test_a_form_with_more_choices_than_a_page_can_show_is_refused():
    values = [str(number) for number in range(20_000)]
    schema = {"properties": {"colour": {"type": "string", "enum": values}}}
    with pytest.raises(Malformed, match="more than 500 choices"):
        read_elicitation({"mode": "form", "message": "?", "requestedSchema": schema})


def test_an_address_that_is_none_is_malformed():
    with pytest.raises(Malformed):
        read_elicitation({"mode": "url", "message": "?", "url": "http://[", "elicitationId": "e"})
