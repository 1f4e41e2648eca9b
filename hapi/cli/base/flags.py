"""The flags of a runner, as values: read by click and, for a quick start, without it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from attrs import evolve, frozen

MORE = {  # flag → keyword of RunnerOptions.from_environment; each takes one text
    "--max-sessions": "max_sessions",
    "--min-free-memory": "min_free_memory",
    "--queue": "queue",
    "--revive": "revive",
    "--session-memory": "session_memory",
}


@frozen
class RunnerFlags:
    """What the command line says about a runner, before and after the verb."""

    workspace_roots: tuple[str, ...] = ()
    session_command: str | None = None
    more: Mapping[str, str] = {}  # the flags of MORE that were given, by their keyword

    def given(self) -> dict[str, Any]:
        """As keyword arguments of `RunnerOptions.from_environment`."""
        command = {"session_command": self.session_command} if self.session_command else {}
        return {"workspace_roots": self.workspace_roots, **command, **self.more}

    def words(self) -> list[str]:
        """The same flags as words of a command line, to come after `runner`."""
        roots = [word for root in self.workspace_roots for word in ("--workspace-root", root)]
        more = [
            word
            for flag, keyword in MORE.items()
            if keyword in self.more
            for word in (flag, self.more[keyword])
        ]
        return (
            roots
            + (["--session-command", self.session_command] if self.session_command else [])
            + more
        )


def read_words(words: Sequence[str], verb: str) -> RunnerFlags | None:
    """The flags in `words` when these are known flags around `verb` and nothing else; None leaves them to click."""
    flags, seen, rest = RunnerFlags(), False, list(words)
    while rest:
        word = rest.pop(0)
        name, equals, value = word.partition("=")
        if word == verb and not seen:
            seen = True
            continue
        if name not in ("--workspace-root", "--session-command", *MORE):
            return None
        if not equals:
            if not rest:
                return None
            value = rest.pop(0)
        if name in MORE:
            flags = evolve(flags, more={**flags.more, MORE[name]: value})
        elif name == "--workspace-root":
            flags = evolve(flags, workspace_roots=(*flags.workspace_roots, value))
        else:
            flags = evolve(flags, session_command=value)
    return flags if seen else None
