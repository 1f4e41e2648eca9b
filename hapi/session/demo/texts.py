"""The demo agent's texts and modes, and the harmless commands that it may run."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator

MODES = (
    ("default", "Asks before it runs a command"),
    ("plan", "Plans and runs nothing"),
    ("acceptEdits", "As default: the demo agent edits no files"),
    ("bypassPermissions", "Runs its harmless commands without asking"),
    ("yolo", "The same under the name that other agents have for it"),
)
UNASKED = frozenset({"bypassPermissions", "yolo"})
MODELS = (
    ("swift", "Answers quickly"),
    ("thorough", "Takes its time, so that streaming can be watched"),
)
SLASH = (
    ("tour", "Show a thought, a plan, a permission request and a command"),
    ("plan", "Show a plan"),
    ("run", "Run one of a few harmless commands, after asking"),
    ("count", "Count slowly (count to 50), to try how a turn is stopped"),
)
PLAN = (
    ("Say what I can do", "medium"),
    ("Ask before I run a command", "high"),
    ("Run it and report", "medium"),
)
COMMANDS = ("date", "df", "echo", "id", "ls", "pwd", "uname", "uptime", "wc", "whoami")


def abilities(mode: str) -> str:
    return f"""I have no model behind me; I answer to a few words:

- `tour` shows everything once: a thought, a plan, a permission request, a command
- `run: ls -l` runs a harmless command ({", ".join(COMMANDS)}) in this directory, after asking
- `count to 50` counts slowly, so that you can stop me
- `plan`, `mode`, `what did I say?`, `fail`

The mode is `{mode}`; change it or the model in the session's settings on the page,
or with F3 and F2 in the terminal."""


def command_in(prompt: str) -> tuple[list[str] | None, str | None]:
    """The command that `prompt` asks for, or why it is refused; (None, None) for no command."""
    found = re.search(r"(?:^|\b|/)run:? +`?([^`\n]+)", prompt) or re.search(r"^\$ *(.+)", prompt)
    if found is None:
        return None, None
    try:
        argv = shlex.split(found[1])
    except ValueError:
        argv = []
    if not argv or argv[0] not in COMMANDS:
        return None, f"I only run harmless commands: {', '.join(COMMANDS)}."
    if argv[0] == "date" and not all(
        argument.startswith("+") or argument == "-u" for argument in argv[1:]
    ):
        return None, "I tell the date, I don't set it."
    return argv, None


def pieces(text: str) -> Iterator[str]:
    """`text` in small chunks, as a model would send it."""
    yield from (piece for piece in re.findall(r"\S*\s*(?:\S+\s*){0,2}", text) if piece)
