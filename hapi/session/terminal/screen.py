"""The session on a screen: a line editor, output above it, menus, and a status below."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TextIO

from attrs import define, field
from prompt_toolkit.formatted_text import StyleAndTextTuples
from twisted.internet.defer import Deferred
from twisted.internet.task import LoopingCall

from hapi.protocol.acp.updates import Context, Text, Thought, ToolCall, Update
from hapi.protocol.permissions import PermissionAnswer, PermissionOutcome
from hapi.session.agent.permissions import PendingPermission
from hapi.session.agent.questions import PendingQuestion
from hapi.session.hub.message_text import Speaker
from hapi.session.session import Session
from hapi.session.terminal.console import Terminal
from hapi.session.terminal.dialogs import Dialogs
from hapi.session.terminal.editor import Editor
from hapi.session.terminal.keys import HELP, HELP_LOCAL
from hapi.session.terminal.output import Output
from hapi.session.terminal.painter import Painter
from hapi.session.terminal.permission_prompt import request_lines
from hapi.session.terminal.question_prompt import QuestionForm, answered_lines, asked_lines
from hapi.session.terminal.request_menus import permission_menu, question_menu
from hapi.session.terminal.settings_menus import SettingsKeys
from hapi.session.terminal.status_line import SessionStatus, fitting, status_texts

LEAVE_WITHIN = 2.0  # seconds between two Ctrl+C that leave a session that does nothing
PROMPT = "> "


@define(eq=False, repr=False)
class Screen(Terminal):
    """A terminal with a line editor. `make_editor` makes it with what belongs to this screen."""

    painter: Painter = field(kw_only=True)
    _make_editor: Callable[[Screen], Editor] = field(kw_only=True)
    dialogs: Dialogs = field(init=False)
    editor: Editor = field(init=False)
    output: Output = field(init=False)
    _settings_keys: SettingsKeys | None = None
    _context: tuple[int, int] | None = None
    _working_since: float | None = None
    _leaving_until: float = float("-inf")
    _ticker: LoopingCall = field(init=False)
    _drawn_status: str = ""
    _request_above: str | None = None  # the request that stands right above its menu
    keys_hint = "Type a prompt. ? shows the keys."

    def __attrs_post_init__(self) -> None:
        self.dialogs = Dialogs(self._reactor)
        self.editor = self.dialogs.editor = self._make_editor(self)
        self.editor.buffer.on_text_changed += self.dialogs.changed
        self.dialogs.on_closed = self._ask_next
        self.output = Output(
            self.painter, self.editor.above, self.editor.refresh, self._reactor.seconds
        )
        self._ticker = LoopingCall(self._tick)
        self._ticker.clock = self._reactor

    @property
    def session(self) -> Session | None:
        return self._session

    def attach(self, session: Session) -> None:
        super().attach(session)
        session.hub.live.on_watched = self._tick
        self._settings_keys = SettingsKeys(session, self.dialogs, self.print_line, self._tick)

    def show_earlier(self, said: Sequence[tuple[Speaker, str]]) -> None:
        for speaker, text in said:
            if speaker == "user":
                self.output.prompt(text)
            else:
                self.output.say("text", text)
            self.output.end_block()

    def ready(self, page: str) -> None:
        super().ready(page)
        self._tick()

    # --- the terminal
    def read(self) -> None:
        self._begin("")

    def release(self) -> Deferred[None]:
        if self._ticker.running:
            self._ticker.stop()
        return self.editor.stop()

    def resume(self, typed: str = "") -> None:
        self._begin(typed)

    def _begin(self, typed: str) -> None:
        self.editor.start(typed)
        if not self._ticker.running:
            self._ticker.start(1.0, now=False)

    def suspend(self) -> None:
        """Ctrl+Z: give the terminal to the shell until `fg`."""

        def stop(_: object) -> None:
            os.kill(os.getpid(), signal.SIGTSTP)
            self.resume()

        self.release().addCallback(stop)

    def _say_goodbye(self, words: str) -> None:
        if self.editor.is_running:
            self.output.line(words)
        else:  # the agent's own program had the terminal
            self.editor.write_past(f"{self.painter.plain(words)}\n")

    # --- keys
    def submitted(self, text: str) -> None:
        """The person has pressed Enter."""
        if self.dialogs.submitted(text):
            return
        if text.strip():
            self.editor.remember(text)
            self.output.prompt(text)
        self.typed(text)

    def typed(self, text: str) -> None:
        """A prompt. Those from before the agent was ready wait."""
        if self._session is None or not self._session.is_accepting_prompts:
            self._typed.append(text)
        elif text.strip():
            self._stopping = False
            self._submit(text)

    def pasted(self, text: str) -> None:
        self.editor.paste(text)

    def control_c(self) -> None:
        """Clear the line, or else stop the turn; twice: leave."""
        if self.dialogs.escaped():
            return
        if self.editor.buffer.text and not self.dialogs.is_focused:
            self.editor.remember(self.editor.buffer.text)
            self.editor.buffer.reset()
            return
        is_working = self._session is not None and self._session.turns.is_working
        now = self._reactor.seconds()
        if is_working or now < self._leaving_until:
            self.interrupt()
        elif self._session is None:
            os.kill(os.getpid(), signal.SIGINT)
        else:
            self._leaving_until = now + LEAVE_WITHIN
            self._tick()

    def control_d(self) -> None:
        if self.editor.buffer.text:
            self.editor.buffer.delete()
        else:
            self.end_of_input()

    def control_o(self) -> None:
        if self.on_local_wanted is not None:
            self.on_local_wanted()

    def escaped(self) -> None:
        """Esc: leave a field or a list of completions, else stop the turn."""
        if self.dialogs.escaped():
            return
        if self.editor.buffer.complete_state is not None:
            self.editor.buffer.cancel_completion()
        elif self._session is not None and self._session.turns.is_working and not self._stopping:
            self.interrupt()

    def next_mode(self) -> None:
        if self._settings_keys is not None:
            self._settings_keys.next_mode()

    def choose_mode(self) -> None:
        if self._settings_keys is not None:
            self._settings_keys.choose_mode()

    def choose_model(self) -> None:
        if self._settings_keys is not None:
            self._settings_keys.choose_model()

    def help(self) -> None:
        self.print_line(HELP if self.on_local_wanted is None else f"{HELP}\n{HELP_LOCAL}")

    # --- out
    def print_line(self, text: str) -> None:
        self.output.line(text)

    def _end_line(self) -> None:
        self.output.end_block()

    def _write(self, stream: TextIO, text: str) -> None:
        """What the plain terminal writes without the end of a line."""
        if text.strip():
            self.output.line(text.strip("\n"))

    def _from_page(self, text: str) -> None:
        self._stopping = False
        self.output.prompt(text, "[page] ")

    def _updated(self, update: Update) -> None:
        match update:
            case Text(text):
                self.output.say("text", text)
            case Thought(text):
                self.output.say("thought", text)
            case Context(used, size):
                self._context = used, size
                self._tick()
            case ToolCall(call_id, locations=places) if places:
                self.output.locations(call_id, places)

    def _record_published(self, content: Mapping[str, Any]) -> None:
        inner = content.get("content")
        data = inner.get("data") if isinstance(inner, Mapping) else None
        if not isinstance(data, Mapping):
            return
        match data.get("type"):
            case "tool-call":
                self.output.tool_call(data)
            case "tool-call-result":
                self.output.tool_result(data)
            case "plan":
                self.output.plan(data["entries"])
            case _:
                super()._record_published(content)

    def _idle(self) -> None:
        super()._idle()
        self._tick()

    def _prompt(self) -> None:
        self.editor.refresh()

    # --- requests and questions
    def _asked(self, pending: PendingPermission) -> None:
        has_diff = bool(pending.asked.call.changes)
        self.output.tool_asked(pending.asked.call.call_id, has_diff)
        self.output.line(f"? {self._label} asks for permission: {pending.tool}", "ask")
        lines = request_lines(pending.asked, pending.arguments, options=False)
        self.output.details(lines, has_diff)
        if self.dialogs.menu is None:
            self._request_above = pending.request_id
        self._ask_next()

    def _settled(self, pending: PendingPermission, settled: PermissionOutcome) -> None:
        super()._settled(pending, settled)
        self.dialogs.close(pending.request_id)
        self._ask_next()

    def _questions_asked(self, pending: PendingQuestion) -> None:
        self.output.line(f"? {self._label} asks:", "ask")
        self.output.details(asked_lines(pending.questions), has_diff=False)
        self._ask_next()

    def _questions_settled(self, pending: PendingQuestion, settled: PermissionOutcome) -> None:
        if self._form is not None and self._form.request_id == pending.request_id:
            self._form = None
        for line in answered_lines(pending.questions, settled):
            self.output.line(f"  {line}")
        self.dialogs.close(pending.request_id)
        self._ask_next()

    def _ask_next(self) -> None:
        """Show the menu of the first request that waits, if none is shown."""
        if self._session is None or self.dialogs.menu is not None:
            return
        if self._session.permissions.waiting:
            pending = self._session.permissions.waiting[0]
            is_above = pending.request_id == self._request_above
            what = "Your answer:" if is_above else f"{self._label} asks: {pending.tool}"[:200]
            title = self.painter.plain(what)
            self.dialogs.show(permission_menu(pending, title, self._decide))
        elif self._session.questions.waiting:
            question = self._session.questions.waiting[0]
            self._form = QuestionForm(question.request_id, question.questions)
            self._show_question(self._form)

    async def _decided(self, answer: PermissionAnswer) -> None:
        await super()._decided(answer)
        self._ask_next()  # again, if the answer could not be used

    def _show_question(self, form: QuestionForm) -> None:
        question = form.current
        header = f"[{question.header}] " if question.header else ""
        title = "\n".join(
            self.painter.plain(line) for line in f"{header}{question.text}".splitlines() if line
        )
        self.dialogs.show(question_menu(form, title, self._given, self._declined))

    def _given(self, answers: Sequence[str]) -> None:
        form = self._form
        if form is None:
            return
        self._take_answer(form, form.give(answers))
        if self._form is not None and self.dialogs.menu is None:
            self._show_question(self._form)

    def _declined(self) -> None:
        if self._form is not None:
            denied = PermissionAnswer(self._form.request_id, False, "denied", "denied")
            self._take_answer(self._form, denied)

    # --- what is drawn
    def label(self) -> str:
        """What stands before the line."""
        label = self.dialogs.label
        return PROMPT if label is None else self.painter.plain(label)

    def live(self) -> StyleAndTextTuples:
        """What the agent is saying now: its end, if it is long."""
        text = self.output.live_end(max(1, self.editor.rows // 3))
        return [("class:thought" if self.output.is_thought else "", text)] if text else []

    def status(self) -> StyleAndTextTuples:
        texts = [self.painter.plain(each) for each in status_texts(self._status())]
        return [("class:status", fitting(texts, self.editor.columns - 1, keeps_last=True))]

    def _status(self) -> SessionStatus:
        session, now = self._session, self._reactor.seconds()
        if session is None or not session.is_accepting_prompts:
            return SessionStatus(is_ready=False, is_connected=True)
        notice = "Ctrl+C again ends the session" if now < self._leaving_until else ""
        return SessionStatus(
            mode=session.settings.mode,
            model=session.settings.current_model,
            context=self._context,
            is_connected=bool(session.link.connected),
            is_watched=session.hub.live.is_watched,
            working=now - self._working_since if self._working_since is not None else None,
            notice="stopping" if self._stopping else notice,
            queued=len(session.hub.inbox),
        )

    def _tick(self) -> None:
        """Draw the status again if it tells something else."""
        is_working = self._session is not None and self._session.turns.is_working
        if not is_working:
            self._working_since = None
        elif self._working_since is None:
            self._working_since = self._reactor.seconds()
        text = self.status()[0][1]
        if text != self._drawn_status:
            self._drawn_status = text
            self.editor.refresh()
