"""Claude Code itself in the terminal of `hapi claude --local`, and the page beside it, at hubs of
both makes."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.support.model_endpoint import Model
from tests.support.peers import NPM, OUR_HAPI, OURS, PEERS, Cast, User
from tests.support.program_terminal import ProgramTerminal
from tests.support.programs import until

pytestmark = pytest.mark.peer("claude")
IDLE = "? for shortcuts"
COMMAND = "touch asked && echo so-$((20+1))"  # one that Claude Code asks for
COMMAND_PROMPT = f"run: {COMMAND}"


def start(cast: Cast, user: User, *words: str) -> tuple[ProgramTerminal, str]:
    """`hapi claude --local` once Claude Code takes prompts, and its session."""
    project = cast.directory("project")
    known = {"hasTrustDialogAccepted": True, "hasCompletedProjectOnboarding": True}
    configuration = {
        "hasCompletedOnboarding": True,
        "theme": "dark",
        "customApiKeyResponses": {"approved": ["none"], "rejected": []},
        "projects": {str(project): known},
    }
    (cast.directory("user") / ".claude.json").write_text(json.dumps(configuration))
    environ = {
        **cast.base,
        **cast.settings(user, cast.home(OURS, "person"), ""),
        "ANTHROPIC_API_KEY": "none",
        "HAPI_CLAUDE_PATH": str(PEERS / ".bin/claude"),
        "IS_SANDBOX": "1",
    }
    terminal = ProgramTerminal([*OUR_HAPI, "claude", "--local", *words], project, environ)
    wait_for(terminal, IDLE)
    return terminal, until(lambda: next(iter(user.sessions()), None), what="a session")["id"]


def wait_for(terminal: ProgramTerminal, text: str, after: int = 0) -> None:
    """Wait for `text` on the screen. Claude Code moves the cursor over spaces instead of writing
    them."""
    until(
        lambda: squeezed(text) in squeezed(terminal.shown[after:]),
        what=f"{text!r} on the screen, which ends with {terminal.shown[-2000:]!r}",
    )


def squeezed(text: str) -> str:
    return "".join(text.split())


def is_local(user: User, session: str) -> bool:
    return bool((user.session(session).get("agentState") or {}).get("controlledByUser"))


def told(user: User, session: str) -> list[str]:
    """The conversation in the order of its times: who says what."""
    found: list[tuple[int, int, str]] = []
    for message in user.messages(session):
        content = message["content"]
        inner: Any = content["content"]
        data = inner.get("data") or {}
        if content["role"] == "user":
            texts = [f"user: {inner['text']}"]
        elif inner["type"] == "output" and "message" in data:
            parts = data["message"]["content"]
            texts = [f"{part['type']}: {part.get('text', '')}".strip(": ") for part in parts]
        elif data.get("type") in ("message", "switch"):
            texts = [f"{data['type']}: {data.get('mode') or data['message']}"]
        else:
            continue
        at = message.get("invokedAt") or message["createdAt"]
        found += [(at, message["seq"], text) for text in texts if text != "thinking"]
    return [text for _, _, text in sorted(found)]


@pytest.mark.parametrize("hub", [OURS, pytest.param(NPM, marks=pytest.mark.peer("hapi"))])
def test_a_turn_in_the_terminal_is_seen_and_allowed_on_the_page(cast, hub):
    _, user = cast.hub(hub)
    terminal, session = start(cast, user)
    terminal.enter(COMMAND_PROMPT)
    request, asked = user.asked(session)
    assert (asked["tool"], asked["arguments"]["command"]) == ("Bash", COMMAND)
    assert user.session(session)["thinking"]
    assert is_local(user, session)
    user.approve(session, request)
    until(lambda: "text: Output: so-21" in told(user, session), what="the answer")
    until(lambda: not user.session(session)["thinking"], what="the end of the turn")
    assert told(user, session) == [
        f"user: {COMMAND_PROMPT}",
        "text: I will run it.",
        "tool_use",
        "tool_result",
        "text: Output: so-21",
    ]
    row = user.session(session)
    assert row["metadata"]["startingMode"] == "local"
    assert row["metadata"]["summary"]["text"] == COMMAND_PROMPT
    assert row["agentState"]["completedRequests"][request]["status"] == "approved"

    terminal.enter("/exit")
    assert terminal.wait() == 0
    assert user.archived(session)["archiveReason"] == "Session completed"


def test_the_conversation_goes_to_the_page_and_back(cast: Cast, model: Model) -> None:
    _, user = cast.hub(OURS)
    terminal, session = start(cast, user)
    terminal.enter("hold the line")
    until(lambda: user.session(session)["thinking"], what="a turn")
    user.say(session, "Please go on with that")  # the turn that runs is not killed
    waits = "message: Waiting for the turn in the terminal to end"
    until(lambda: waits in told(user, session), what="the message to wait")
    assert is_local(user, session)
    model.release()
    until(lambda: "Holding and released." in user.texts(session), what="the answer over ACP")
    assert not is_local(user, session)
    seen = told(user, session)
    turn = ["user: hold the line", "text: Holding", "text: and released."]
    after = ["switch: remote", "user: Please go on with that"]
    assert [text for text in seen if text in (*turn, *after)] == [*turn, *after]

    # And back: Claude Code shows the whole conversation, and nothing of it is sent twice.
    until(lambda: not user.session(session)["thinking"], what="the end of the turn")
    before, rows = len(terminal.shown), len(user.messages(session))
    terminal.type("\x0f")  # Ctrl+O
    until(lambda: is_local(user, session), what="local mode")
    for text in ("hold the line", "Please go on with that", IDLE):
        wait_for(terminal, text, before)
    terminal.enter("once more")
    until(lambda: "text: You said: once more" in told(user, session), what="the answer")
    new = [text for text in told(user, session) if text not in seen]
    assert new == ["switch: local", "user: once more", "text: You said: once more"], rows

    # The page ends it: the terminal is as it was.
    user.post(f"/api/sessions/{session}/archive")
    assert terminal.wait() == 0
    assert user.archived(session)["archiveReason"] == "User terminated"
