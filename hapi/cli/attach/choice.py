"""Which shell of a session is shown."""

from __future__ import annotations

import sys

from attrs import frozen

from hapi.cli.attach.person_terminal import PersonTerminal
from hapi.cli.base.errors import CommandError
from hapi.redaction import escape_control

SHOWN = 8  # characters of an id
MAX_DIGITS = 9  # of the number of a choice; more are as good as none


@frozen
class Listed:
    """A shell that a session has."""

    id: str
    is_shown: bool  # on a page, or in another terminal

    @property
    def description(self) -> str:
        where = "shown on a page or in another terminal" if self.is_shown else "shown nowhere"
        return f"{escape_control(self.id[-SHOWN:])}  {where}"


def short_names(ids: list[str]) -> dict[str, str]:
    """The shortest end of each id, of SHOWN characters at least, that no other one has."""

    def short(name: str) -> str:
        others = [each for each in ids if each != name]
        for length in range(SHOWN, len(name)):
            if not any(each.endswith(name[-length:]) for each in others):
                return name[-length:]
        return name

    return {each: short(each) for each in ids}


def find_named(listed: list[Listed], named: str) -> str:
    """The id of the shell that `named`, an id or the end of one, names. Raises CommandError."""
    found = [each.id for each in listed if each.id.endswith(named)]
    if named in found or not listed:  # npm's hub does not list them
        return named
    if len(found) == 1:
        return found[0]
    shown = escape_control(named)
    if found:
        raise CommandError(f"{len(found)} shells have an ID that ends with {shown}")
    raise CommandError(f"the session has no shell {shown}; --list shows those that it has")


def obvious(listed: list[Listed]) -> bool:
    """Whether nobody has to be asked: there is none, or one that nothing shows."""
    return not listed or (len(listed) == 1 and not listed[0].is_shown)


async def choose(terminal: PersonTerminal, listed: list[Listed]) -> str | None:
    """Ask the person; None for a new shell. Raises CommandError."""
    if obvious(listed):
        return listed[0].id if listed else None
    for number, each in enumerate(listed, 1):
        print(f"{number}  {each.description}", file=sys.stderr)
    print("n  a new shell", file=sys.stderr)
    while True:
        print(f"Which one (1-{len(listed)}, n)? ", end="", file=sys.stderr, flush=True)
        line = await terminal.read_line()
        if line is None:
            raise CommandError("no shell was chosen")
        answer = line.strip().lower()
        if answer == "n":
            return None
        if answer.isascii() and answer.isdigit() and 1 <= int(answer[:MAX_DIGITS]) <= len(listed):
            return listed[int(answer[:MAX_DIGITS]) - 1].id
