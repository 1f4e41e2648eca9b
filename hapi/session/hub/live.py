"""Sends the hub what the agent is saying while it says it: see `hapi.protocol.live`.

Updates are collected and sent ten times a second at most. They are volatile: what cannot be sent
now is part of the next update, and a hub that comes back asks for the whole state. An update never
overtakes a record, so that a page shows both in the order in which they were said.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from attrs import define, field
from twisted.internet.interfaces import IDelayedCall, IReactorTime

from hapi.protocol.live import SESSION_LIVE, LiveBlock, LiveSender

INTERVAL = 0.1  # seconds between two updates
# Seconds from the first piece of a quiet session to its update: an answer that comes at once as a
# whole is a record by then, and nothing of it is sent twice.
FIRST_DELAY = 0.02


class Link(Protocol):
    """The part of `hapi.net.client.link.HubLink` that live text uses."""

    def on_connect(self, call: Callable[[], object]) -> None: ...
    def on_event(self, name: str, handle: Callable[..., object]) -> None: ...
    @property
    def has_backlog(self) -> bool: ...
    def emit(self, event: str, *args: Any, keep: bool = True) -> None: ...


@define(eq=False, repr=False)
class LiveText:
    """`blocks` returns what has begun and is no record yet; `changed` is to be called after
    each piece."""

    _clock: IReactorTime
    _link: Link
    _session_id: str
    blocks: Callable[[], Sequence[LiveBlock]] = tuple
    _sender: LiveSender = field(factory=lambda: LiveSender(uuid.uuid4().hex))
    is_wanted: bool = False  # the hub of the present connection has asked for it
    is_watched: bool = False  # a page shows this session now, as far as the hub tells
    on_watched: Callable[[], object] = field(default=lambda: None)  # that has changed
    _needs_whole: bool = False
    _sent_at: float = float("-inf")  # clock seconds
    _call: IDelayedCall | None = None

    def __attrs_post_init__(self) -> None:
        self._link.on_connect(self._connected)
        self._link.on_event(SESSION_LIVE, self._asked)

    def changed(self) -> None:
        """The agent said something, or a block has become a record."""
        if self.is_wanted and self._call is None:
            due = self._sent_at + INTERVAL - self._clock.seconds()
            self._call = self._clock.callLater(max(FIRST_DELAY, due), self._send)

    def stop(self) -> None:
        """The session ends."""
        self.is_wanted = False
        if self._call is not None:
            self._call.cancel()
            self._call = None

    def _connected(self) -> None:
        """Another connection: its hub asks if it understands live text."""
        self.stop()
        self._sender.forget()
        self._set_watched(False)

    def _asked(self, request: Any = None, *_: Any) -> None:
        if not isinstance(request, Mapping) or request.get("sid") != self._session_id:
            return
        if "watched" in request:
            self._set_watched(request["watched"] is True)
        else:
            self.is_wanted = self._needs_whole = True
            self.changed()

    def _set_watched(self, is_watched: bool) -> None:
        if is_watched != self.is_watched:
            self.is_watched = is_watched
            self.on_watched()

    def _send(self) -> None:
        self._call = None
        if self._link.has_backlog:
            self._call = self._clock.callLater(INTERVAL, self._send)
            return
        blocks = self.blocks()
        update = self._sender.whole(blocks) if self._needs_whole else self._sender.update(blocks)
        if update is not None:
            self._needs_whole, self._sent_at = False, self._clock.seconds()
            self._link.emit(SESSION_LIVE, update.wire(sid=self._session_id), keep=False)
