"""The flags of a runner as values; they can be parsed without click, for a quick start."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from attrs import evolve, frozen

VALUE_FLAGS = {  # flag → keyword of RunnerOptions.from_environment; each takes one value
    "--max-sessions": "max_sessions",
    "--min-free-memory": "min_free_memory",
    "--queue": "queue",
    "--revive": "revive",
    "--session-memory": "session_memory",
    "--idle-agent": "idle_agent",
    "--git-actions": "git_actions",
    "--terminal": "terminal",
}


@frozen
class RunnerFlags:
    """The flags of a runner, those before the verb and those after it."""

    workspace_roots: tuple[str, ...] = ()
    session_command: str | None = None
    more: Mapping[str, str] = {}  # VALUE_FLAGS by their keyword

    def given(self) -> dict[str, Any]:
        """As keyword arguments of `RunnerOptions.from_environment`."""
        command = {"session_command": self.session_command} if self.session_command else {}
        return {"workspace_roots": self.workspace_roots, **command, **self.more}

    def words(self) -> list[str]:
        """The same flags as the words of a command line that follow `runner`."""
        roots = [word for root in self.workspace_roots for word in ("--workspace-root", root)]
        more = [
            word
            for flag, keyword in VALUE_FLAGS.items()
            if keyword in self.more
            for word in (flag, self.more[keyword])
        ]
        return (
            roots
            + (["--session-command", self.session_command] if self.session_command else [])
            + more
        )


def parse_flags(words: Sequence[str], verb: str) -> RunnerFlags | None:
    """The flags in `words` if all are known flags around `verb`; None leaves them to click."""
    flags, seen, rest = RunnerFlags(), False, list(words)
    while rest:
        word = rest.pop(0)
        name, equals, value = word.partition("=")
        if word == verb and not seen:
            seen = True
            continue
        if name not in ("--workspace-root", "--session-command", *VALUE_FLAGS):
            return None
        if not equals:
            if not rest:
                return None
            value = rest.pop(0)
        if name in VALUE_FLAGS:
            flags = evolve(flags, more={**flags.more, VALUE_FLAGS[name]: value})
        elif name == "--workspace-root":
            flags = evolve(flags, workspace_roots=(*flags.workspace_roots, value))
        else:
            flags = evolve(flags, session_command=value)
    return flags if seen else None
