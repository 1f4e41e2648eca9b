"""Events for web pages: numbered, filtered by namespace, and kept for a while for pages that
reconnect.
"""

from __future__ import annotations

import hashlib
import secrets
from collections import deque
from collections.abc import Callable
from typing import Any, Protocol

from attrs import define, field, frozen
from twisted.logger import Logger

from hapi.protocol import events as protocol_events
from hapi.protocol.json import to_json

MAX_KEPT_EVENTS, MAX_KEPT_BYTES = 256, 2 << 20
# With other hubs, whose pages come here when a hub ends: a few seconds of a busy database.
MAX_KEPT_OF_JOURNAL = 4096
# What a page may miss and still resume.
MAX_RESUMED_EVENTS, MAX_RESUMED_BYTES = 10_000, 1 << 20


@frozen
class HubEvent:
    """One published event, with what decides who receives it."""

    number: int
    namespace: str
    session_id: str | None
    machine_id: str | None
    text: str  # JSON


@frozen
class Subscription:
    """The events of a namespace that a listener wants."""

    namespace: str
    everything: bool = False
    session_id: str | None = None
    machine_id: str | None = None

    def matches(self, event: HubEvent) -> bool:
        if event.namespace != self.namespace:
            return False
        return self.everything or (
            (self.session_id is not None and event.session_id == self.session_id)
            or (self.machine_id is not None and event.machine_id == self.machine_id)
        )


class Listener(Protocol):
    subscription: Subscription
    visible: bool

    def send(self, frame: bytes) -> None: ...
    def send_live(self, frame: bytes) -> None:
        """As `send`, for live text: it may be left out while the page reads slowly."""

    def read_live(self, session: Any) -> None:
        """Take the live text of this session (a HubSession), and of no other."""


class Journal(Protocol):
    """The events of several hubs, in one order."""

    def publish(self, namespace: str, kind: str, fields: dict[str, Any]) -> None: ...

    def show(self, namespace: str, data: dict[str, Any]) -> None:
        """Show a notification at the pages of all hubs."""

    def is_watched(self, namespace: str) -> bool:
        """Whether somebody sees a page of the namespace at another hub."""

    async def reached(self, number: int) -> bool:
        """Whether the events up to this number have been delivered, within a few seconds."""

    async def events_after(self, number: int) -> list[HubEvent] | None:
        """A portion of the events after this number, which ends with the newest one that has it;
        None if some are no longer kept.
        """


@define(eq=False, repr=False)
class EventBus:
    """Numbers of events start at 1 in each process, under a random epoch. The id of a frame
    contains both and a tag of the namespace. With a journal, both are those of the database.
    """

    epoch: str = field(factory=lambda: secrets.token_hex(4))
    # Where events go that pages get when they come back with the journal; None: pages get them at
    # once.
    journal: Journal | None = None
    # Called when pages have missed events, so that they have to connect again.
    on_gap: list[Callable[[], object]] = field(factory=list)
    _number: int = 0
    _kept: deque[HubEvent] = field(factory=deque)
    _kept_after: int = 0  # the number after which all events are kept
    _size: int = 0
    _listeners: dict[str, Listener] = field(factory=dict)
    _live_readers: dict[str, set[str]] = field(factory=dict)  # session id -> names of listeners
    # A session has its first reader, or none any more.
    on_live_readers: Callable[[str], object] = field(default=lambda session_id: None)

    log = Logger()

    def tag(self, namespace: str) -> str:
        return hashlib.blake2b(
            namespace.encode("utf-8", "replace"), key=self.epoch.encode(), digest_size=4
        ).hexdigest()

    def publish(self, namespace: str, kind: str, **fields: Any) -> None:
        """Send an event to each listener that wants it. `fields` are keys of the wire, such as
        `sessionId` and `machineId`.
        """
        if self.journal is not None:
            self.journal.publish(namespace, kind, fields)
        else:
            self.deliver(hub_event(self._number + 1, namespace, kind, fields))

    def deliver(self, event: HubEvent) -> None:
        """Send an event, which is newer than all before, to each listener that wants it."""
        self._number = event.number
        self._kept.append(event)
        self._size += len(event.text)
        limit = MAX_KEPT_EVENTS if self.journal is None else MAX_KEPT_OF_JOURNAL
        while len(self._kept) > limit or (self._size > MAX_KEPT_BYTES and len(self._kept) > 1):
            oldest = self._kept.popleft()
            self._size -= len(oldest.text)
            self._kept_after = oldest.number
        frame: bytes | None = None
        for listener in list(self._listeners.values()):
            if listener.subscription.matches(event):
                frame = frame or self.frame(event)
                self._send(listener, frame)

    def reset(self, epoch: str, number: int) -> None:
        """Continue after `number` of `epoch`. Pages that are connected have missed some events."""
        self.epoch, self._number, self._kept_after = epoch, number, number
        self._kept.clear()
        self._size = 0
        for call in self.on_gap:
            call()

    def frame(self, event: HubEvent) -> bytes:
        name = self._name(event.number, event.namespace)
        return f"data: {event.text}\nid: {name}\n\n".encode("utf-8", "replace")

    def _name(self, number: int, namespace: str) -> str:
        return f"{self.epoch}:{number}:{self.tag(namespace)}"

    def is_watched(self, namespace: str) -> bool:
        """Whether somebody sees a page of the namespace."""
        return namespace in self.watched_here or (
            self.journal is not None and self.journal.is_watched(namespace)
        )

    @property
    def watched_here(self) -> frozenset[str]:
        """The namespaces of which somebody sees a page that this hub serves."""
        return frozenset(
            listener.subscription.namespace
            for listener in self._listeners.values()
            if listener.visible
        )

    def publish_notification(self, namespace: str, data: dict[str, Any]) -> None:
        """Send a notification to all visible pages of the namespace, whatever they subscribe to. It
        is not kept.
        """
        if self.journal is not None:
            self.journal.show(namespace, data)
        else:
            self.show_notification(namespace, data)

    def show_notification(self, namespace: str, data: dict[str, Any]) -> None:
        """As `publish_notification`, at the pages of this hub."""
        frame = unnumbered({"type": protocol_events.TOAST, "data": data})
        for listener in list(self._listeners.values()):
            if listener.subscription.namespace == namespace and listener.visible:
                self._send(listener, frame)

    def _send(self, listener: Listener, frame: bytes) -> None:
        """Send a frame to one listener, whose failure is not that of the others."""
        try:
            listener.send(frame)
        except Exception:
            self.log.failure("An event could not be sent to a page")

    def _send_live(self, listener: Listener, frame: bytes) -> None:
        try:
            listener.send_live(frame)
        except Exception:
            self.log.failure("Live text could not be sent to a page")

    def heartbeat(self, now: int) -> None:
        """Send every listener something, so that it knows that its stream still lives."""
        for listener in list(self._listeners.values()):
            self.send_heartbeat(listener, now)

    def send_heartbeat(self, listener: Listener, now: int) -> None:
        body = {
            "type": protocol_events.HEARTBEAT,
            "namespace": listener.subscription.namespace,
            "data": {"timestamp": now},
        }
        self._send(listener, unnumbered(body))

    # --- listeners --------------------------------------------------------------------------------

    def listen(self, name: str, listener: Listener) -> None:
        self._listeners[name] = listener

    def leave(self, name: str) -> None:
        self._listeners.pop(name, None)
        self.read_live(name, None)

    def read_live(self, name: str, session_id: str | None) -> None:
        """Send the listener the live text of this session from now on, and of no other."""
        before = set(self._live_readers)
        for other, names in list(self._live_readers.items()):
            names.discard(name)
            if not names:
                del self._live_readers[other]
        if session_id is not None:
            self._live_readers.setdefault(session_id, set()).add(name)
        for changed in before ^ set(self._live_readers):
            self.on_live_readers(changed)

    def publish_live(self, session_id: str, body: dict[str, Any]) -> None:
        """Send live text to those who read this session. It is not numbered and not kept."""
        frame: bytes | None = None
        for name in tuple(self._live_readers.get(session_id, ())):
            if (listener := self._listeners.get(name)) is not None:
                frame = frame or unnumbered(body)
                self._send_live(listener, frame)

    @property
    def read_sessions(self) -> list[str]:
        """The sessions whose live text somebody reads."""
        return list(self._live_readers)

    def has_live_readers(self, session_id: str) -> bool:
        return session_id in self._live_readers

    def listener(self, name: str) -> Listener | None:
        return self._listeners.get(name)

    @property
    def live_readers(self) -> int:
        """How many listeners read the live text of a session."""
        return sum(map(len, self._live_readers.values()))

    @property
    def listening(self) -> int:
        return len(self._listeners)

    def missed_frames(self, last: str | None, subscription: Subscription) -> list[bytes] | None:
        """The frames after the one with the id `last`; None if they are not known, so that the page
        must read everything again.
        """
        number = self._number_of(last, subscription)
        if number is None or not self._kept_after <= number <= self._number:
            return None
        return [
            self.frame(event)
            for event in self._kept
            if event.number > number and subscription.matches(event)
        ]

    async def read_missed_frames(
        self, last: str | None, subscription: Subscription
    ) -> list[bytes] | None:
        """As `missed_frames`; with a journal also frames that this hub does not keep, or that only
        other hubs have delivered so far. No event comes between the answer and the caller.
        """
        number, found, size, count = self._number_of(last, subscription), [], 0, 0
        if self.journal is None or number is None or not await self.journal.reached(number):
            return self.missed_frames(last, subscription)
        while number < self._kept_after:
            events = await self.journal.events_after(number)
            if events is None:
                return None
            if not events:  # none that pages get
                number = self._kept_after
                break
            frames = [self.frame(event) for event in events if subscription.matches(event)]
            found += frames
            count, size = count + len(events), size + sum(map(len, frames))
            number = events[-1].number
            if count > MAX_RESUMED_EVENTS or size > MAX_RESUMED_BYTES:
                return None
        rest = self.missed_frames(self._name(number, subscription.namespace), subscription)
        return None if rest is None else found + rest

    def _number_of(self, last: str | None, subscription: Subscription) -> int | None:
        """The number in the id of a frame, None if it is not one of this epoch and namespace."""
        parts = (last or "").split(":")
        if (
            len(parts) != 3
            or parts[0] != self.epoch
            or parts[2] != self.tag(subscription.namespace)
        ):
            return None
        if not (parts[1].isascii() and parts[1].isdigit() and len(parts[1]) < 16):
            return None
        return int(parts[1])


def hub_event(number: int, namespace: str, kind: str, fields: dict[str, Any]) -> HubEvent:
    """The event of this number; `fields` are keys of the wire."""
    text = to_json({"type": kind, **fields, "namespace": namespace})
    return HubEvent(number, namespace, fields.get("sessionId"), fields.get("machineId"), text)


def encoded_event(
    number: int,
    namespace: str,
    kind: str,
    session_id: str | None,
    machine_id: str | None,
    fields: str,
) -> HubEvent:
    """As `hub_event`, of fields that are a JSON object already, with these ids in it."""
    inner = f"{fields[1:-1]}," if len(fields) > 2 else ""
    text = f'{{"type":{to_json(kind)},{inner}"namespace":{to_json(namespace)}}}'
    return HubEvent(number, namespace, session_id, machine_id, text)


def unnumbered(body: dict[str, Any]) -> bytes:
    """A frame without an id, from which a page cannot resume."""
    return f"data: {to_json(body)}\n\n".encode("utf-8", "replace")
