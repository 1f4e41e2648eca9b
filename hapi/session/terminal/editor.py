"""The line at the bottom of the terminal in which a person writes, and what stands around it.

From top to bottom: what was said so far (it scrolls up and is the terminal's own), what the agent
is saying now, a menu if something is asked, the line, what it can be completed to, and the status.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

from attrs import define, field
from prompt_toolkit.application import Application
from prompt_toolkit.application.current import set_app
from prompt_toolkit.buffer import Buffer
from prompt_toolkit.document import Document
from prompt_toolkit.filters import Condition
from prompt_toolkit.formatted_text import StyleAndTextTuples
from prompt_toolkit.input import Input
from prompt_toolkit.key_binding import KeyBindingsBase
from prompt_toolkit.layout import (
    AnyContainer,
    BufferControl,
    ConditionalContainer,
    Dimension,
    FormattedTextControl,
    HSplit,
    Layout,
    Window,
)
from prompt_toolkit.output import Output
from prompt_toolkit.styles import Style
from prompt_toolkit.widgets import SearchToolbar
from twisted.internet.defer import Deferred, succeed
from twisted.logger import Logger

from hapi.session.terminal.completion import MAX_SHOWN
from hapi.session.terminal.reactor_loop import ReactorLoop

MAX_QUEUED = 400_000  # characters that wait to be shown; then the oldest are left out
PORTION = 32_000  # characters that are written at once
MAX_UNDO = 100  # earlier texts that are kept
MAX_UNDO_LENGTH = 1_000_000  # characters of them all
STYLE = Style.from_dict(
    {
        "prompt": "bold",
        "status": "#888888",
        "status.strong": "bold",
        "thought": "#888888",
        "question.title": "bold",
        "question.current": "reverse",
        "question.hint": "#888888",
        "completion.current": "reverse",
        "completion.meta": "#888888",
        "search-toolbar": "#888888",
    }
)


class LineBuffer(Buffer):
    """The text of the line, with a bounded memory of what it was before."""

    def save_to_undo_stack(self, clear_redo_stack: bool = True) -> None:
        super().save_to_undo_stack(clear_redo_stack)
        stack = self._undo_stack
        length = sum(len(text) for text, _ in stack)
        while len(stack) > MAX_UNDO or (length > MAX_UNDO_LENGTH and len(stack) > 1):
            length -= len(stack.pop(0)[0])


@define(eq=False, repr=False)
class Editor:
    """`bindings` makes the keys of whoever owns the editor; `status` returns the last line, `live`
    what is being said, `label` what stands before the line.

    `is_behind` tells whether the terminal has not taken what was written before.
    """

    _reactor: Any
    _input: Input
    _output: Output
    _bindings: Callable[[Buffer], KeyBindingsBase]
    _status: Callable[[], StyleAndTextTuples]
    _live: Callable[[], StyleAndTextTuples]
    _label: Callable[[], str]
    _menu: Window
    _has_menu: Callable[[], bool]
    _is_behind: Callable[[], bool] = field(default=lambda: False)
    _history: Any = None
    _completer: Any = None
    on_closed: Callable[[], object] = field(default=lambda: None)  # the terminal is gone
    buffer: Buffer = field(init=False)
    line: Window = field(init=False)
    app: Application[None] = field(init=False)
    loop: ReactorLoop = field(init=False)
    _queue: deque[str] = field(factory=deque)
    _queued: int = 0  # characters
    _left_out: int = 0  # lines that were never shown
    _pump_call: Any = None
    _done: Deferred[None] | None = None  # of the run now
    log = Logger()

    def __attrs_post_init__(self) -> None:
        self.loop = ReactorLoop(self._reactor)
        self.buffer = LineBuffer(
            multiline=True,
            history=self._history,
            completer=self._completer,
            complete_while_typing=True,
        )
        layout = self._layout()
        self.app = Application(
            layout=layout,
            style=STYLE,
            key_bindings=self._bindings(self.buffer),
            input=self._input,
            output=self._output,
            erase_when_done=True,
            terminal_size_polling_interval=None,
        )
        self.app.ttimeoutlen = 0.1  # seconds from Esc until it is a key of its own
        self.app.timeoutlen = 0.3
        self.app.before_render += self._fit

    @property
    def rows(self) -> int:
        return self._output.get_size().rows

    @property
    def columns(self) -> int:
        return self._output.get_size().columns

    def _layout(self) -> Layout:
        search = SearchToolbar(ignore_case=True)
        self.line = line = Window(
            BufferControl(self.buffer, search_buffer_control=search.control, preview_search=True),
            get_line_prefix=self._prefix,
            wrap_lines=True,
            dont_extend_height=True,
            height=lambda: Dimension(min=1, max=max(1, self.rows // 2)),
        )
        live = _text(self._live, height=lambda: Dimension(max=max(1, self.rows // 3)))
        parts: list[AnyContainer] = [
            ConditionalContainer(live, Condition(lambda: bool(self._live()))),
            ConditionalContainer(self._menu, Condition(self._has_menu)),
            line,
            search,
            ConditionalContainer(
                _text(self._completions), Condition(lambda: bool(self._completions()))
            ),
            _text(self._status, height=1),
            Window(height=Dimension(min=0, preferred=0)),
        ]
        return Layout(HSplit(parts), focused_element=line)

    def _prefix(self, line: int, wrap: int) -> StyleAndTextTuples:
        label = self._label()
        return [("class:prompt", label if line == wrap == 0 else " " * min(len(label), 2))]

    def _completions(self) -> StyleAndTextTuples:
        state = self.buffer.complete_state
        if state is None or not state.completions:
            return []
        current = state.complete_index
        first = max(0, min((current or 0) - MAX_SHOWN // 2, len(state.completions) - MAX_SHOWN))
        found: StyleAndTextTuples = []
        for number, each in enumerate(state.completions[first : first + MAX_SHOWN], first):
            name = each.display_text[: self.columns - 3]
            meta = f"  {each.display_meta_text}"[: max(0, self.columns - 3 - len(name))]
            style = "class:completion.current" if number == current else ""
            found += [(style, f"  {name}"), ("class:completion.meta", f"{meta}\n")]
        style, last = found[-1][:2]
        found[-1] = (style, last.rstrip("\n"))
        return found

    def paste(self, text: str) -> None:
        """Put what was pasted into the line."""
        self.buffer.insert_text(text.replace("\r\n", "\n").replace("\r", "\n"))

    def remember(self, text: str) -> None:
        """Add a prompt to the history."""
        self.buffer.history.append_string(text)

    # --- running
    def start(self, typed: str = "") -> None:
        """Read keys and draw, with `typed` in the line, after what stands there."""
        if typed:
            text = "\n".join(part for part in (self.buffer.text, typed) if part)
            self.buffer.set_document(Document(text, len(text)))
        done: Deferred[None] = Deferred()
        self._done = done
        run = self.app.run_async(
            pre_run=self._pump_soon, set_exception_handler=False, handle_sigint=False
        )
        self.loop.start(run).addCallbacks(
            lambda _: self._stopped(done), lambda failure: self._failed(failure, done)
        )

    def stop(self) -> Deferred[None]:
        """Erase what is drawn and leave the terminal as it was; fires when that is done. What is
        printed meanwhile waits."""
        done = self._done
        if done is None:
            return succeed(None)
        self.loop.call_soon(self._exit)  # after the run has begun
        waiting: Deferred[None] = Deferred()
        done.addCallback(waiting.callback)
        return waiting

    def _exit(self) -> None:
        if self.is_running:
            self._write_queued(whole=True)
            self.app.exit()

    def _stopped(self, done: Deferred[None]) -> None:
        self._done = None
        done.callback(None)

    def _failed(self, failure: Any, done: Deferred[None]) -> None:
        if not failure.check(EOFError):
            self.log.failure("The editor of the terminal failed", failure)
        self._stopped(done)
        self.on_closed()

    @property
    def is_running(self) -> bool:
        return self._done is not None and self.app.is_running and not self.app.is_done

    def refresh(self) -> None:
        """Draw again soon: something changed."""
        if self.is_running and not self._is_behind():
            self.app.invalidate()

    def _fit(self, app: object) -> None:
        """Begin anew where less is drawn than before: the rest would stay empty."""
        last = self.app.renderer.last_rendered_screen
        size = self._output.get_size()
        wanted = self.app.layout.container.preferred_height(size.columns, size.rows).preferred
        if last is not None and min(wanted, size.rows) < last.height:
            self.app.renderer.erase(leave_alternate_screen=False)

    # --- what was said
    def above(self, text: str) -> None:
        """Show `text`, whole lines with nothing but our own escape codes, above the line."""
        self._queue.append(text)
        self._queued += len(text)
        while self._queued > MAX_QUEUED and len(self._queue) > 1:
            dropped = self._queue.popleft()
            self._queued -= len(dropped)
            self._left_out += dropped.count("\n")
        self._pump_soon()

    def write_past(self, text: str) -> None:
        """Write whole lines while the editor does not run."""
        self._output.write_raw(text.replace("\n", "\r\n"))
        self._output.flush()

    def drained(self, has_dropped: bool) -> None:
        """The terminal has taken all that was written."""
        if not self.is_running:
            return
        if has_dropped:  # what the screen shows is not known
            self._output.write_raw("\x18\x1b[0m\r\n")  # CAN ends an escape code that was cut off
            self.app.renderer.reset()
        self._pump_soon()
        self.app.invalidate()

    def _pump_soon(self) -> None:
        if self._pump_call is None and self.is_running:
            self._pump_call = self._reactor.callLater(0, self._pump)

    def _pump(self) -> None:
        self._pump_call = None
        if self.is_running and self._queue and not self._is_behind():
            self._write_queued()
            with self.loop.running(), set_app(self.app):
                self._fit(None)
                self.app.renderer.render(self.app, self.app.layout)
            if self._queue:
                self._pump_soon()

    def _write_queued(self, whole: bool = False) -> None:
        """Write a portion of what waits, or all of it, in the place of the line."""
        if not self._queue:
            return
        self.app.renderer.erase(leave_alternate_screen=False)
        written = 0
        if self._left_out:
            self._output.write_raw(
                f"... {self._left_out} lines were left out: the terminal is slow\r\n"
            )
            self._left_out = 0
        while self._queue and (whole or written < PORTION):
            text = self._queue.popleft()
            self._queued -= len(text)
            written += len(text)
            self._output.write_raw(text.replace("\n", "\r\n"))
        self._output.flush()


def _text(text: Callable[[], StyleAndTextTuples], height: Any = None) -> Window:
    control = FormattedTextControl(text, show_cursor=False)
    return Window(control, wrap_lines=True, dont_extend_height=True, height=height)
