"""The page: starting a session."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from tests.support.peers import NPM, OURS

pytestmark = pytest.mark.peer("chromium")
both_hubs = pytest.mark.parametrize(
    "place", [OURS, pytest.param(NPM, marks=pytest.mark.peer("hapi"))], indirect=True
)
PHONE = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}
AGENTS = [
    {"agent": "claude", "available": False, "reason": "not_found"},
    {"agent": "codex", "available": False, "reason": "invalid_configuration"},
    {"agent": "opencode", "available": True},
]


@pytest.fixture
def machine(place):
    made = place.machine(host="devbox")
    made.answers["agent-availability"] = {"agents": AGENTS}
    return made


def dialog_of(place, **context):
    page = place.visit(**context)
    side = page.get_by_role("complementary")
    expect(side.get_by_role("link", name="devbox")).to_be_visible()
    side.get_by_role("button", name="New session").click()
    dialog = page.get_by_role("dialog", name="New session")
    expect(dialog.get_by_role("radio").first).to_be_attached()
    return page, dialog


@both_hubs
def test_a_session_is_started_with_what_was_chosen(place, machine):
    session = place.session()
    machine.answers["spawn-happy-session"] = {"type": "success", "sessionId": session.id}
    page, dialog = dialog_of(place)
    dialog.get_by_label("Directory", exact=True).fill("~/shop")
    expect(dialog).to_contain_text("Directory found.")
    dialog.get_by_role("radio", name="OpenCode").check(force=True)
    dialog.get_by_label("Permissions").select_option("plan")
    dialog.get_by_text("More options").click()
    dialog.get_by_label("Model").fill("small-one")
    dialog.get_by_label("Rest when idle").select_option("30m")
    dialog.get_by_label("Work in a new git worktree").check()
    dialog.get_by_label("Worktree name").fill("try")
    dialog.get_by_role("button", name="Start session").click()
    page.wait_for_url(f"**/sessions/{session.id}")
    wish = machine.wait_for_call("spawn-happy-session")
    chosen = {
        "directory": "/home/dev/shop",
        "agent": "opencode",
        "permissionMode": "plan",
        "model": "small-one",
    }
    assert {**chosen, "sessionType": "worktree", "worktreeName": "try"}.items() <= wish.items()
    assert wish.get("idleAgent") == ("30m" if place.make == OURS else None)
    expect(dialog).to_have_count(0)


def test_the_demo_agent_is_offered_like_any_other(place):
    place.machine(host="devbox")
    _, dialog = dialog_of(place)
    expect(dialog.get_by_role("radio", name="Demo")).to_be_checked()
    expect(dialog).to_contain_text("built in, to try HAPI")


def test_everything_may_be_allowed_from_the_start(place, machine):
    _, dialog = dialog_of(place)
    dialog.get_by_label("Directory", exact=True).fill("/home/dev/shop")
    dialog.get_by_label("Allow everything").check()
    expect(dialog.get_by_label("Permissions")).to_be_disabled()
    dialog.get_by_role("button", name="Start session").click()
    wish = machine.wait_for_call("spawn-happy-session")
    assert wish["yolo"] is True
    assert wish.get("permissionMode") is None


def test_agents_that_are_missing_say_why(place, machine):
    _, dialog = dialog_of(place)
    expect(dialog.get_by_role("radio")).to_have_count(1)
    dialog.get_by_text("2 more agents not available").click()
    expect(dialog.get_by_role("listitem").filter(has_text="Claude")).to_contain_text(
        "not installed on this machine"
    )
    expect(dialog.get_by_role("listitem").filter(has_text="Codex")).to_contain_text(
        "invalid configuration on this machine"
    )


@both_hubs
def test_a_directory_is_found_by_walking(place, machine):
    tree = {
        "/home/dev": ["code", "shop"],
        "/home/dev/code": ["web"],
        "/home/dev/code/web": [],
        "/home": ["dev"],
        "/": ["home"],
    }
    machine.answers["list-directory"] = lambda params: {
        "success": True,
        "entries": [
            {"name": name, "type": "directory", "isGitRepo": name == "web"}
            for name in tree[params["path"]]
        ],
    }
    _, dialog = dialog_of(place)
    dialog.get_by_role("button", name="Browse").click()
    dialog.get_by_role("button", name="code").click()
    expect(dialog.get_by_label("Directory", exact=True)).to_have_value("~/code")
    dialog.get_by_role("button", name="web git").click()
    expect(dialog.get_by_label("Directory", exact=True)).to_have_value("~/code/web")
    expect(dialog).to_contain_text("No subdirectories.")
    expect(dialog).to_contain_text("This directory will be created.")
    for where in ("~/code", "~", "/home", "/"):
        dialog.get_by_role("button", name="Parent directory").click()
        expect(dialog.get_by_label("Directory", exact=True)).to_have_value(where)
    expect(dialog.get_by_role("button", name="Parent directory")).to_have_count(0)


@pytest.mark.parametrize("size", [{}, PHONE], ids=["desktop", "phone"])
def test_a_directory_is_completed_while_it_is_typed(place, machine, size, tmp_path):
    tree = {
        "/home/dev": ["shop", "shop-old", "web"],
        "/home/dev/shop": ["docs", "src"],
        "/home/dev/shop/src": [],
    }
    known = {"/", "/home", "/home/dev", *tree}
    machine.answers["path-exists"] = lambda params: {
        "exists": {path: path in known for path in params["paths"]}
    }
    machine.answers["list-directory"] = lambda params: (
        {
            "success": True,
            "entries": [{"name": name, "type": "directory"} for name in tree[params["path"]]],
        }
        if params["path"] in tree
        else {"success": False, "error": "ENOENT: no such file or directory"}
    )
    page, dialog = dialog_of(place, **size)
    field = dialog.get_by_label("Directory", exact=True)
    entries = dialog.locator("#directory-list .entry")
    field.fill("")
    field.press_sequentially("~/sh")
    expect(entries).to_have_text(["shop", "shop-old"])
    expect(dialog).to_contain_text("This directory will be created.")
    page.screenshot(path=tmp_path / "completions.png")
    field.press("ArrowDown")
    page.keyboard.press("Enter")
    expect(field).to_have_value("~/shop")
    expect(dialog).to_contain_text("Directory found.")
    expect(entries).to_have_text(["Parent directory", "docs", "src"])
    field.fill("~/shop/new")
    expect(entries).to_have_count(0)
    expect(dialog).to_contain_text("This directory will be created.")
    field.fill("~/shop/s")
    entries.filter(has_text="src").click()
    expect(field).to_have_value("~/shop/src")
    expect(dialog).to_contain_text("No subdirectories.")
    field.fill("~/gone/far")
    expect(dialog).to_contain_text("This directory will be created.")
    expect(entries).to_have_count(0)
    dialog.get_by_role("button", name="Browse").click()  # from the nearest one that exists
    expect(entries).to_have_text(["Parent directory", "shop", "shop-old", "web"])
    expect(dialog).not_to_contain_text("does not exist yet")
    field.focus()
    page.keyboard.press("Escape")
    expect(entries.first).to_be_hidden()
    expect(dialog).to_be_visible()


def test_a_directory_that_cannot_be_listed_says_why(place, machine):
    machine.answers["list-directory"] = {
        "success": False,
        "error": "EACCES: permission denied, scandir '/root'",
    }
    _, dialog = dialog_of(place)
    dialog.get_by_label("Directory", exact=True).fill("/root")
    dialog.get_by_role("button", name="Browse").click()
    expect(dialog).to_contain_text("The runner has no permission to read this directory.")


@pytest.mark.parametrize(
    ("refusal", "words"),
    [
        (
            {"errorMessage": "opencode: not found", "code": "agent_unavailable"},
            "OpenCode can't start on devbox",
        ),
        (
            {"errorMessage": "outside", "code": "outside_workspace_roots"},
            "devbox only allows sessions in",
        ),
        ({"errorMessage": "process 7 exited (1)"}, "process 7 exited (1)"),
    ],
)
def test_a_start_that_fails_is_explained(place, machine, refusal, words):
    machine.answers["spawn-happy-session"] = {"type": "error", **refusal}
    _, dialog = dialog_of(place)
    dialog.get_by_label("Directory", exact=True).fill("/home/dev/shop")
    dialog.get_by_role("button", name="Start session").click()
    expect(dialog.get_by_role("alert")).to_contain_text(words)
    expect(dialog.get_by_role("button", name="Start session")).to_be_enabled()


def test_a_directory_that_the_runner_does_not_create_is_reported(place, machine):
    machine.answers["spawn-happy-session"] = {
        "type": "requestToApproveDirectoryCreation",
        "directory": "/new",
    }
    _, dialog = dialog_of(place)
    dialog.get_by_label("Directory", exact=True).fill("/new")
    dialog.get_by_role("button", name="Start session").click()
    expect(dialog.get_by_role("alert")).to_contain_text("/new does not exist on devbox")


def test_a_machine_that_went_offline_is_reported(place, machine):
    _, dialog = dialog_of(place)
    machine.close()
    dialog.get_by_label("Directory", exact=True).fill("/home/dev/shop")
    dialog.get_by_role("button", name="Start session").click()
    expect(dialog.get_by_role("alert")).to_contain_text(
        "devbox is not connected; start its runner there"
    )


def test_nothing_is_asked_of_the_machine_without_a_directory(place, machine):
    _, dialog = dialog_of(place)
    dialog.get_by_role("button", name="Start session").click()
    expect(dialog.get_by_role("alert")).to_have_text("Enter a directory.")
    dialog.get_by_label("Directory", exact=True).fill("relative")
    dialog.get_by_role("button", name="Start session").click()
    expect(dialog.get_by_role("alert")).to_have_text(
        "Enter an absolute path, starting with / or ~/."
    )
    expect(dialog.get_by_label("Directory", exact=True)).to_be_focused()


def test_the_dialog_is_left_with_escape_and_gives_the_focus_back(place, machine):
    page, dialog = dialog_of(place)
    page.keyboard.press("Escape")
    expect(dialog).to_have_count(0)
    expect(
        page.get_by_role("complementary").get_by_role("button", name="New session")
    ).to_be_focused()


def test_the_form_offers_what_the_machine_knows_of_an_agent(place, machine):
    session = place.session()
    machine.answers["spawn-happy-session"] = {"type": "success", "sessionId": session.id}
    offer = {
        "modes": [{"id": "default", "name": "Default"}, {"id": "workspace-write", "name": "Write"}],
        "models": [{"id": "m1", "name": "Model One"}],
        "efforts": [{"id": "high", "name": "High"}],
        "effortSetting": "effort",
    }
    mine = {"agent": "kimi", "available": True, "label": "My Agent", "offer": offer}
    fixed = {"agent": "gemini", "available": True, "permissionModes": ["default", "plan"]}
    machine.answers["agent-availability"] = {"agents": [*AGENTS, mine, fixed]}
    _, dialog = dialog_of(place)
    dialog.get_by_label("Directory", exact=True).fill("~/shop")
    dialog.get_by_role("radio", name="Gemini").check(force=True)
    modes = dialog.get_by_label("Permissions").get_by_role("option")
    expect(modes).to_have_text(["Agent's default", "Plan only"])  # it has not told how it asks
    dialog.get_by_role("radio", name="My Agent").check(force=True)
    expect(modes).to_have_text(["Default", "Write"])
    expect(dialog.get_by_text("Allow everything without asking")).to_have_count(0)
    dialog.get_by_label("Permissions").select_option("workspace-write")
    dialog.get_by_text("More options").click()
    dialog.get_by_label("Model").select_option(label="Model One")
    dialog.get_by_label("Reasoning effort").select_option(label="High")
    dialog.get_by_role("button", name="Start session").click()
    wish = machine.wait_for_call("spawn-happy-session")
    chosen = {"agent": "kimi", "permissionMode": "workspace-write", "model": "m1", "effort": "high"}
    assert chosen.items() <= wish.items()


def test_an_agent_of_the_settings_has_its_name_wherever_a_machine_is_shown(place, machine):
    mine = {"agent": "mine", "available": True, "label": "My Agent"}
    machine.answers["agent-availability"] = {"agents": [mine]}
    page = place.visit("/")
    card = page.locator("a.card")
    expect(card).to_contain_text("My Agent")
    card.click()
    expect(page.locator(".agent-list li")).to_contain_text(["My Agent"])


def test_an_agent_that_has_not_run_yet_is_asked_for_its_models(place, machine):
    machine.answers["listOpencodeModelsForCwd"] = lambda _: tell()
    machine.serve("listOpencodeModelsForCwd")

    def tell():
        models = [{"id": "lab/small", "name": "Small"}]
        offering = {"agent": "opencode", "available": True, "offer": {"models": models}}
        machine.answers["agent-availability"] = {"agents": [offering]}
        return {"success": True, "availableModels": [{"modelId": "lab/small", "name": "Small"}]}

    _, dialog = dialog_of(place)
    dialog.get_by_role("radio", name="OpenCode").check(force=True)
    dialog.get_by_text("More options").click()
    model = dialog.get_by_role("combobox", name="Model").and_(dialog.locator("select"))
    model.select_option("Small")  # the field is a text field until the agent has answered
