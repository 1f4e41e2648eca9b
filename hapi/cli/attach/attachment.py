"""One shell of a session in the terminal of a person."""

from __future__ import annotations

import signal
import uuid
from codecs import getincrementaldecoder
from collections.abc import Awaitable, Callable
from typing import Any

from attrs import define, field, frozen
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall

from hapi.cli.attach.choice import Listed
from hapi.cli.attach.detach_key import DetachKey
from hapi.cli.attach.person_terminal import PersonTerminal
from hapi.cli.attach.replay import CLEAR, without_questions
from hapi.cli.base.errors import DONE, ERROR, REFUSED, UNREACHABLE, CommandError
from hapi.net.client.terminal_link import TerminalLink
from hapi.net.common.errors import AckTimeout, LinkLost
from hapi.protocol.work import terminals as wire
from hapi.redaction import escape_control
from hapi.session.local.screen_modes import ScreenModes

LIST_TIMEOUT = 3.0  # seconds; npm's hub does not answer
RETRY_INTERVAL = 1.0  # seconds until a session that is not back yet is asked again
RETURN_TIMEOUT = 60.0  # seconds that a session may take to be back at a hub that was away
MAX_CODE = 255  # of a program that has ended
MAX_EARLY = 4096  # characters that wait for the shell to open
UNAVAILABLE = "Session is inactive or unavailable."


@frozen
class Ended:
    """How it ended: the exit code of the command, and a sentence for the person."""

    exit_code: int
    sentence: str


Choose = Callable[[list[Listed]], Awaitable[str | None]]


def new_id(session_id: str) -> str:
    return f"term-{session_id}-{uuid.uuid4()}"


@define(eq=False, repr=False)
class Attachment:
    """The listener of a TerminalLink, from the first connection to the end of the shell, or until
    the person leaves it.

    `choose` gets the shells that there are and returns the id of one, or None for a new one.
    """

    _reactor: Any
    _session_id: str
    _terminal: PersonTerminal
    _detach_key: DetachKey
    _choose: Choose
    link: TerminalLink = field(init=False)
    _id: str | None = None  # of the shell, once it is chosen
    _is_open: bool = False
    _was_open: bool = False
    _is_replayed: bool = False  # since the link was made
    _early: str = ""  # what was typed before the shell was open
    _away_since: float | None = None  # seconds of the clock
    _retry: IDelayedCall | None = None
    _modes: ScreenModes = field(factory=ScreenModes)
    _decoder: Any = field(factory=lambda: getincrementaldecoder("utf-8")("replace"))
    _outcome: Deferred[Ended] = field(factory=Deferred)

    async def run(self) -> Ended:
        """Raises CommandError."""
        self.link.start()
        try:
            return await self._outcome
        finally:
            if self._retry is not None and self._retry.active():
                self._retry.cancel()
            self.link.stop()
            await self._terminal.close(self._undo() if self._was_open else "")

    def finish(self) -> None:
        """End without a shell."""
        self._end(DONE, "")

    # --- TerminalLinkListener
    def link_joined(self) -> None:
        self._is_replayed = False
        if self._id is None:
            Deferred.fromCoroutine(self._begin()).addErrback(self._failed)
        else:
            self._create()

    def link_event(self, name: str, payload: Any) -> None:
        given = payload if isinstance(payload, dict) else {}
        if self._id is None or given.get("terminalId") != self._id:
            return
        match name:
            case wire.READY:
                self._opened()
            case wire.OUTPUT:
                self._show(given)
            case wire.EXIT:
                self._shell_ended(given)
            case wire.ERROR:
                self._problem(str(given.get("message") or "The hub does not say why."))
            case wire.DETACHED:
                self._end(DONE, "Another page or terminal shows the shell now.")

    def link_lost(self, problem: Exception | str) -> None:
        self._is_open = False
        if not self._was_open:
            self._fail(self._unreachable(problem))
        elif self._away_since is None:
            self._away_since = self._reactor.seconds()
            self._say(
                f"The connection to the hub is lost; trying again. {self._detach_key.name} leaves."
            )

    def link_refused(self, message: str) -> None:
        self._fail(CommandError(f"the hub refused the terminal: {message}", REFUSED))

    # --- from the person
    def typed(self, data: bytes) -> None:
        before, leaves = self._detach_key.split(data)
        text = self._decoder.decode(before, final=not data)
        if text and self._is_open:
            self.link.emit(wire.WRITE, {"terminalId": self._id, "data": text})
        elif not self._was_open:
            self._early = (self._early + text)[:MAX_EARLY]
        elif text and not leaves:
            self._terminal.write("\a")  # nobody gets it
        if leaves or not data:
            self._terminal.write("\r\n")
            again = f"`hapi attach {self._session_id[:8]}` shows it again"
            self._end(DONE, f"Left the shell, which goes on; {again}.")

    def resized(self) -> None:
        if self._is_open:
            self.link.emit(wire.RESIZE, {"terminalId": self._id, **self._size()})

    # --- inside
    async def _begin(self) -> None:
        """Choose the shell, and open it."""
        chosen = await self._choose(await self._listed())
        if self._outcome.called:
            return
        self._id = chosen or new_id(self._session_id)
        self._terminal.on_data, self._terminal.on_resize = self.typed, self.resized
        self._terminal.make_raw()
        self._terminal.pace(self.link)
        if self.link.is_joined:
            self._create()

    async def _listed(self) -> list[Listed]:
        try:
            answer = await self.link.ask(wire.LIST, {"sessionId": self._session_id}, LIST_TIMEOUT)
        except (AckTimeout, LinkLost):
            return []
        given = answer[0].get("terminals") if answer and isinstance(answer[0], dict) else None
        return [
            Listed(each["terminalId"], each.get("attached") is True)
            for each in (given if isinstance(given, list) else [])
            if isinstance(each, dict) and isinstance(each.get("terminalId"), str)
        ]

    def _create(self) -> None:
        if self._outcome.called:
            return
        asked = {"sessionId": self._session_id, "terminalId": self._id, **self._size()}
        self.link.emit(wire.CREATE, asked)

    def _size(self) -> dict[str, int]:
        cols, rows = self._terminal.size()
        return {"cols": cols, "rows": rows}

    def _opened(self) -> None:
        if self._away_since is not None and not self._is_replayed:
            self._say("The shell has ended meanwhile; this is a new one.")
        self._away_since = None
        self._is_open = True
        self._was_open = True
        early, self._early = self._early, ""
        if early:
            self.link.emit(wire.WRITE, {"terminalId": self._id, "data": early})

    def _show(self, given: dict[str, Any]) -> None:
        text = given.get("data")
        if not isinstance(text, str):
            return
        # npm's hub marks a replay by leaving out the session.
        if given.get("replay") is True or "sessionId" not in given:
            self._is_replayed = True
            text = self._undo() + CLEAR + without_questions(text)
        self._modes.feed(text.encode(errors="replace"))
        self._terminal.write(text)

    def _undo(self) -> str:
        return self._modes.undo().decode()

    def _shell_ended(self, given: dict[str, Any]) -> None:
        code, name = given.get("code"), given.get("signal")
        if isinstance(name, str) and name in signal.Signals.__members__:
            self._end(128 + signal.Signals[name].value, f"The shell was ended by {name}.")
        elif isinstance(code, int) and not isinstance(code, bool) and 0 <= code <= MAX_CODE:
            self._end(code, f"The shell has ended with code {code}.")
        else:
            self._end(ERROR, "The shell has ended; it is not known with which code.")

    def _problem(self, message: str) -> None:
        if message == UNAVAILABLE and self._was_open:
            if self._away_since is None:
                self._away_since = self._reactor.seconds()
            if self._reactor.seconds() - self._away_since < RETURN_TIMEOUT:
                self._retry = self._reactor.callLater(RETRY_INTERVAL, self._create)
                return
        if message == wire.CLOSED_UNEXPECTEDLY:
            self._end(ERROR, "The shell has ended; the hub does not tell with which code.")
        elif self._was_open:
            self._end(ERROR, message)
        else:
            self._fail(CommandError(message.rstrip(".")))

    def _say(self, text: str) -> None:
        self._terminal.write(f"\r\n[hapi] {escape_control(text)}\r\n")

    def _unreachable(self, problem: Exception | str) -> Exception:
        return problem if isinstance(problem, Exception) else CommandError(problem, UNREACHABLE)

    def _failed(self, failure: Any) -> None:
        self._fail(failure.value)

    def _fail(self, error: BaseException) -> None:
        if not self._outcome.called:
            self._outcome.errback(error)

    def _end(self, exit_code: int, sentence: str) -> None:
        if not self._outcome.called:
            self._outcome.callback(Ended(exit_code, sentence))
