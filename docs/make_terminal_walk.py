"""Record the screens of docs/terminal.md: Claude in a terminal of tmux, from the first prompt to
`hapi resume`.

    python -m docs.make_terminal_walk       # from the root of the project; writes docs/terminal.md

Needs tmux, the `test` extra and `make peers`: Claude is the real program, its model is scripted.
Nothing of the person who runs it is read or shown.
"""

from __future__ import annotations

import json
import re
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from tests.support.model_endpoint import Model
from tests.support.peers import OURS, Cast, User
from tests.support.tmux import Pane, Terminal

DOCUMENT = Path(__file__).with_name("terminal.md")
SCREEN = re.compile(r"<!-- screen: ([\w-]+) -->\n```text\n.*?```\n", re.DOTALL)
COLUMNS, ROWS = 84, 30
PAUSE = 1.0  # seconds; a key that comes with a question does not answer it
PROMPT = "ada@workshop:~/shop$ "
PASTED = "Please say this:\n- the cart adds prices\n- discounts come later\n"
Take = Callable[[str, str], None]


class Desk:
    """A hub, a project, and a shell in a terminal."""

    def __init__(self, cast: Cast, model: Model) -> None:
        self.cast = cast
        cast.agents(model.url)
        self._home = cast.directory("user")
        self._project = cast.directory("user/shop")
        (self._project / "cart.py").write_text("def total(items):\n    return sum(items)\n")
        self._answer_first_questions()
        _, self.user = cast.hub(OURS)
        settings = cast.settings(self.user, cast.home(OURS, "session"), "")
        programs = Path(cast.executable(OURS)).parent
        environment = {
            **settings,
            "PATH": f"{programs}:{settings['PATH']}",
            "PS1": PROMPT,
            "CLAUDE_CODE_DISABLE_TERMINAL_TITLE": "1",
        }
        shell = ["bash", "--norc", "--noprofile"]
        self.pane = Terminal(cast).open(shell, environment, self._project, COLUMNS, ROWS)
        self.pane.wait(PROMPT.strip())

    def _answer_first_questions(self) -> None:
        """What Claude asks a new user: theme, trust in the directory, the key to use."""
        trusted = {"hasTrustDialogAccepted": True, "hasCompletedProjectOnboarding": True}
        answers = {
            "hasCompletedOnboarding": True,
            "theme": "dark",
            "projects": {str(self._project): trusted},
            "customApiKeyResponses": {"approved": ["none"], "rejected": []},
        }
        (self._home / ".claude.json").write_text(json.dumps(answers))

    def shown(self, screen: str) -> str:
        """A screen as anybody's: with the usual port and home, without what differs each time."""
        screen = screen.replace(self.user.url, "http://127.0.0.1:3006")
        screen = screen.replace(str(self._home), "/home/ada")
        screen = re.sub(r"claude --resume [0-9a-f-]{36}", "claude --resume ID", screen)
        screen = re.sub(r"working \d+ s", "working 1 s", screen)
        return "\n".join(line.rstrip() for line in screen.strip("\n").split("\n"))


def walk(desk: Desk, take: Take) -> None:
    """`take(name, screen)` gets each screen."""
    pane, user = desk.pane, desk.user
    pane.type("hapi claude")
    pane.keys("Enter")
    pane.wait("Type a prompt.")
    pane.paste(PASTED)
    take("paste", pane.wait("discounts come later"))
    pane.keys("Enter")
    pane.wait("You said: - discounts come later")
    session = next(row["id"] for row in user.sessions() if row["active"])

    pane.type("run: touch notes.md")
    pane.keys("Enter")
    take("permission", pane.wait("(y)"))
    time.sleep(PAUSE)
    pane.keys("y")
    pane.wait("Output:")
    user.idle(session)

    pane.keys("C-o")
    pane.wait("Claude Code v")
    own = pane.wait(lambda screen: "Output:" in screen and "? for shortcuts" in screen)
    take("own-program", own)
    hand_over(pane, user, session, take)

    pane.keys("C-d")
    pane.wait(lambda screen: screen.endswith(PROMPT.strip()))
    pane.keys("C-l")
    pane.type("hapi resume")
    pane.keys("Enter")
    take("resume", pane.wait("Type to search"))
    pane.keys("Enter")
    take("resumed", pane.wait("Type a prompt."))
    pane.keys("C-d")
    pane.wait(lambda screen: screen.endswith(PROMPT.strip()))


def hand_over(pane: Pane, user: User, session: str, take: Take) -> None:
    """A message of the page ends the agent's own program, once nothing goes on there."""
    user.say(session, "and what did we do?")
    take("from-the-page", pane.wait("You said: and what did we do?"))
    user.idle(session)


def record() -> dict[str, str]:
    """The screens of a walk by their names."""
    screens: dict[str, str] = {}
    place = Path(tempfile.mkdtemp(prefix="hapi-walk-"))
    cast = Cast(place / "stage", token="walk")
    try:
        with Model() as model:
            desk = Desk(cast, model)
            walk(desk, lambda name, screen: screens.update({name: desk.shown(screen)}))
    finally:
        cast.end()
        shutil.rmtree(place, ignore_errors=True)
    return screens


def main() -> None:
    screens = record()
    text = DOCUMENT.read_text()
    names = SCREEN.findall(text)
    if sorted(names) != sorted(screens):
        raise SystemExit(f"{DOCUMENT} has places for {names}, the walk has {sorted(screens)}")
    DOCUMENT.write_text(
        SCREEN.sub(lambda m: f"<!-- screen: {m[1]} -->\n```text\n{screens[m[1]]}\n```\n", text)
    )


if __name__ == "__main__":
    main()
