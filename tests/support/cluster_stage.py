"""Several hubs in memory that share one database, on one clock."""

from __future__ import annotations

import json
from typing import Any

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from hapi.hub.access.auth import Principal
from hapi.hub.cluster.cluster import Cluster
from hapi.hub.cluster.journal import READ_INTERVAL
from hapi.hub.domain.events import Subscription
from hapi.hub.http.sse import EventStream
from hapi.hub.store.interface import StoreFailed
from tests.support.hub_stage import EPOCH, Stage, result_of
from tests.support.shared_memory import SharedMemory, SharedMemoryStore

SWEEP_INTERVAL = 5.0  # seconds


class HubStage(Stage):
    """One hub of several."""

    def __init__(self, shared: Any, name: str, **options: Any) -> None:
        self.memory: SharedMemoryStore = shared.hub(name)
        super().__init__(self.memory, start=EPOCH, clock=self.memory.clock, loads=False, **options)
        self.name, self._is_sweeping = name, False
        self.cluster = Cluster(
            self.registry, self.memory, name, f"http://{name}.example:3006", "0.0.0"
        )
        self.hub.join(self.cluster)
        result_of(Deferred.fromCoroutine(self.cluster.start()))

    def claim(self, owner: str) -> bool:
        return bool(result_of(Deferred.fromCoroutine(self.cluster.claim(owner))))

    def begin_sweep(self) -> None:
        """As the service does: not while one is under way, which may wait for the database."""
        if not self._is_sweeping:
            self._is_sweeping = True
            sweep = Deferred.fromCoroutine(self.hub.presence.sweep())
            sweep.addErrback(lambda failure: failure.trap(StoreFailed))
            sweep.addBoth(self._swept)

    def _swept(self, _: Any) -> None:
        self._is_sweeping = False

    def caught_up(self) -> None:
        result_of(Deferred.fromCoroutine(self.cluster.caught_up()))

    def kill(self) -> None:
        """kill -9: its sockets are gone, and nothing of it happens any more."""
        self.memory.kill()

    def leave(self) -> None:
        """An orderly stop."""
        for peer in list(self.sockets.peers):
            peer.drop()
        result_of(Deferred.fromCoroutine(self.cluster.stop()))
        self.memory.kill()


class ClusterStage:
    """Hubs a, b, c … of one database."""

    def __init__(self, names: str = "abc", delay: float | None = 0.0, shared: Any = None) -> None:
        self.shared = shared or SharedMemory(Clock(), delay)
        self.clock = self.shared.clock
        self.hubs = [self.start(name) for name in names]

    def start(self, name: str) -> HubStage:
        return HubStage(self.shared, name)

    def tick(self, seconds: float) -> None:
        """Let time pass; hubs that run sweep every five seconds, as the service does."""
        end = self.clock.seconds() + seconds
        while self.clock.seconds() < end - 1e-9:
            step = min(0.25, end - self.clock.seconds())
            before = int(self.clock.seconds() // SWEEP_INTERVAL)
            self.clock.advance(step)
            if int(self.clock.seconds() // SWEEP_INTERVAL) != before:
                for hub in self.hubs:
                    if not hub.memory.clock.is_stopped:
                        hub.begin_sweep()

    def settle(self) -> None:
        """Let all hubs read what has been published."""
        self.clock.advance(READ_INTERVAL)
        for hub in self.hubs:
            hub.memory.bell()
        self.clock.advance(READ_INTERVAL)


@define(eq=False)
class Connection:
    """The request of an event stream."""

    written: list[bytes] = field(factory=list)
    is_open: bool = True
    channel: Any = None
    ended: Deferred[None] = field(factory=Deferred)

    def write(self, content: bytes) -> None:
        self.written.append(content)

    def setHeader(self, name: str, value: str) -> None: ...

    def notifyFinish(self) -> Deferred[None]:
        return self.ended

    def registerProducer(self, producer: Any, streaming: bool) -> None: ...

    def unregisterProducer(self) -> None: ...

    def finish(self) -> None:
        self.is_open = False


@define(eq=False)
class PageReader:
    """A page that connects to whatever hub, and resumes."""

    namespace: str = "default"
    events: list[dict[str, Any]] = field(factory=list)
    resumes: list[str] = field(factory=list)  # `ok` or `gap` of each connection
    last_id: str | None = None
    _connection: Connection | None = None
    _stream: EventStream | None = None
    _read: int = 0  # pieces of the connection

    def open(self, hub: HubStage) -> None:
        self.close()
        connection = self._connection = Connection()
        self._read = 0
        wanted = Subscription(self.namespace, everything=True)
        principal = Principal(self.namespace, expires_at=2**40)
        stream = self._stream = EventStream(connection, principal, wanted, True, hub.registry)
        hub.hub.streams._streams.add(stream)
        stream.start(self.last_id)

    def close(self) -> None:
        """Leave without waiting for what is under way."""
        self.read()
        if self._stream is not None:
            self._stream.stopProducing()
            self._stream = None

    def read(self) -> list[dict[str, Any]]:
        """All events so far."""
        connection = self._connection
        for piece in [] if connection is None else connection.written[self._read :]:
            for frame in piece.split(b"\n\n")[:-1]:
                lines = frame.split(b"\n")
                event = json.loads(lines[0][6:])
                if event["type"] == "connection-changed":
                    self.resumes.append(event["data"]["resume"])
                elif len(lines) > 1:
                    self.last_id = lines[1][4:].decode()
                    self.events.append(event)
        self._read = 0 if connection is None else len(connection.written)
        return self.events

    @property
    def is_open(self) -> bool:
        return self._connection is not None and self._connection.is_open

    def messages(self) -> list[Any]:
        """The messages that it has received, in order."""
        return [event["message"] for event in self.read() if event["type"] == "message-received"]
