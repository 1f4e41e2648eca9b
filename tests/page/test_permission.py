"""The page: the agent asks, the person answers."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from tests.support.peers import NPM, OURS

pytestmark = pytest.mark.peer("chromium")
both_hubs = pytest.mark.parametrize(
    "place", [OURS, pytest.param(NPM, marks=pytest.mark.peer("hapi"))], indirect=True
)


BUTTONS = [
    ("opencode", "Run", "Allow", {"approved": True, "decision": "approved"}),
    (
        "opencode",
        "Run",
        "Allow for session",
        {"approved": True, "decision": "approved_for_session"},
    ),
    ("opencode", "Run", "Deny", {"approved": False, "decision": "abort"}),
    ("claude", "Bash", "Allow", {"approved": True}),
    ("claude", "Bash", "Allow for session", {"approved": True, "allowTools": ["Bash(ls)"]}),
    ("claude", "Write", "Allow for session", {"approved": True, "mode": "acceptEdits"}),
    ("claude", "Bash", "Deny", {"approved": False}),
    ("demo", "Run", "Allow", {"approved": True}),
    ("demo", "Run", "Allow for session", {"approved": True, "decision": "approved_for_session"}),
    ("demo", "Run", "Deny", {"approved": False}),
]


@both_hubs
def test_each_button_says_what_the_agent_understands(place):
    page = place.visit()
    for flavor, tool, button, said in BUTTONS:
        session = place.session(flavor=flavor, name=f"{flavor} {tool} {button}")
        session.record(
            type="tool-call", callId="c", name=tool, input={"command": "ls"}, status="pending"
        )
        session.ask("c", tool, {"command": "ls"})
        page.locator(f"[data-session='{session.id}']").click()
        card = page.locator(".tool")
        expect(card).to_have_attribute("data-status", "asks")
        card.get_by_role("button", name=button, exact=True).click()
        params = session.wait_for_call("permission")
        assert {key: value for key, value in params.items() if value is not None} == {
            "id": "c",
            **said,
        }
        session.answered(
            "c", "approved" if said["approved"] else "denied", decision=said.get("decision")
        )
        expect(card.get_by_role("button", name="Deny")).to_have_count(0)
        expect(card).to_have_count(1)
        session.close()


@both_hubs
def test_a_request_that_appears_shows_on_the_open_card_and_in_the_list(place):
    session = place.session(name="Shop")
    page = place.open(session)
    session.record(
        type="tool-call", callId="c", name="Run", input={"command": "ls"}, status="pending"
    )
    expect(page.locator(".tool")).to_contain_text("Waiting")
    session.ask("c", "Run", {"command": "ls"})
    expect(page.locator(".tool")).to_contain_text("Allow this?")
    expect(page.locator(".virtual-list")).to_contain_text("Needs attention")
    expect(page.get_by_label("1 pending request")).to_be_visible()
    session.answered("c", "denied")
    expect(page.locator(".tool")).to_contain_text("Denied")
    expect(page.locator(".virtual-list")).not_to_contain_text("Needs attention")


def test_a_request_without_a_card_gets_one_of_its_own(place):
    session = place.session()
    session.ask("alone", "Delete everything", {"path": "/home/dev"})
    page = place.open(session)
    expect(page.locator(".tool")).to_contain_text("Delete everything")
    page.get_by_role("button", name="Deny", exact=True).click()
    assert session.wait_for_call("permission")["id"] == "alone"
    session.answered("alone", "denied")
    expect(page.locator(".tool")).to_have_count(0)


def test_a_request_is_joined_to_the_card_that_it_names(place):
    session = place.session()
    session.record(
        type="tool-call", callId="call-7", name="Run", input={"command": "ls"}, status="pending"
    )
    session.ask("req-1", "Run", {"command": "ls"}, toolCallId="call-7")
    page = place.open(session)
    expect(page.locator(".tool")).to_have_count(1)
    expect(page.locator(".tool")).to_contain_text("Allow this?")


def test_an_answer_that_does_not_arrive_can_be_given_again(place):
    session = place.session()
    session.ask("c", "Run", {"command": "ls"})
    page = place.open(session)
    page.route("**/permissions/**", lambda route: route.abort())
    page.get_by_role("button", name="Allow", exact=True).click()
    expect(page.get_by_role("alert").filter(has_text="hub does not respond")).to_be_visible()
    page.unroute("**/permissions/**")
    page.get_by_role("button", name="Allow", exact=True).click()
    session.wait_for_call("permission")


def test_a_permission_is_answered_with_the_keyboard_alone(place):
    session = place.session()
    session.ask("c", "Run", {"command": "ls"})
    page = place.open(session)
    page.get_by_role("button", name="Allow", exact=True).focus()
    page.keyboard.press("Tab")
    expect(page.get_by_role("button", name="Allow for session")).to_be_focused()
    page.keyboard.press("Enter")
    assert session.wait_for_call("permission")["decision"] == "approved_for_session"


def test_the_form_for_a_reason_is_whole_in_view_and_enter_sends_it(place):
    session = place.session()
    for number in range(30):
        session.record(type="message", message=f"line {number}")
    session.ask("c", "Run", {"command": "ls"}, options=[])  # as our sessions ask
    page = place.open(session)
    page.get_by_role("button", name="Deny with a reason…").click()
    send = page.get_by_role("button", name="Deny with this reason")
    composer = page.locator(".chat-foot").bounding_box()
    box = send.bounding_box()
    assert box["y"] + box["height"] <= composer["y"]
    page.keyboard.type("Use make")
    page.keyboard.press("Shift+Enter")
    page.keyboard.type("clean")
    page.keyboard.press("Enter")
    assert session.wait_for_call("permission")["reason"] == "Use make\nclean"


def test_the_reason_of_a_denial_is_a_message_where_the_session_does_not_take_it(place):
    session = place.session(flavor="claude")
    session.ask("c", "Bash", {"command": "ls"})  # as npm's sessions ask
    page = place.open(session)
    page.get_by_role("button", name="Deny with a reason…").click()
    page.keyboard.type("Use make")
    page.get_by_role("button", name="Deny with this reason").click()
    answer = session.wait_for_call("permission")
    assert (answer["approved"], answer.get("reason")) == (False, None)
    prompt = session.until(lambda: session.prompts, "the reason")[0]
    assert prompt["content"]["content"]["text"] == "Use make"


def test_all_edits_are_allowed_by_one_button_that_only_an_edit_has(place):
    session = place.session()
    session.ask("c", "Run", {"command": "ls"}, kind="execute", options=[])
    page = place.open(session, viewport={"width": 390, "height": 844})
    expect(page.get_by_role("button", name="Allow", exact=True)).to_be_visible()
    expect(page.get_by_role("button", name="Allow all edits")).to_have_count(0)
    session.answered("c")
    session.ask("d", "Edit a.py", {"file_path": "/a.py"}, kind="edit", options=[])
    page.get_by_role("button", name="Allow all edits").click()
    answer = session.wait_for_call("permission")
    assert answer["id"] == "d"
    assert (answer["decision"], answer["allowTools"]) == ("approved_for_session", ["Edit"])


def test_questions_of_the_agent_are_answered_by_choosing(place):
    session = place.session(flavor="claude")
    questions = [
        {
            "question": "Which colour?",
            "header": "Colour",
            "multiSelect": False,
            "options": [{"label": "Red"}, {"label": "Blue"}],
        }
    ]
    session.ask("q", "AskUserQuestion", {"questions": questions})
    page = place.open(session)
    page.get_by_role("button", name="Answer").click()
    expect(page.get_by_label("Red")).to_be_focused()
    page.get_by_label("Blue").check()
    page.get_by_role("button", name="Answer").click()
    assert session.wait_for_call("permission")["answers"] == {"Which colour?": ["Blue"]}
