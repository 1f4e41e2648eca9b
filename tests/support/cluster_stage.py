"""Several hubs in memory that share one database, on one clock."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from hapi.hub.cluster.cluster import Cluster
from tests.support.hub_stage import EPOCH, Stage, result_of
from tests.support.shared_memory import SharedMemory, SharedMemoryStore

SWEEP_INTERVAL = 5.0  # seconds


class HubStage(Stage):
    """One hub of several."""

    def __init__(self, shared: SharedMemory, name: str, **options: Any) -> None:
        self.memory: SharedMemoryStore = shared.hub(name)
        super().__init__(self.memory, start=EPOCH, clock=self.memory.clock, loads=False, **options)
        self.name = name
        self.cluster = Cluster(
            self.registry, self.memory, name, f"http://{name}.example:3006", "0.0.0"
        )
        self.hub.join(self.cluster)
        result_of(Deferred.fromCoroutine(self.cluster.start()))

    def claim(self, owner: str) -> bool:
        return bool(result_of(Deferred.fromCoroutine(self.cluster.claim(owner))))

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

    def __init__(self, names: str = "abc", delay: float | None = 0.0) -> None:
        self.clock = Clock()
        self.shared = SharedMemory(self.clock, delay)
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
                        hub.sweep()

    def settle(self) -> None:
        """Let all hubs read what has been published."""
        self.clock.advance(0)
        for hub in self.hubs:
            hub.memory.bell()
