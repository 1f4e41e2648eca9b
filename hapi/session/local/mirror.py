"""Brings to the hub what the agent's own program does in the terminal."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from attrs import define, field, frozen

from hapi.protocol.acp.prompts import Usage
from hapi.protocol.acp.updates import Context
from hapi.protocol.json import cut
from hapi.protocol.permissions import (
    ABORTED,
    PermissionAnswer,
    PermissionOutcome,
    request_entry,
    with_completed_request,
    with_request,
)
from hapi.protocol.records import agent_record, event_record, message_event, user_record
from hapi.session.local.checkpoints import Checkpoints
from hapi.session.local.interface import LocalRequest
from hapi.session.session import Session

IN_TERMINAL = PermissionOutcome("approved")
REFUSED_IN_TERMINAL = PermissionOutcome("denied", reason="Answered in the terminal")
# What a program's reader says of a turn that was stopped, and what it is if the page did it.
STOPPED_IN_TERMINAL, STOPPED_ON_PAGE = "Stopped in the terminal", "Stopped on the page"
QUESTION_TOOL = "AskUserQuestion"
KEY = "key"  # of a record, in its `meta`


@frozen
class _Asked:
    request: LocalRequest
    answer: Callable[[PermissionAnswer], None] | None


@define(eq=False, repr=False)
class HubMirror:
    """The `Mirror` of one start of a program.

    `known`: keys of records that the hub has. `session_id`: the agent's session; None until it has
    one that could be resumed.
    """

    _session: Session
    _checkpoints: Checkpoints
    known: frozenset[str] = frozenset()
    session_id: str | None = None
    is_thinking: bool = False
    is_stopped_by_page: bool = False  # the turn that runs
    on_thinking: Callable[[], object] = field(default=lambda: None)
    on_up: Callable[[], object] = field(default=lambda: None)  # the program tells its session
    on_asking: Callable[[], object] = field(default=lambda: None)  # another request, or one less
    _named: str | None = None  # the agent's session that was reported last
    _asked: dict[str, _Asked] = field(factory=dict)
    _last_time: int = 0  # of a record, by the hub's clock
    _tells_usage: bool = False  # records of the program tell what they used
    _turn_began: float = 0.0  # seconds of the monotonic clock

    # --- Mirror
    def agent_session(self, session_id: str) -> None:
        if session_id != self._named:
            is_another = self._named is not None
            self._named = session_id
            if self.session_id is not None or is_another:
                self.session_id = None  # until it has had a prompt
        self.on_up()
        name, metadata = self._session.agent.session_id_field, self._session.hub.metadata
        if (metadata.value or {}).get(name) != session_id:
            self._session.hub.change_metadata(lambda stored: {**(stored or {}), name: session_id})

    def resumes(self, session_id: str) -> None:
        """The program goes on with a session that can be resumed."""
        self._named = self.session_id = session_id

    def thinking(self, is_thinking: bool) -> None:
        if is_thinking == self.is_thinking:
            return
        self.is_thinking = is_thinking
        if is_thinking:
            self._turn_began = time.monotonic()
            self.is_stopped_by_page = False
        self._session.hub.set_thinking(is_thinking)
        self.on_thinking()

    def prompt(self, text: str, at: int, key: str) -> None:
        self.session_id = self._named or self.session_id
        if self._publish(user_record(text), at, key):
            self._session.titles.prompted(text)

    def record(self, data: Mapping[str, Any], at: int, key: str) -> None:
        self._publish(agent_record(cut(data)), at, key)

    def output(self, line: Mapping[str, Any], at: int, key: str) -> None:
        self._tells_usage = True
        content = {"type": "output", "data": cut(line)}
        self._publish({"role": "agent", "content": content, "meta": {"sentFrom": "cli"}}, at, key)

    def permission_mode(self, mode: str) -> None:
        settings = self._session.settings
        before = settings.mode
        settings.follow(mode)
        if settings.mode != before:
            self._session.hub.send_keepalive()

    def model_chosen(self) -> None:
        self._session.keep_agents_model()

    def status(self, text: str, at: int | None = None) -> None:
        if text == STOPPED_IN_TERMINAL and self.is_stopped_by_page:
            self.is_stopped_by_page = False
            text = STOPPED_ON_PAGE
        content = event_record(message_event(text))
        self._session.hub.publish(content, None if at is None else self._hub_time(at))

    def title(self, title: str) -> None:
        self._session.titles.titled(title)

    def usage(self, used: Usage | None, model: str | None, context: tuple[int, int] | None) -> None:
        meter = self._session.turns.usage
        if context is not None:
            meter.observe(Context(*context))
        records = meter.turn_ended(used, model, time.monotonic() - self._turn_began)
        for record in records if not self._tells_usage else ():
            self._session.hub.publish_agent_record(record)

    def request(
        self, request: LocalRequest, answer: Callable[[PermissionAnswer], None] | None
    ) -> None:
        self._asked[request.id] = _Asked(request, answer)
        hub = self._session.hub
        entry = request_entry(request.tool, request.arguments, hub.now_ms())
        if request.call_id is not None:
            entry["toolCallId"] = request.call_id
        if answer is None:
            entry["terminalOnly"] = True
        hub.change_state(lambda state: with_request(state, request.id, entry))
        self.on_asking()

    @property
    def asked(self) -> LocalRequest | None:
        """The oldest request that waits."""
        return next((each.request for each in self._asked.values()), None)

    def settled(self, request_id: str, approved: bool | None) -> None:
        if self._asked.pop(request_id, None) is not None:
            outcome = IN_TERMINAL if approved else REFUSED_IN_TERMINAL
            self._complete(request_id, ABORTED if approved is None else outcome)

    def checkpoint(self, place: Any) -> None:
        self._checkpoints.reached(place)

    # --- from the page
    def answer(self, answer: PermissionAnswer) -> bool:
        """Pass the page's answer on; False if no request of the program has that id. Raises
        ValueError if it has to be answered in the terminal."""
        asked = self._asked.get(answer.request_id)
        if asked is None:
            return False
        if asked.answer is None:
            raise ValueError("this request has to be answered in the terminal")
        del self._asked[answer.request_id]
        self._complete(answer.request_id, answer.outcome)
        asked.answer(answer)
        return True

    def end(self) -> None:
        """The program has ended: nothing waits any more."""
        for request_id in tuple(self._asked):
            self.settled(request_id, None)
        self.thinking(False)

    # --- inside
    def _complete(self, request_id: str, outcome: PermissionOutcome) -> None:
        self.on_asking()
        hub = self._session.hub
        at = hub.now_ms()
        hub.change_state(lambda state: with_completed_request(state, request_id, outcome, at))

    def _publish(self, content: dict[str, Any], at: int, key: str) -> bool:
        """Publish a record, unless the hub has it. Times never run backwards: a page sorts by
        them."""
        if key in self.known:
            return False
        meta = {**content.get("meta", {}), KEY: key}
        self._session.hub.publish({**content, "meta": meta}, self._hub_time(at))
        return True

    def _hub_time(self, at: int) -> int:
        ahead = self._session.hub.now_ms() - int(time.time() * 1000)  # of the hub's clock
        self._last_time = max(self._last_time, at + ahead)
        return self._last_time
