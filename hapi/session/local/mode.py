"""Local and remote mode of a session in a terminal, and the way from one to the other.

In remote mode the agent runs over ACP, and page and console steer it. In local mode the agent's own
program has the terminal. Only one of them has the agent's session at a time.
"""

from __future__ import annotations

import os
import termios
from collections.abc import Awaitable, Callable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.task import deferLater
from twisted.logger import Logger

from hapi.configured_agents import agent_environment, resolve_command
from hapi.deferreds import run_in_background
from hapi.one_shot import OneShotObserver
from hapi.protocol.permissions import PermissionAnswer
from hapi.protocol.session import BY_INTERRUPT, COMPLETED, Mode, launch_failed, mode_state
from hapi.protocol.session_metadata import agent_memory
from hapi.session.agent.process import environment_of_agent
from hapi.session.local.checkpoints import Checkpoints
from hapi.session.local.interface import (
    Interruptible,
    LocalError,
    LocalStart,
    Mirror,
    OwnProgram,
)
from hapi.session.local.mirror import QUESTION_TOOL, HubMirror
from hapi.session.local.program_files import make_directory, remove_directory
from hapi.session.local.terminal import OwnTerminal
from hapi.session.session import Session

TYPING_TIMEOUT = 15.0  # seconds after the last key for which what was typed keeps a message waiting
INTERRUPT_TIMEOUT = 2.0  # seconds that a turn has to stop before the program is ended all the same
START_TIME = 20.0  # seconds after which a program reads what is typed, whatever it told
READ_TIME = 5.0  # seconds for the same once it has told its session
QUICK_EXIT = 3.0  # seconds; a program that ends by itself before that could not start


class Console(Protocol):
    """The part of the session's console that local mode uses."""

    def release(self) -> Deferred[None]: ...
    def resume(self, typed: str = "") -> None: ...
    def print_line(self, text: str) -> None: ...
    def submit_typed(self) -> None: ...


def open_program(reactor: Any, agent: str, start: LocalStart, mirror: Mirror) -> OwnProgram:
    """The own program of an agent, not started yet."""
    program: OwnProgram = import_module(f"hapi.session.local.{agent}").own_program(
        reactor, start, mirror
    )
    return program


@define(eq=False, repr=False)
class _Period:
    """One time in which the program has the terminal. `over` fires at its end."""

    program: OwnProgram
    terminal: OwnTerminal
    mirror: HubMirror
    files: Path
    on_written: Any  # the console's, which is silent meanwhile
    over: OneShotObserver[None] = field(factory=OneShotObserver)
    is_leaving: bool = False  # for the remote mode
    typed_at: float = 0.0  # seconds of the clock
    told: str = ""  # why a message waits, as the conversation was told
    asked: str | None = None  # the request of the program that its keys answer
    reads: IDelayedCall | None = None  # from then on, what is typed is read for certain


@define(eq=False, repr=False)
class LocalMode:
    """`program` is the path of the agent's own program. `begin` starts it; from then on it is the
    session's `local`."""

    _reactor: Any
    _session: Session
    _console: Console | None  # None: there is no terminal, and only `recover` is used
    _program_path: str
    _environ: Mapping[str, str] = field(repr=False)  # what the program inherits
    _words: tuple[str, ...] = ()  # for the program, when it starts first
    _rows_after: Callable[[int], Awaitable[list[Any]]] = field(kw_only=True)
    _open_program: Callable[..., OwnProgram] = field(default=open_program, kw_only=True)
    _make_terminal: Callable[[Any], OwnTerminal] = field(default=OwnTerminal, kw_only=True)
    is_local: bool = False
    _checkpoints: Checkpoints = field(init=False)
    _period: _Period | None = None
    _is_entering: bool = False  # on the way from remote to local
    _is_ending: bool = False
    _wants_local: bool = False  # as soon as the turn in remote mode has ended
    _look_again: IDelayedCall | None = None
    log = Logger()

    def __attrs_post_init__(self) -> None:
        session = self._session
        self._checkpoints = Checkpoints(
            session.start.home, session.hub, session.link.when_confirmed, self._rows_after
        )
        session.turns.on_quiet = self._turn_ended

    @property
    def _label(self) -> str:
        return self._session.agent.label

    # --- into local mode
    async def begin(self) -> None:
        """Begin the session in local mode. Returns when the program runs."""
        session = self._session
        self.is_local = True
        session.connect("local")
        await session.release_agent()
        await self._enter(session.start.arguments.resume)
        session.announce_ready()
        if session.start.arguments.continues:
            is_kept = session.start.arguments.resume is not None
            memory = agent_memory("kept" if is_kept else "new", session.start.facts.now)
            session.hub.change_metadata(lambda stored: {**(stored or {}), "agentMemory": memory})

    def wanted(self) -> None:
        """A person wants the own program: now, or as soon as the turn has ended. A second time
        stops the turn."""
        if self.is_local or self._is_entering or self._is_ending:
            return
        session, console = self._session, self._console
        assert console is not None
        # Prompts that were entered while the agent starts are answered first. One that waits for a
        # login may never be ready.
        is_starting = session.turns.closed and session.login.waiting is None
        if self._wants_local:
            if session.turns.is_working:
                session.turns.abort()
        elif is_starting:
            self._wants_local = True
            console.print_line(
                f"{self._label}'s own program starts when {self._label} is ready and what was "
                "entered is answered."
            )
        elif session.turns.is_working or len(session.hub.inbox):
            self._wants_local = True
            console.print_line(
                f"{self._label}'s own program starts when the turn has ended. "
                "Press Ctrl+O again to stop the turn."
            )
        else:
            self._go_local()

    def opened(self) -> None:
        """The agent of remote mode is ready, or could not be started."""
        if self._console is not None:
            self._console.submit_typed()
        session = self._session
        is_quiet = not session.turns.is_working and not len(session.hub.inbox)
        if self._wants_local and is_quiet and not self._is_ending:
            self._go_local()

    def _turn_ended(self) -> None:
        if self._wants_local:
            self.opened()

    def _go_local(self) -> None:
        self._wants_local = False
        self._is_entering = True
        self._session.turns.closed = True  # what comes now waits
        run_in_background(self._switch_to_local(), self.log, "Local mode could not be entered")

    async def _switch_to_local(self) -> None:
        assert self._console is not None
        try:
            await self._console.release()
            agent_session = await self._session.release_agent()
            if self._is_ending:
                return
            self.is_local = True
            self._tell("local")
        finally:
            self._is_entering = False
        await self._enter(agent_session)

    async def _enter(self, agent_session: str | None) -> None:
        """Start the program; `_period` waits for its end."""
        session = self._session
        files = make_directory(session.start.home.directory("tmp"))
        mirror = HubMirror(session, self._checkpoints)
        mirror.on_thinking, mirror.on_up = self._thinking_changed, self._came_up
        mirror.on_asking = self._asking_changed
        left = self._checkpoints.read()
        start = self._start(files, agent_session, left)
        if left is not None:
            mirror.known = await self._known_keys(left)
        if agent_session is not None:
            mirror.resumes(agent_session)
        self._checkpoints.begin()
        program = self._open_program(self._reactor, session.agent.name, start, mirror)
        terminal = self._make_terminal(self._reactor)
        terminal.on_typed, terminal.on_hangup = self._typed, self._hung_up
        terminal.on_titled = getattr(program, "terminal_titled", _ignore)
        period = self._period = _Period(program, terminal, mirror, files, session.hub.on_written)
        session.hub.on_written = _ignore
        terminal.typed.is_sure = False
        period.reads = self._reactor.callLater(START_TIME, self._reads, period)
        try:
            terminal.start(program.prepare(), start.directory)
        except (OSError, termios.error, CannotListenError, LocalError) as problem:
            await self._close(period)
            self._session.begin_end(launch_failed(str(problem)))
            return
        self._words = ()
        program.started(terminal.pid)
        run_in_background(self._wait_for_end(period), self.log, "Local mode failed")
        self.prompt_queued()

    def _start(
        self, files: Path, agent_session: str | None, left: Mapping[str, Any] | None
    ) -> LocalStart:
        session = self._session
        directory = session.start.facts.path
        more = agent_environment(session.agent, self._environ, os.geteuid() == 0)
        environ = environment_of_agent(
            self._environ, session.hub.session_id, {**more, "PWD": directory}
        )
        settings = session.settings
        return LocalStart(
            self._program_path,
            session.hub.session_id,
            directory,
            environ,
            files,
            agent_session,
            settings.granting_mode,
            settings.model,
            settings.effort,
            self._words,
            tuple(session.host.mcp_servers()),
            left.get("place") if left is not None else None,
        )

    async def _known_keys(self, left: Mapping[str, Any]) -> frozenset[str]:
        try:
            return await self._checkpoints.known_keys(left)
        except Exception as problem:
            self.log.warn(
                "What the hub has of the conversation is not known: {reason}", reason=str(problem)
            )
            return frozenset()

    async def recover(self) -> None:
        """Bring to the hub what an earlier process was killed over, before remote mode begins."""
        left = self._checkpoints.read()
        if left is None:
            return
        session = self._session
        files = make_directory(session.start.home.directory("tmp"))
        try:
            mirror = HubMirror(session, self._checkpoints, await self._known_keys(left))
            start = self._start(files, session.start.arguments.resume, left)
            program = self._open_program(self._reactor, session.agent.name, start, mirror)
            await program.stop()
        finally:
            self._checkpoints.remove()
            remove_directory(files)

    # --- while the program runs
    async def _wait_for_end(self, period: _Period) -> None:
        """Wait for the end of the program, and do what follows."""
        began = self._reactor.seconds()
        exit_code = await period.terminal.exited.when_fired()
        await self._close(period)
        if self._is_ending:
            return
        if period.is_leaving:
            await self._to_remote(period.terminal.typed.unsent, period.mirror.session_id)
        elif exit_code and self._reactor.seconds() - began < QUICK_EXIT:
            self._session.begin_end(
                launch_failed(f"{self._program_path} exited with code {exit_code}")
            )
        else:
            self._session.begin_end(COMPLETED)

    async def _close(self, period: _Period) -> None:
        """The program has ended: report the rest, and give the terminal back."""
        if self._look_again is not None and self._look_again.active():
            self._look_again.cancel()
        if period.reads is not None and period.reads.active():
            period.reads.cancel()
        try:
            try:
                await period.terminal.end()
            finally:
                period.terminal.release()
            await period.program.stop()
            period.mirror.end()
            self._checkpoints.remove()  # else a later start reports what is missing
        except Exception:
            self.log.failure("The end of the program in the terminal was not in order")
        self._period = None
        self._session.hub.on_written = period.on_written
        remove_directory(period.files)
        period.over.fire(None)

    def _typed(self) -> None:
        if self._period is not None:
            self._period.typed_at = self._reactor.seconds()
            if len(self._session.hub.inbox):
                self.prompt_queued()

    def _hung_up(self) -> None:
        """The person's terminal is closed."""
        self._session.begin_end(BY_INTERRUPT)

    def _thinking_changed(self) -> None:
        period = self._period
        if period is not None:
            if period.mirror.is_thinking:
                period.terminal.typed.clear()  # it was sent
                self._reads(period)
            self.prompt_queued()

    def _came_up(self) -> None:
        period = self._period
        if period is not None and period.reads is not None and period.reads.active():
            left = period.reads.getTime() - self._reactor.seconds()
            period.reads.reset(min(left, READ_TIME))

    def _reads(self, period: _Period) -> None:
        """What is entered in the program from now on is sent."""
        if period.reads is not None and period.reads.active():
            period.reads.cancel()
        if not period.is_leaving:
            period.terminal.typed.is_sure = True

    def _asking_changed(self) -> None:
        """Keys that answer the program are no text."""
        period = self._period
        if period is None:
            return
        asked = period.mirror.asked
        if (asked.id if asked is not None else None) == period.asked:
            return
        period.asked = asked.id if asked is not None else None
        is_form = asked is not None and asked.tool == QUESTION_TOOL
        period.terminal.typed.dialog = "" if asked is None else "form" if is_form else "menu"

    # --- into remote mode
    def prompt_queued(self) -> None:
        """Leave the terminal for a message of the page, unless a turn runs in it, or something was
        typed a moment ago."""
        period = self._period
        if period is None or period.is_leaving or self._is_ending:
            return
        if not len(self._session.hub.inbox):
            period.told = ""
        elif not self._has_adapter():
            self._tell_once(period, self._no_adapter())
        elif period.mirror.is_thinking:
            self._tell_once(period, "Waiting for the turn in the terminal to end")
        elif period.terminal.typed.unsent and (left := self._typing_left(period)) > 0:
            self._tell_once(period, "Waiting until nobody types in the terminal")
            if self._look_again is None or not self._look_again.active():
                self._look_again = self._reactor.callLater(left, self.prompt_queued)
        else:
            self._leave(period)

    def _typing_left(self, period: _Period) -> float:
        """Seconds for which what was typed still keeps a message waiting."""
        now: float = self._reactor.seconds()
        return period.typed_at + TYPING_TIMEOUT - now

    def _tell_once(self, period: _Period, text: str) -> None:
        if period.told != text:
            period.told = text
            self._session.hub.publish_status(text)

    def _has_adapter(self) -> bool:
        return resolve_command(self._session.agent, self._environ) is not None

    def _no_adapter(self) -> str:
        programs = " or ".join(self._session.agent.programs)
        return (
            f"{self._label} stays in the terminal: HAPI needs the program {programs} to run it for "
            "the page, and it is not on PATH"
        )

    def _leave(self, period: _Period) -> None:
        period.is_leaving = True
        period.terminal.typed.is_sure = False
        run_in_background(self._end_program(period), self.log, "The terminal could not be left")

    async def _end_program(self, period: _Period) -> None:
        terminal, program = period.terminal, period.program
        if period.mirror.is_thinking:  # somebody insists
            period.mirror.is_stopped_by_page = True
            self._interrupt(period)
            until = self._reactor.seconds() + INTERRUPT_TIMEOUT
            while period.mirror.is_thinking and self._reactor.seconds() < until:
                await deferLater(self._reactor, 0.05)
        await terminal.leave(b"" if terminal.typed.unsent else program.leave_keys)

    async def _to_remote(self, typed: str, agent_session: str | None) -> None:
        session = self._session
        self.is_local = False
        session.take_agent_back(agent_session)
        self._tell("remote")
        assert self._console is not None
        self._console.resume(typed)
        if await session.open_agent() is not None:
            session.turns.open()  # the next prompt tries again
        self.opened()

    def _tell(self, mode: Mode) -> None:
        """Tell the hub which mode it is now."""
        hub = self._session.hub
        hub.mode = mode
        hub.publish_event({"type": "switch", "mode": mode})
        hub.change_state(lambda state: {**(state or {}), **mode_state(mode)})
        hub.change_metadata(lambda stored: {**(stored or {}), "startingMode": mode})
        hub.send_keepalive()

    # --- LocalControl
    def abort(self) -> None:
        if self._period is not None:
            self._period.mirror.is_stopped_by_page = self._period.mirror.is_thinking
            self._interrupt(self._period)

    @staticmethod
    def _interrupt(period: _Period) -> None:
        if isinstance(period.program, Interruptible):
            period.program.interrupt()
        else:
            period.terminal.type(period.program.interrupt_keys)

    def switch(self, to: Any) -> None:
        period = self._period
        if to == "local":
            self.wanted()
        elif period is None or period.is_leaving or self._is_ending:
            return
        elif self._has_adapter():
            self._leave(period)
        else:
            self._session.hub.publish_status(self._no_adapter())

    def answer(self, answer: PermissionAnswer) -> bool:
        return self._period is not None and self._period.mirror.answer(answer)

    async def end(self) -> None:
        self._is_ending = True
        period = self._period
        if period is not None:
            await period.terminal.end()
            await period.over.when_fired()


def _ignore(_: Any) -> None:
    """The program shows it itself."""
