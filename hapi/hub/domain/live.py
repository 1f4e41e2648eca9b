"""The live text of all sessions, in memory only: see `hapi.protocol.live`.

It is here for readers who come in the middle. A block leaves when its record is stored, all of a
session's blocks when the session ends or is silent for too long. What a session may have here is
bounded, and so is all together: then the session with the most text loses it, until it begins
anew.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
from attrs import define, field
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from hapi.hub.domain.entities import HubSession
from hapi.hub.domain.event_queue import Sender
from hapi.hub.domain.events import EventBus, unnumbered
from hapi.protocol.live import (
    SESSION_LIVE,
    LiveState,
    LiveUpdate,
    Missed,
    TooLarge,
    block_of_record,
    read_live_update,
)

MAX_TEXT = 16 << 20  # characters of all sessions
MAX_UPDATES = 20  # of one session in a second; ours send ten
ASK_INTERVAL = 1.0  # seconds between two questions for the whole state of one session


@define(eq=False, repr=False)
class _Live:
    """`state` as the session has sent it, and how fast it sends."""

    state: LiveState = field(factory=LiveState)
    second: int = 0
    updates: int = 0  # in this second
    asked_at: float = float("-inf")  # clock seconds


@define(eq=False, repr=False)
class LiveTexts:
    """Receives live text from sessions, and publishes it to the pages that show the session."""

    _clock: IReactorTime
    _events: EventBus
    _sessions: dict[str, _Live] = field(factory=dict)
    _size: int = 0  # characters
    _senders: dict[str, Sender] = field(factory=dict)  # session id -> the session's process
    # Called with a session that has its first reader, or none any more.
    on_readers: Callable[[str], object] = field(default=lambda session_id: None)
    log = Logger()

    def __attrs_post_init__(self) -> None:
        self._events.on_live_readers = self._readers_changed

    def connected(self, session_id: str, sender: Sender) -> None:
        """The session's process is there: ask it, and tell it whether a page shows it."""
        self._senders[session_id] = sender
        self.ask(session_id, sender)
        if self._events.has_live_readers(session_id):
            self._readers_changed(session_id)

    def disconnected(self, session_id: str, sender: Sender) -> None:
        """The process has gone; another one may have come before."""
        if self._senders.get(session_id) is sender:
            del self._senders[session_id]

    def _readers_changed(self, session_id: str) -> None:
        if (sender := self._senders.get(session_id)) is not None:
            is_watched = self._events.has_live_readers(session_id)
            sender.emit(SESSION_LIVE, {"sid": session_id, "watched": is_watched})
        self.on_readers(session_id)

    def ask(self, session_id: str, sender: Sender) -> None:
        """Ask a session for its whole state; it sends what changes from then on."""
        sender.emit(SESSION_LIVE, {"sid": session_id, "whole": True})

    def receive(
        self, session_id: str, given: dict[str, Any], sender: Sender, keeps_ended: bool = False
    ) -> None:
        """An update from the session's process. `keeps_ended`: its records cannot be stored at the
        moment. Raises Malformed.
        """
        live = self._sessions.setdefault(session_id, _Live())
        now = self._clock.seconds()
        if int(now) != live.second:
            live.second, live.updates = int(now), 0
        live.updates += 1
        if live.updates > MAX_UPDATES:  # the next one is missed then, and asked for
            return
        update = read_live_update(given)
        size = live.state.size
        try:
            live.state.apply(update, keeps_ended)
        except Missed:
            if now - live.asked_at >= ASK_INTERVAL:
                live.asked_at = now
                self.ask(session_id, sender)
        except TooLarge:
            self.log.info(
                "Live text of session {session_id} is too long to be shown", session_id=session_id
            )
            self._publish(session_id, LiveState().whole())
        else:
            self._publish(session_id, update)
        self._size += live.state.size - size
        while self._size > MAX_TEXT:
            self.forget(max(self._sessions, key=lambda name: self._sessions[name].state.size))

    def has(self, session_id: str) -> bool:
        """Whether there is live text of the session."""
        return session_id in self._sessions

    def stored(self, session_id: str, content: Any) -> None:
        """A record was stored, and published to the same readers."""
        live = self._sessions.get(session_id)
        if live is None:
            return
        if isinstance(content, msgspec.Raw):
            content = msgspec.json.decode(content)
        if (name := block_of_record(content)) is not None:
            size = live.state.size
            live.state.drop(name)
            self._size += live.state.size - size

    def forget(self, session_id: str) -> None:
        """Forget what the session has said; it is over, or was too much."""
        live = self._sessions.pop(session_id, None)
        if live is not None:
            self._size -= live.state.size
            if not live.state.is_empty:
                self._publish(session_id, LiveState().whole())

    def read(self, name: str, session: HubSession | None) -> None:
        """Send the live text of this session to an event stream: all there is, then what changes.
        None: of no session any more.
        """
        self._events.read_live(name, None if session is None else session.id)
        listener = self._events.listener(name)
        if session is not None and listener is not None:
            listener.send_live(self.whole_frame(session.id))

    def whole_frame(self, session_id: str) -> bytes:
        """All that a session is saying at the moment, as a frame of an event stream."""
        live = self._sessions.get(session_id)
        state = LiveState() if live is None else live.state
        return unnumbered(_event(session_id, state.whole()))

    def _publish(self, session_id: str, update: LiveUpdate) -> None:
        if self._events.has_live_readers(session_id):
            self._events.publish_live(session_id, _event(session_id, update))


def _event(session_id: str, update: LiveUpdate) -> dict[str, Any]:
    return {"type": SESSION_LIVE, **update.wire(sessionId=session_id)}
