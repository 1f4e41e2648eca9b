"""What a session and the agent's own program in its terminal have to do with each other.

In local mode the agent's own program (`claude`, `codex`, …) has the terminal. An `OwnProgram`
knows how one agent's program is started and what it is doing, and reports that to a `Mirror`, which
brings it to the hub. The module `hapi.session.local.AGENT` of an agent with `Agent.own_program` has

    def own_program(reactor: Any, start: LocalStart, mirror: Mirror) -> OwnProgram: ...

which makes the object of one start. It is not used again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from attrs import field, frozen

from hapi.protocol.acp.prompts import Usage
from hapi.protocol.permissions import PermissionAnswer


@frozen
class LocalStart:
    """With what an own program is started."""

    program: str  # its path
    session_id: str  # of the row at the hub
    directory: str  # the working directory
    environ: Mapping[str, str] = field(repr=False)  # what the program inherits
    files: Path = field()  # a directory of its own, 0700, for what the program reads; removed later
    agent_session: str | None = None  # the agent's own session to go on with; None: a new one
    permission_mode: str | None = None  # None: the one that the program begins in
    model: str | None = None
    effort: str | None = None
    words: tuple[str, ...] = ()  # what the person gave after `--`, for the program
    mcp_servers: tuple[Mapping[str, Any], ...] = ()  # HAPI's own tools, as ACP names servers
    # The last checkpoint, if an earlier process of this session was killed in local mode: what
    # comes after it may not be at the hub. None: what there is already is in the conversation.
    checkpoint: Any = None


@frozen
class Launch:
    """How to start a program."""

    argv: tuple[str, ...]  # argv[0] is the path of the program
    environ: Mapping[str, str] = field(repr=False)  # the whole environment


class OwnProgram(Protocol):
    """One start of an agent's own program. Its process, its terminal, and what remains on the
    screen are not its business.

    A program with a method `terminal_titled(title: str)` is told each title that it gives its
    terminal.
    """

    interrupt_keys: bytes  # what a person types to stop the turn; b"": it is `Interruptible`
    # What a person types to leave while no turn runs and nothing is typed; b"": SIGTERM is as good.
    leave_keys: bytes

    def prepare(self) -> Launch:
        """Write the files that the program needs, and begin to listen for its calls. Raises
        OSError; may raise LocalError with a sentence."""
        ...

    def started(self, pid: int) -> None:
        """The program runs: begin to watch it."""
        ...

    async def stop(self) -> None:
        """The program has ended, or could not be started: report what is still unread, and stop to
        watch and listen. Called once."""
        ...


@runtime_checkable
class Interruptible(Protocol):
    """An own program that is told otherwise than by its keys to stop the turn."""

    def interrupt(self) -> None: ...


class LocalError(Exception):
    """The own program cannot be started; a sentence for people, without its period."""


@frozen
class LocalRequest:
    """A permission request of the program. It stays open in the terminal too."""

    id: str  # unique in the session; goes on the wire
    tool: str
    arguments: Any
    call_id: str | None = None  # of the tool call, if its record has one


class Mirror(Protocol):
    """Where an `OwnProgram` reports. Call it from the reactor's thread, in the order in which
    things happened. Times are milliseconds since the epoch.

    A `key` names a record for good, e.g. the id of a line or part: one that the hub has already,
    from before a crash, is left out. Within a process each record is to be reported once.
    """

    def agent_session(self, session_id: str) -> None:
        """The agent's own session id is known, or is another one now (`/clear`)."""
        ...

    def thinking(self, is_thinking: bool) -> None:
        """A turn began or ended, also by an interruption. Repeats are harmless."""
        ...

    def prompt(self, text: str, at: int, key: str) -> None:
        """What a person typed and sent to the agent."""
        ...

    def record(self, data: Mapping[str, Any], at: int, key: str) -> None:
        """A record of the agent as `hapi.protocol.records` makes them (`message`, `reasoning`,
        `tool-call`, `tool-call-result`, …)."""
        ...

    def output(self, line: Mapping[str, Any], at: int, key: str) -> None:
        """A line of Claude's own transcript, which pages understand as it is."""
        ...

    def permission_mode(self, mode: str) -> None:
        """The permission mode that the program works in, by a name of `Agent.permission_modes`;
        others are ignored. Remote mode begins in it."""
        ...

    def model_chosen(self) -> None:
        """The person chose a model in the program."""
        ...

    def status(self, text: str, at: int | None = None) -> None:
        """A status line in the conversation. `at`: None is now."""
        ...

    def title(self, title: str) -> None:
        """The title that the agent gave its session."""
        ...

    def usage(self, used: Usage | None, model: str | None, context: tuple[int, int] | None) -> None:
        """What a turn used; `context`: tokens in the model's context and its size. Reported once
        per turn, before its `thinking(False)`."""
        ...

    def request(
        self, request: LocalRequest, answer: Callable[[PermissionAnswer], None] | None
    ) -> None:
        """The program asks for a permission. `answer` is called once with the page's answer, if
        that comes first; None: the page shows the request, and says that it has to be answered in
        the terminal."""
        ...

    def settled(self, request_id: str, approved: bool | None) -> None:
        """A request was answered in the terminal; None: it is over without an answer. One that the
        page has answered may be reported as well."""
        ...

    def checkpoint(self, place: Any) -> None:
        """All up to `place` (JSON, e.g. session and offset) was reported. Kept on the disk; see
        `LocalStart.checkpoint`."""
        ...
