"""The session in a terminal: typed lines are prompts, output streams, y, a or n give permission."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TextIO

from attrs import define, field
from twisted.internet.defer import Deferred, succeed
from twisted.logger import Logger

from hapi.deferreds import run_in_background
from hapi.protocol.acp.updates import Text, Thought, Update
from hapi.protocol.permissions import PermissionAnswer, PermissionOutcome
from hapi.protocol.session import BY_INTERRUPT, COMPLETED, Ending, launch_failed
from hapi.session.agent.permissions import PendingPermission
from hapi.session.agent.questions import PendingQuestion
from hapi.session.hub.message_text import Speaker
from hapi.session.terminal.permission_prompt import (
    choices_of,
    request_lines,
    settled_lines,
    typed_answer,
)
from hapi.session.terminal.plain_input import read_in_thread
from hapi.session.terminal.question_prompt import QuestionForm, answered_lines
from hapi.session.terminal.text import (
    event_text,
    goodbye,
    is_unicode,
    printable,
    representable,
    typed_text,
)

if TYPE_CHECKING:
    from hapi.session.session import Session

MAX_TERMINAL_LINE_SIZE = 4095  # bytes; Linux discards the rest (termios(3), "canonical mode")
MAX_OUTPUT_LINES = 12  # of a tool's output


@define(eq=False, repr=False)
class Terminal:
    """`interactive`: a person types lines. Otherwise the whole input is one prompt, and only the
    answer goes to `out`."""

    _reactor: Any
    _out: TextIO
    _err: TextIO
    interactive: bool
    _session: Session | None = None
    _typed: list[str] = field(factory=list)  # before there was a session
    _ended_input: bool = False
    _streaming: str = ""  # the kind of output that is on the current line
    _stopping: bool = False
    _form: QuestionForm | None = None  # questions that typed lines answer
    # Asks for the agent's own program in this terminal; None: it has none.
    on_local_wanted: Callable[[], object] | None = None
    keys_hint = (
        "Type a prompt. Ctrl+C cancels the turn; Ctrl+D or a second Ctrl+C ends the session."
    )
    log = Logger()

    def release(self) -> Deferred[None]:
        """Stop reading the terminal and put it in its first state; fires when that is done."""
        return succeed(None)

    def resume(self, typed: str = "") -> None:
        """Read the terminal again, with `typed` in the line."""

    def attach(self, session: Session) -> None:
        self._session = session
        session.hub.on_written, session.hub.on_prompt = (
            self._record_published,
            self._from_page,
        )
        session.hub.on_delivery_problem = self._delivery_changed
        session.turns.observers.append(self._updated)
        session.turns.on_idle = self._idle
        session.permissions.on_asked, session.permissions.on_settled = self._asked, self._settled
        session.questions.on_asked = self._questions_asked
        session.questions.on_settled = self._questions_settled
        session.ended.when_fired().addCallback(self._ended)

    def _delivery_changed(self, problem: str | None) -> None:
        self.print_line(f"{problem or 'The hub stores the records of this session again'}.")

    def show_earlier(self, said: Sequence[tuple[Speaker, str]]) -> None:
        """What was said before this process went on with the session."""

    def ready(self, page: str) -> None:
        """The agent is ready: greet, and submit what was typed meanwhile."""
        assert self._session is not None
        start = self._session.start
        self.print_line(f"{start.agent.label} in {start.facts.path}, also on the page at {page}")
        if not is_unicode(self._out.encoding):
            self.print_line(
                f"The output's encoding is {self._out.encoding}: characters that it lacks are "
                "shown as \\u escapes. With a UTF-8 locale, such as LC_ALL=C.UTF-8, they are shown "
                "as they are."
            )
        if self.interactive:
            self.print_line(self.keys_hint)
        has_typed = bool(self._typed)
        self.submit_typed()
        if not has_typed:
            self._idle()

    def submit_typed(self) -> None:
        """Submit what was typed before the agent was ready."""
        typed, self._typed = self._typed, []
        for text in typed:
            self.typed(text)

    # --- in
    def read(self) -> None:
        """Read standard input in a thread: a reactor cannot watch a file."""
        read_in_thread(self._reactor, self)

    def typed(self, text: str) -> None:
        """A line from the person, or all of a piped input."""
        if self._form is not None:
            self._answer_question(text.strip())
        elif self._session is None or not self._session.is_accepting_prompts:
            self._typed.append(text)
        elif self._session.permissions.waiting and self.interactive:
            self._answer(text.strip())
        elif text.strip():
            self._streaming, self._stopping = "", False
            self._submit(text)
        elif not self._session.turns.busy:
            self._prompt()

    def _submit(self, text: str) -> None:
        assert self._session is not None
        try:
            self._session.submit_prompt(text)
        except ValueError as problem:
            self.print_line(f"hapi: {problem}.")
            if not self.interactive:  # it was all that there is to do
                self._leave(launch_failed(str(problem)))

    def typed_line(self, line: bytes) -> None:
        """A line from the person, without its end."""
        if self.interactive and len(line) >= MAX_TERMINAL_LINE_SIZE:
            self.print_line(
                f"The terminal passes on only the first {MAX_TERMINAL_LINE_SIZE} bytes of a line, "
                "so this prompt was not sent. Use the page for it, or several lines, or a pipe."
            )
            return
        self.typed(typed_text(line))

    def end_of_input(self) -> None:
        """End after the turns that were asked for."""
        self._ended_input = True
        if (
            self._session is not None
            and self._session.is_accepting_prompts
            and not self._session.turns.busy
        ):
            self._finish()
        elif self.interactive:
            self.print_line("The session ends after this turn. Press Ctrl+C to end it now.")

    def interrupt(self) -> None:
        """Ctrl+C: the first stops the turn, the next ends the session."""
        if self._session is not None and self._session.turns.is_working and not self._stopping:
            self._stopping = True
            self._session.turns.abort()
        elif self._session is not None:
            self.print_line("")
            self._leave(BY_INTERRUPT)

    def _answer(self, typed: str) -> None:
        assert self._session is not None
        pending = self._session.permissions.waiting[0]
        answer = typed_answer(typed, pending.request_id, pending.asked)
        if answer is None:
            self.print_line(f"Please answer {choices_of(pending.asked)}.")
            return
        self._decide(answer)

    def _decide(self, answer: PermissionAnswer) -> None:
        deciding = self._decided(answer)
        run_in_background(deciding, self.log, "A permission could not be answered")

    async def _decided(self, answer: PermissionAnswer) -> None:
        assert self._session is not None
        try:
            await self._session.permissions.decide(answer)
        except ValueError as problem:
            self.print_line(f"{problem}.")

    def _ended(self, ending: Ending) -> None:
        if self._session is not None and self.interactive:
            self._say_goodbye(goodbye(ending, self._session.hub.session_id))

    def _say_goodbye(self, words: str) -> None:
        self.print_line(words)

    def _finish(self) -> None:
        self._end_line()
        self._leave(COMPLETED)

    def _leave(self, ending: Any) -> None:
        assert self._session is not None
        self._session.begin_end(ending)

    # --- out
    def print_line(self, text: str) -> None:
        """Print a line that is not the agent's answer."""
        self._end_line()
        self._write(self._out if self.interactive else self._err, printable(text) + "\n")

    def _updated(self, update: Update) -> None:
        match update:
            case Text(text):
                self._stream("text", text)
            case Thought(text) if self.interactive:
                self._stream("thought", text)

    def _stream(self, kind: str, text: str) -> None:
        if not text:
            return
        if self._streaming != kind:
            self._end_line()
            if kind == "thought":
                self._write(self._out, "(thinking) ")
        self._streaming = kind
        self._write(self._out, printable(text))

    def _end_line(self) -> None:
        """End a line that output has begun."""
        if self._streaming:
            self._write(self._out, "\n")
        self._streaming = ""

    def _record_published(self, content: Mapping[str, Any]) -> None:
        inner = content.get("content")
        data = inner.get("data") if isinstance(inner, Mapping) else None
        if not isinstance(data, Mapping):
            return
        match data.get("type"):
            case "tool-call" if data.get("status") in ("pending", "in_progress"):
                self.print_line(f"[{data['status'].replace('_', ' ')}] {data['name']}")
            case "tool-call-result":
                self._print_result(data)
            case "plan":
                marks = {"completed": "x", "in_progress": "~"}
                for entry in data["entries"]:
                    self.print_line(f"  [{marks.get(entry['status'], ' ')}] {entry['content']}")
            case "message" if inner is not None and inner.get("type") == "event":
                self.print_line(f"* {event_text(str(data['message']))}")

    def _print_result(self, data: Mapping[str, Any]) -> None:
        output = data.get("output")
        lines = (output if isinstance(output, str) else str(output)).rstrip().splitlines()
        for line in lines[:MAX_OUTPUT_LINES]:
            self.print_line(f"  | {line}")
        if len(lines) > MAX_OUTPUT_LINES:
            self.print_line(f"  | … {len(lines) - MAX_OUTPUT_LINES} more lines")

    def _from_page(self, text: str) -> None:
        self._stopping = False
        self.print_line(f"[page] {text}")

    def _asked(self, pending: PendingPermission) -> None:
        self.print_line(f"? {self._label} asks for permission: {pending.tool}")
        for line in request_lines(pending.asked, pending.arguments):
            self.print_line(f"    {line}")
        if self.interactive:
            self._write(self._out, f"  {choices_of(pending.asked)}, or answer on the page: ")
        else:
            self.print_line("  (answer on the page)")

    def _settled(self, pending: PendingPermission, settled: PermissionOutcome) -> None:
        for line in settled_lines(pending.tool, settled):
            self.print_line(f"  {line}")

    # --- questions
    def _questions_asked(self, pending: PendingQuestion) -> None:
        assert self._session is not None
        if not self.interactive:
            if pending is self._session.login.waiting:
                self._leave(launch_failed(pending.questions[0].text))
                return
            for line in QuestionForm(pending.request_id, pending.questions).lines():
                self.print_line(f"? {line}")
            self.print_line("  (answer on the page)")
        elif self._form is None:
            self._form = QuestionForm(pending.request_id, pending.questions)
            self.print_line(f"? {self._label} asks:")
            self._show_question(self._form)

    def _show_question(self, form: QuestionForm) -> None:
        for line in form.lines():
            self.print_line(f"    {line}")
        self._write(self._out, f"  {form.hint()}, or answer on the page: ")

    def _answer_question(self, typed: str) -> None:
        assert self._session is not None
        assert self._form is not None
        self._take_answer(self._form, self._form.take(typed))

    def _take_answer(self, form: QuestionForm, answer: PermissionAnswer | str | None) -> None:
        """Answer with what the form gave: all answers, a sentence why not, or None: it goes on."""
        assert self._session is not None
        if isinstance(answer, PermissionAnswer):
            try:
                self._session.questions.decide(answer)
            except ValueError as problem:
                self.print_line(f"{problem}.")
                self._show_question(form)
        elif answer is None:
            self._show_question(form)
        else:
            self.print_line(answer)

    def _questions_settled(self, pending: PendingQuestion, settled: PermissionOutcome) -> None:
        assert self._session is not None
        if self._form is None or self._form.request_id != pending.request_id:
            return
        self._form = None
        for line in answered_lines(pending.questions, settled):
            self.print_line(f"  {line}")
        if self._session.questions.waiting:
            self._questions_asked(self._session.questions.waiting[0])

    @property
    def _label(self) -> str:
        return self._session.start.agent.label if self._session is not None else "the agent"

    def _idle(self) -> None:
        self._end_line()
        self._stopping = False
        if self._ended_input:
            self._finish()
        else:
            self._prompt()

    def _prompt(self) -> None:
        if self.interactive:
            self._write(self._out, "> ")

    def _write(self, stream: TextIO, text: str) -> None:
        try:
            stream.write(representable(text, stream.encoding))
            stream.flush()
        except (OSError, ValueError):  # the terminal is gone; the session goes on
            self.log.debug("The terminal accepts no output")
