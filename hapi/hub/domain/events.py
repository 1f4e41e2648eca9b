"""What happens at the hub, told to whoever listens: numbered, filtered by namespace, kept for a while for those who come back."""

from __future__ import annotations

import hashlib
import json
import secrets
from collections import deque
from collections.abc import Callable
from typing import Any, Protocol

from attrs import define, field, frozen

MAX_KEPT_EVENTS, MAX_KEPT_BYTES = 256, 2 << 20


@frozen
class HubEvent:
    """One event as it goes out, with what decides who gets it."""

    number: int
    namespace: str
    session_id: str | None
    machine_id: str | None
    text: str  # JSON


@frozen
class Subscription:
    """What a listener wants of its namespace."""

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


@define(eq=False)
class EventBus:
    """The numbers of this process's events start at 1 below a random epoch; a frame's id proves both and the namespace."""

    epoch: str = field(factory=lambda: secrets.token_hex(4))
    _number: int = 0
    _kept: deque[HubEvent] = field(factory=deque)
    _size: int = 0
    _listeners: dict[str, Listener] = field(factory=dict)
    _watchers: list[Callable[[str, dict[str, Any]], None]] = field(factory=list)

    def tag(self, namespace: str) -> str:
        return hashlib.blake2b(
            namespace.encode("utf-8", "replace"), key=self.epoch.encode(), digest_size=4
        ).hexdigest()

    def publish(self, namespace: str, kind: str, **fields: Any) -> None:
        """Tell everybody who wants it; `fields` are the wire's own names, `sessionId` and `machineId` among them."""
        body = {"type": kind, **fields, "namespace": namespace}
        self._number += 1
        text = json.dumps(body, ensure_ascii=False, separators=(",", ":"))
        event = HubEvent(
            self._number, namespace, fields.get("sessionId"), fields.get("machineId"), text
        )
        self._kept.append(event)
        self._size += len(text)
        while len(self._kept) > MAX_KEPT_EVENTS or (
            self._size > MAX_KEPT_BYTES and len(self._kept) > 1
        ):
            self._size -= len(self._kept.popleft().text)
        frame: bytes | None = None
        for listener in list(self._listeners.values()):
            if listener.subscription.matches(event):
                frame = frame or self.frame(event)
                listener.send(frame)
        for watch in self._watchers:
            watch(namespace, body)

    def frame(self, event: HubEvent) -> bytes:
        name = f"{self.epoch}:{event.number}:{self.tag(event.namespace)}"
        return f"data: {event.text}\nid: {name}\n\n".encode("utf-8", "replace")

    def watch(self, call: Callable[[str, dict[str, Any]], None]) -> None:
        """Call with namespace and body of every event, inside the hub."""
        self._watchers.append(call)

    def publish_notification(self, namespace: str, data: dict[str, Any]) -> None:
        """Told to those who are looking at a page of this namespace, whatever they filter; not kept."""
        frame = unnumbered({"type": "toast", "data": data})
        for listener in list(self._listeners.values()):
            if listener.subscription.namespace == namespace and listener.visible:
                listener.send(frame)

    def heartbeat(self, now: int) -> None:
        for listener in list(self._listeners.values()):
            namespace = listener.subscription.namespace
            listener.send(
                unnumbered(
                    {"type": "heartbeat", "namespace": namespace, "data": {"timestamp": now}}
                )
            )

    # --- listeners ---------------------------------------------------------------------------------------------------

    def listen(self, name: str, listener: Listener) -> None:
        self._listeners[name] = listener

    def leave(self, name: str) -> None:
        self._listeners.pop(name, None)

    def listener(self, name: str) -> Listener | None:
        return self._listeners.get(name)

    @property
    def listening(self) -> int:
        return len(self._listeners)

    def missed_frames(self, last: str | None, subscription: Subscription) -> list[bytes] | None:
        """The frames after the one named `last`; None when that cannot be told, so that everything must be read again."""
        parts = (last or "").split(":")
        if (
            len(parts) != 3
            or parts[0] != self.epoch
            or parts[2] != self.tag(subscription.namespace)
        ):
            return None
        if not (parts[1].isascii() and parts[1].isdigit() and len(parts[1]) < 16):
            return None
        number = int(parts[1])
        oldest = self._kept[0].number if self._kept else self._number + 1
        if number > self._number or number < oldest - 1:
            return None
        return [
            self.frame(event)
            for event in self._kept
            if event.number > number and subscription.matches(event)
        ]


def unnumbered(body: dict[str, Any]) -> bytes:
    """A frame that no resume point comes from."""
    return f"data: {json.dumps(body, ensure_ascii=False, separators=(',', ':'))}\n\n".encode(
        "utf-8", "replace"
    )
