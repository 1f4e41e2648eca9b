"""A session with a person at a screen, in memory: keys are pressed, and what is drawn is read."""

from __future__ import annotations

import re

from attrs import define, field
from prompt_toolkit.history import History, InMemoryHistory
from prompt_toolkit.input import DummyInput
from prompt_toolkit.input.vt100_parser import Vt100Parser
from prompt_toolkit.output import DummyOutput
from prompt_toolkit.output.color_depth import ColorDepth
from twisted.internet.defer import maybeDeferred

from hapi.session.terminal.assembly import assemble
from hapi.session.terminal.completion import FileLister
from hapi.session.terminal.painter import Painter
from hapi.session.terminal.screen import Screen
from tests.support.session_stage import SessionStage

STYLES = re.compile(r"\x1b\[[0-9;]*m")  # colours and bold, which are ours
UP, DOWN, BACKTAB = "\x1b[A", "\x1b[B", "\x1b[Z"


class Keys(DummyInput):
    """Keys that a test presses."""

    def __init__(self):
        self.pressed, self.ready = [], None
        self._parser = Vt100Parser(self.pressed.append)

    def attach(self, input_ready_callback):
        self.ready = input_ready_callback
        return super().attach(input_ready_callback)

    def read_keys(self):
        keys, self.pressed[:] = list(self.pressed), []
        return keys

    def flush_keys(self):
        self._parser.flush()
        return self.read_keys()

    @property
    def closed(self):
        return False

    def press(self, text):
        self._parser.feed(text)
        self.ready()


class Paper(DummyOutput):
    """Keeps what is written without being drawn: what stands above the line."""

    def __init__(self):
        self.above = ""

    def write_raw(self, data):
        self.above += data.replace("\r\n", "\n")

    def get_default_color_depth(self):
        return ColorDepth.DEPTH_1_BIT


@define(eq=False)
class ScreenStage:
    """`stage` is not running yet."""

    stage: SessionStage
    keys: Keys = field(factory=Keys)
    paper: Paper = field(factory=Paper)
    painter: Painter = field(factory=lambda: Painter(ColorDepth.DEPTH_1_BIT))
    history: History = field(factory=InMemoryHistory)
    screen: Screen = field(init=False)

    def __attrs_post_init__(self):
        clock = self.stage.clock
        lister = FileLister(clock, {}, "/nowhere", maybeDeferred)
        self.screen = assemble(clock, self.keys, self.paper, self.painter, self.history, lister)

    def up(self) -> ScreenStage:
        self.screen.read()
        self.screen.attach(self.stage.session)
        self.stage.run()
        self.screen.ready("http://hub")
        self.settle()
        return self

    @property
    def agent(self):
        return self.stage.agent

    @property
    def link(self):
        return self.stage.link

    @property
    def draft(self) -> str:
        return self.screen.editor.buffer.text

    def settle(self, seconds: float = 0.0) -> None:
        """Let everything happen that is due, and what is due `seconds` later."""
        for wait in [0.0, *[0.05] * round(seconds / 0.05)]:
            self.stage.clock.advance(wait)
            for _ in range(20):
                self.stage.clock.advance(0)

    def press(self, *pieces: str) -> None:
        for piece in pieces:
            self.keys.press(piece)
            self.settle()

    def said(self) -> str:
        """What was shown above the line since the last look."""
        self.settle()
        text, self.paper.above = self.paper.above, ""
        return STYLES.sub("", text)

    def status(self) -> str:
        """The last line."""
        return "".join(text for _, text in self.screen.status())

    def shown_menu(self) -> str:
        """The menu as text; empty if there is none."""
        return "".join(text for _, text in self.screen.dialogs.fragments())

    def leave(self) -> None:
        self.screen.release()
        self.settle(1.0)
