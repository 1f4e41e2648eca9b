"""Web terminals: the events of a shell that a person opens on the page, and their payloads.

Two links carry them: page and hub on the namespace `/terminal`, hub and session process on `/cli`.
The events and rules are those of npm's hub 0.30. Ours besides, which npm's programs ignore:

- `terminal:list` (page, with an acknowledgement) asks for the terminals of a session.
- `terminal:error` answers a malformed `terminal:create`, which npm's hub ignores.
- `terminal:detached` (hub to page): another page has taken the terminal over.
- `terminal:running` (session to hub, after each connect) lists the terminals that are alive.
- `terminal:attach` (hub to session) is `terminal:open` for a terminal that exists: the session
  answers with everything it remembers as one `terminal:output` with `replay: true`, then with
  `terminal:ready`; or with `terminal:exit` if the terminal is gone.

A session that understands `terminal:attach` has `capabilities.terminalAttach` in its metadata.
"""

from __future__ import annotations

from typing import Annotated, Any, TypeVar

import msgspec

NAMESPACE = "/terminal"
CREATE, WRITE, RESIZE, CLOSE, LIST = (
    "terminal:create",
    "terminal:write",
    "terminal:resize",
    "terminal:close",
    "terminal:list",
)  # from the page
OPEN, ATTACH = "terminal:open", "terminal:attach"  # from the hub to a session, besides
READY, OUTPUT, EXIT, ERROR, DETACHED = (
    "terminal:ready",
    "terminal:output",
    "terminal:exit",
    "terminal:error",
    "terminal:detached",
)
RUNNING = "terminal:running"
PREFIX = "terminal:"

MAX_SIZE = 1000  # columns or rows; npm's programs accept any number
MAX_ID_LENGTH = 200  # characters
MAX_WRITE = 4 * 1024 * 1024  # characters of one `terminal:write`
SCROLLBACK = 256 * 1024  # characters that are kept for a replay, as npm's hub keeps
CLOSED_UNEXPECTEDLY = "Terminal stream closed unexpectedly."
"""What npm's session sends as `terminal:error` before `terminal:exit`, however the shell ends."""

# An id goes into the environment of the shell and into the audit: visible ASCII characters.
Id = Annotated[str, msgspec.Meta(max_length=MAX_ID_LENGTH, pattern=r"\A[!-~]+\Z")]
Cells = Annotated[int, msgspec.Meta(gt=0)]
T = TypeVar("T", bound=msgspec.Struct)


class TerminalEvent(msgspec.Struct, frozen=True, rename="camel"):
    """The payload of an event that has nothing but a terminal."""

    terminal_id: Id


class Close(TerminalEvent, frozen=True, rename="camel"):
    """`terminal:close`. npm's page names no session."""

    session_id: Id | None = None


class Open(TerminalEvent, frozen=True, rename="camel"):
    """`terminal:create`, `terminal:open` and `terminal:attach`."""

    session_id: Id
    cols: Cells
    rows: Cells


class Write(TerminalEvent, frozen=True, rename="camel"):
    data: Annotated[str, msgspec.Meta(max_length=MAX_WRITE)]


class Resize(TerminalEvent, frozen=True, rename="camel"):
    cols: Cells
    rows: Cells


class Output(TerminalEvent, frozen=True, rename="camel"):
    data: str
    replay: bool = False


class Exit(TerminalEvent, frozen=True, rename="camel"):
    """`signal` is a name such as SIGHUP."""

    code: int | None = None
    signal: str | None = None


class Problem(TerminalEvent, frozen=True, rename="camel"):
    """`terminal:error`."""

    message: str


class OfSession(msgspec.Struct, frozen=True, rename="camel"):
    """The payload of `terminal:list`."""

    session_id: Id


class Running(msgspec.Struct, frozen=True, rename="camel"):
    """The payload of `terminal:running`."""

    terminal_ids: Annotated[list[Id], msgspec.Meta(max_length=100)]


def read(payload: Any, kind: type[T]) -> T | None:
    """The payload of an event, None if it has another shape: such events are ignored."""
    try:
        return msgspec.convert(payload, kind)
    except (msgspec.ValidationError, RecursionError):
        return None


def create_problem(payload: Any) -> str | None:
    """What is wrong with a `terminal:create` that `read` refuses; None if it names no terminal."""
    terminal_id = payload.get("terminalId") if isinstance(payload, dict) else None
    if not isinstance(terminal_id, str) or not terminal_id:
        return None
    if read(payload, TerminalEvent) is None:
        return f"A terminal's ID has 1 to {MAX_ID_LENGTH} visible ASCII characters."
    if read(payload, OfSession) is None:
        return "No session is named in which the terminal is to be opened."
    return "The size of a terminal is given as whole numbers of columns and rows above 0."


def cells(number: int) -> int:
    """A number of columns or rows within bounds."""
    return min(number, MAX_SIZE)
