"""A session whose agent has a scripted own program: no process, no terminal, a clock."""

from __future__ import annotations

from typing import Any

from attrs import define, field
from twisted.internet.defer import Deferred, succeed

from hapi.one_shot import OneShotObserver
from hapi.session.local.interface import Launch, LocalError
from hapi.session.local.mode import LocalMode
from hapi.session.local.typed_text import TypedText
from tests.support.session_stage import SessionStage


@define(eq=False)
class ScriptedProgram:
    """An own program; `mirror` is for the test to report to."""

    start: Any
    mirror: Any
    problem: str | None = None
    interrupt_keys: bytes = b"\x1b"
    leave_keys: bytes = b""
    events: list[str] = field(factory=list)
    on_stop: Any = None

    def prepare(self):
        if self.problem is not None:
            raise LocalError(self.problem)
        self.events.append("prepared")
        return Launch((self.start.program,), self.start.environ)

    def started(self, pid):
        self.events.append("started")

    async def stop(self):
        self.events.append("stopped")
        if self.on_stop is not None:
            self.on_stop(self.mirror)


@define(eq=False)
class ScriptedTerminal:
    """The program's terminal: `keys` is what was typed by HAPI."""

    reactor: Any
    pid: int = 99
    exited: OneShotObserver = field(factory=OneShotObserver)
    typed: TypedText = field(factory=TypedText)
    on_typed: Any = None
    on_titled: Any = None
    on_hangup: Any = None
    is_stubborn: bool = False  # does not leave by itself
    keys: bytes = b""
    events: list[str] = field(factory=list)

    def start(self, launch, directory):
        self.events.append("started")

    def type(self, keys):
        self.keys += keys

    def release(self):
        self.events.append("released")

    async def leave(self, keys):
        self.events.append("left")
        if not self.is_stubborn:
            self.exit(0)

    async def end(self):
        self.events.append("ended")
        self.exit(None)

    # --- for the test
    def exit(self, code):
        if not self.exited.has_fired:
            self.exited.fire(code)

    def person_types(self, keys):
        self.typed.feed(keys)
        self.on_typed()


@define(eq=False)
class ScriptedConsole:
    events: list[str] = field(factory=list)
    session: Any = None
    typed: list[str] = field(factory=list)  # before the agent was ready
    releasing: Any = None  # a Deferred until the terminal is given away

    def release(self):
        self.events.append("released")
        return self.releasing or succeed(None)

    def resume(self, typed=""):
        self.events.append(f"resumed {typed}".strip())

    def print_line(self, text):
        self.events.append(text)

    def submit_typed(self):
        typed, self.typed = self.typed, []
        for text in typed:
            self.session.submit_prompt(text)


@define(eq=False)
class LocalStage:
    """`begin()` starts in local mode; `up()` in remote mode."""

    stage: SessionStage
    console: ScriptedConsole = field(factory=ScriptedConsole)
    mode: LocalMode = field(init=False)
    programs: list[ScriptedProgram] = field(factory=list)
    terminals: list[ScriptedTerminal] = field(factory=list)
    problem: str | None = None
    on_stop: Any = None

    def __attrs_post_init__(self):
        session = self.stage.session
        self.console.session = session
        adapter = self.stage.home.directory("bin") / "claude-agent-acp"
        adapter.touch(0o755)
        self.mode = LocalMode(
            self.stage.clock,
            session,
            self.console,
            "/bin/own",
            {"PATH": str(adapter.parent), "CLI_API_TOKEN": "secret"},
            ("--more",),
            rows_after=self.stage._rows,
            open_program=self._open,
            make_terminal=self._terminal,
        )
        session.local = self.mode

    def _open(self, reactor, agent, start, mirror):
        self.programs.append(ScriptedProgram(start, mirror, self.problem, on_stop=self.on_stop))
        return self.programs[-1]

    def _terminal(self, reactor):
        self.terminals.append(ScriptedTerminal(reactor))
        return self.terminals[-1]

    def begin(self):
        begun = Deferred.fromCoroutine(self.mode.begin())
        self.stage.link.connect()
        begun.addErrback(lambda failure: failure.raiseException())
        return self

    def up(self):
        self.stage.up()
        return self

    @property
    def session(self):
        return self.stage.session

    @property
    def link(self):
        return self.stage.link

    @property
    def program(self):
        return self.programs[-1]

    @property
    def mirror(self):
        return self.program.mirror

    @property
    def terminal(self):
        return self.terminals[-1]

    @property
    def modes(self):
        """The mode in the last keep-alive, of the state, and of the metadata."""
        alive = self.link.of("session-alive")[-1]["mode"]
        state = "local" if self.link.state["controlledByUser"] else "remote"
        assert self.link.state["startingMode"] == state
        return alive, state, self.link.metadata["startingMode"]

    @property
    def said(self):
        """The conversation, in short."""
        found = []
        for content in self.link.contents:
            data = content["content"].get("data", {})
            text = content["content"].get("text") or data.get("message") or data.get("text")
            found.append(
                f"switch {data['mode']}" if data.get("type") == "switch" else text or data["type"]
            )
        return found

    def prompt(self, text="hi", key="k1", at=1_000):
        """A person's prompt in the terminal."""
        self.mirror.thinking(True)
        self.mirror.prompt(text, at, key)
