"""The page: forms for the questions of agents."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from hapi.protocol.acp.elicitation import read_elicitation
from hapi.protocol.acp.questions import question_arguments

pytestmark = pytest.mark.peer("chromium")
FORM = {
    "message": "Set up the project",
    "requestedSchema": {
        "properties": {
            "name": {"type": "string", "title": "Which name?", "maxLength": 20},
            "port": {"type": "integer", "title": "Port", "minimum": 1024, "default": 3000},
            "log": {"type": "boolean", "title": "Write a log?", "default": True},
            "db": {
                "type": "string",
                "title": "Database",
                "description": "Which database?",
                "oneOf": [
                    {"const": "pg", "title": "PostgreSQL", "description": "a server"},
                    {"const": "lite", "title": "SQLite"},
                ],
            },
            "parts": {
                "type": "array",
                "title": "Parts",
                "description": "Which parts?",
                "items": {"enum": ["api", "page", "docs"]},
            },
            "notes": {"type": "string", "title": "Anything else?"},
        },
        "required": ["name", "db"],
    },
}


def arguments(params):
    return question_arguments(read_elicitation(params).questions)


def keep(page: Page, name: str) -> None:
    """Keep a screenshot in the directory that KEEP_SCREENSHOTS names."""
    if directory := os.environ.get("KEEP_SCREENSHOTS"):
        page.screenshot(path=Path(directory) / f"{name}.png", full_page=True)


def test_a_form_is_filled_in_with_fields_of_each_kind(place):
    session = place.session()
    session.ask("q", "AskUserQuestion", arguments(FORM))
    page = place.open(session)
    form = page.get_by_role("form", name="Questions of the agent")
    expect(form.get_by_label("Port")).to_have_value("3000")
    expect(form.get_by_label("Yes")).to_be_checked()
    form.get_by_role("button", name="Answer").click()
    expect(form.get_by_label("Which name?")).to_be_focused()
    form.get_by_label("Which name?").fill("shop")
    form.get_by_label("SQLite").check()
    form.get_by_label("api").check()
    form.get_by_label("docs").check()
    form.get_by_label("Anything else?").fill("two\nlines")
    keep(page, "form")
    form.get_by_role("button", name="Answer").click()
    assert session.wait_for_call("permission")["answers"] == {
        "name": {"answers": ["shop"]},
        "port": {"answers": ["3000"]},
        "log": {"answers": ["Yes"]},
        "db": {"answers": ["SQLite"]},
        "parts": {"answers": ["api", "docs"]},
        "notes": {"answers": ["two\nlines"]},
    }


def test_only_a_question_with_free_text_has_a_field_for_another_answer(place):
    session = place.session()
    form = {"properties": {"a": {"enum": ["x", "y"]}, "a_custom": {"type": "string"}}}
    session.ask("closed", "AskUserQuestion", arguments({**FORM, "message": "Closed"}))
    session.ask(
        "open", "AskUserQuestion", arguments({"message": "Which?", "requestedSchema": form})
    )
    page = place.open(session)
    expect(page.get_by_placeholder("Other answer")).to_have_count(1)
    page.get_by_placeholder("Other answer").fill("z")
    page.get_by_role("button", name="Answer").nth(1).click()
    assert session.wait_for_call("permission")["answers"] == {"a": {"answers": ["z"]}}


def test_declining_a_question_does_not_stop_the_turn(place):
    session = place.session(flavor="opencode")
    session.ask("q", "AskUserQuestion", arguments(FORM))
    page = place.open(session)
    page.get_by_role("button", name="Decline").click()
    call = session.wait_for_call("permission")
    assert (call["approved"], call["decision"]) == (False, "denied")


def test_a_page_to_visit_is_a_link_with_its_host_and_done_accepts(place):
    session = place.session()
    visit = {
        "mode": "url",
        "message": "Allow access to your repositories",
        "url": "https://accounts.example.org/login?state=1",
        "elicitationId": "e",
    }
    session.ask("q", "AskUserQuestion", arguments(visit))
    page = place.open(session)
    link = page.get_by_role("link", name="Open accounts.example.org")
    expect(link).to_have_attribute("href", visit["url"])
    expect(link).to_have_attribute("rel", "noopener noreferrer")
    keep(page, "visit")
    page.get_by_role("button", name="Done").click()
    assert session.wait_for_call("permission")["answers"] == {"": {"answers": ["Done"]}}


def test_a_refused_answer_is_shown_and_what_was_entered_stays(place):
    session = place.session()
    session.answers["permission"] = {"error": "“Port” takes a number of at most 9999"}
    session.ask("q", "AskUserQuestion", arguments(FORM))
    page = place.open(session)
    page.get_by_label("Which name?").fill("shop")
    page.get_by_label("SQLite").check()
    page.get_by_role("button", name="Answer").click()
    expect(page.get_by_role("alert").filter(has_text="at most 9999")).to_be_visible()
    expect(page.get_by_label("Which name?")).to_have_value("shop")
    expect(page.get_by_label("SQLite")).to_be_checked()
    session.answers["permission"] = None
    page.get_by_role("button", name="Answer").click()
    session.answered("q")
    expect(page.get_by_role("form", name="Questions of the agent")).to_have_count(0)


def test_a_question_survives_a_reload(place):
    session = place.session()
    session.ask("q", "AskUserQuestion", arguments(FORM))
    page = place.open(session)
    page.reload()
    expect(page.get_by_label("Which name?")).to_be_visible()


def test_a_login_shows_each_method_with_its_command_and_is_tried_again(place):
    session = place.session(flavor="codex")
    sentence = (
        "Codex needs a login on box: Authentication required. Run `codex login` in a terminal."
    )
    question = {
        "id": "login",
        "question": sentence,
        "header": "Login",
        "kind": "choice",
        "other": False,
        "required": True,
        "options": [{"label": "Try again"}, {"label": "Log in: ChatGPT"}],
    }
    login = {
        "title": "Codex needs a login on box: Authentication required",
        "methods": [
            {"id": "", "name": "Log in to Codex", "command": "codex login"},
            {"id": "chat-gpt", "name": "ChatGPT", "description": "Opens a browser"},
        ],
    }
    session.ask("q", "AskUserQuestion", {"questions": [question], "login": login})
    page = place.open(session)
    card = page.get_by_role("group", name="Login of the agent")
    expect(card).to_contain_text("Codex needs a login on box")
    expect(card.locator(".command")).to_have_text("codex login")
    expect(card).to_contain_text("Opens a browser")
    expect(card.get_by_role("button", name="Log in: ChatGPT")).to_be_visible()
    expect(page.get_by_role("button", name="Decline")).to_have_count(0)
    keep(page, "login")
    card.get_by_role("button", name="Try again").click()
    assert session.wait_for_call("permission")["answers"] == {"login": {"answers": ["Try again"]}}


def test_a_half_written_answer_outlives_a_reload(place):
    session = place.session()
    session.ask("q", "AskUserQuestion", arguments(FORM))
    page = place.open(session)
    form = page.get_by_role("form", name="Questions of the agent")
    form.get_by_label("Which name?").fill("sho")
    form.get_by_label("api").check()
    page.reload()
    expect(form.get_by_label("Which name?")).to_have_value("sho")
    expect(form.get_by_label("api")).to_be_checked()
    form.get_by_label("SQLite").check()
    form.get_by_role("button", name="Answer").click()
    session.wait_for_call("permission")
    page.wait_for_function("[null, '{}'].includes(localStorage.getItem('hapi.draft-answers'))")
