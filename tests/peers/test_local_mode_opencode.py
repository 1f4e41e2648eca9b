"""OpenCode's own program in the terminal of `hapi opencode --local`, and the page beside it."""

from __future__ import annotations

import pytest

from tests.support.peers import OUR_HAPI, OURS, User
from tests.support.program_terminal import ProgramTerminal
from tests.support.programs import until

pytestmark = pytest.mark.peer("opencode")
COMMAND = "run: echo so-$((20+1))"


def is_local(user: User, session: str) -> bool:
    return bool((user.session(session).get("agentState") or {}).get("controlledByUser"))


def outputs(user: User, session: str) -> list[str]:
    return [text for text in user.texts(session) if "so-21" in text]


def allow_on_the_page(user: User, session: str, times: int) -> None:
    """Allow the command, and wait until the agent has told its output for the `times`th time."""
    request, asked = user.asked(session)
    assert asked["tool"] == "echo so-$((20+1))"
    user.approve(session, request)
    until(lambda: len(outputs(user, session)) == times, what=f"output number {times}")
    until(lambda: not user.session(session)["thinking"], what="the end of the turn")


def test_the_conversation_goes_from_the_terminal_to_the_page_and_back(cast):
    _, user = cast.hub(OURS)
    home, project = cast.home(OURS, "person"), cast.directory("project")
    environ = {**cast.base, **cast.settings(user, home, "")}
    terminal = ProgramTerminal([*OUR_HAPI, "opencode", "--local"], project, environ)
    session = until(lambda: next(iter(user.sessions()), None), what="a session")["id"]
    terminal.wait_for("Ask anything")
    assert is_local(user, session)
    assert user.session(session)["metadata"]["startingMode"] == "local"

    # In the terminal: the page sees the turn in its order, and allows the command.
    terminal.enter(COMMAND)
    allow_on_the_page(user, session, 1)
    kinds = [record["type"] for record in user.records(session)]
    assert [kind for kind in kinds if kind not in ("event", "token_count", "summary")] == [
        *("user", "reasoning", "message"),
        *("tool-call", "tool-call-result", "message"),
    ]
    assert user.session(session)["metadata"]["summary"]["text"] == "A short title"
    own = user.session(session)["metadata"]["opencodeSessionId"]
    assert own.startswith("ses_")

    # From the page: the program leaves, and its conversation goes on over ACP.
    user.say(session, "Please go on with that")
    allow_on_the_page(user, session, 2)
    assert not is_local(user, session)

    # And back: the program shows the whole conversation, and the model is told all of it.
    before = len(terminal.shown)
    terminal.type("\x0f")  # Ctrl+O
    until(lambda: is_local(user, session), what="local mode")
    terminal.wait_for("Please go on with that", before)
    terminal.enter("Please go on with all")
    allow_on_the_page(user, session, 3)
    assert user.session(session)["metadata"]["opencodeSessionId"] == own
    assert prompts(user, session) == [COMMAND, "Please go on with that", "Please go on with all"]


def prompts(user: User, session: str) -> list[str]:
    contents = [message["content"] for message in user.messages(session)]
    return [each["content"]["text"] for each in contents if each["role"] == "user"]
