"""The flags of a runner, as values: read by click and, for a quick start, without it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from attrs import evolve, frozen


@frozen
class RunnerFlags:
    """What the command line says about a runner, before and after the verb."""

    workspace_roots: tuple[str, ...] = ()
    session_command: str | None = None

    def given(self) -> dict[str, Any]:
        """As keyword arguments of `RunnerOptions.from_environment`."""
        command = {"session_command": self.session_command} if self.session_command else {}
        return {"workspace_roots": self.workspace_roots, **command}

    def words(self) -> list[str]:
        """The same flags as words of a command line, to come after `runner`."""
        roots = [word for root in self.workspace_roots for word in ("--workspace-root", root)]
        return roots + (["--session-command", self.session_command] if self.session_command else [])


def read_words(words: Sequence[str], verb: str) -> RunnerFlags | None:
    """The flags in `words` when these are known flags around `verb` and nothing else; None leaves them to click."""
    flags, seen, rest = RunnerFlags(), False, list(words)
    while rest:
        word = rest.pop(0)
        name, equals, value = word.partition("=")
        if word == verb and not seen:
            seen = True
            continue
        if name not in ("--workspace-root", "--session-command"):
            return None
        if not equals:
            if not rest:
                return None
            value = rest.pop(0)
        if name == "--workspace-root":
            flags = evolve(flags, workspace_roots=(*flags.workspace_roots, value))
        else:
            flags = evolve(flags, session_command=value)
    return flags if seen else None
