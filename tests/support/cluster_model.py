"""Session processes and pages around several hubs, as they behave when hubs die, stop or are cut
off from the database.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from attrs import define, field
from twisted.internet.defer import Deferred

from hapi.hub.domain.entities import SESSION_TIMEOUT
from hapi.hub.store.interface import StoreFailed
from hapi.net.common.errors import ConnectRefused
from tests.support.cluster_stage import ClusterStage, HubStage, PageReader
from tests.support.hub_stage import MemoryPeer

LEAVES_AFTER = 20.0  # seconds after which a client leaves a hub that does not answer


@define(eq=False)
class Process:
    """The process of a session: it keeps what it has said until the hub confirms it, and sends
    what the hub does not have after each connect.
    """

    model: ClusterModel
    session_id: str
    is_alive: bool = True
    said: int = 0
    unconfirmed: list[int] = field(factory=list)
    hub: HubStage | None = None
    peer: MemoryPeer | None = None
    _silent_since: float = 0.0
    _attempt: int = 0
    _is_reconciled: bool = False

    def _deliver(self, call: Callable[[], object]) -> None:
        """What arrives at a hub that is stopped waits there."""
        assert self.hub is not None
        self.model.deliver(self.hub, call)

    def connect(self, hub: HubStage) -> None:
        if not self.is_alive or not self.model.is_running(hub):
            return
        self.leave()
        self._attempt += 1
        claimed = Deferred.fromCoroutine(hub.cluster.claim(self.session_id))
        claimed.addErrback(lambda failure: failure.trap(StoreFailed) and False)
        claimed.addCallback(self._claimed, hub, self._attempt)

    def _claimed(self, is_home: bool, hub: HubStage, attempt: int) -> None:
        """The hub lets the process in, which may have gone to another one meanwhile."""
        if not is_home or attempt != self._attempt or not self.is_alive:
            return
        try:
            self.peer = hub.connect(sessionId=self.session_id)
        except ConnectRefused:
            return
        self.hub, self._silent_since, self._is_reconciled = hub, self.model.seconds, False
        self.alive()
        self._reconcile()

    def _reconcile(self) -> None:
        """Send what is not stored. The hub tells what is when nothing is held back."""
        hub, peer = self.hub, self.peer
        assert hub is not None
        if (session := hub.registry.sessions.get(self.session_id)) is not None:
            settled = Deferred.fromCoroutine(hub.registry.require_settled(session))
            settled.addCallbacks(self._settled, lambda failure: failure.trap(StoreFailed), (peer,))

    def _settled(self, _: None, peer: MemoryPeer | None) -> None:
        if peer is not self.peer or self._is_reconciled:
            return
        self._is_reconciled = True
        known = set(self.model.stored(self.session_id))
        self.unconfirmed = [number for number in self.unconfirmed if number not in known]
        for number in self.unconfirmed:
            self._send(number)
        self._ping()

    def leave(self) -> None:
        """Close the connection, as far as the process is concerned."""
        if self.peer is not None:
            self._deliver(self.peer.drop)
            self.hub = self.peer = None

    def look(self) -> None:
        """Notice that the connection is gone, and connect again."""
        hub, peer = self.hub, self.peer
        if hub is not None and peer is not None:
            if peer.hung_up or hub not in self.model.hubs:
                self.leave()
            elif not self.model.is_running(hub):
                if self.model.seconds - self._silent_since > LEAVES_AFTER:
                    self.leave()
            else:
                self._silent_since = self.model.seconds
        if self.peer is None and self.is_alive:
            self.connect(self.model.any_hub())
        elif self.is_alive:
            self.alive()
            if not self._is_reconciled and self.hub is not None and self.model.is_running(self.hub):
                self._reconcile()

    def alive(self) -> None:
        hub, peer = self.hub, self.peer
        if hub is not None and peer is not None and not peer.hung_up:
            self._deliver(lambda: hub.alive(peer, self.session_id))

    def say(self) -> None:
        number, self.said = self.said, self.said + 1
        self.unconfirmed.append(number)
        if self._is_reconciled:
            self._send(number)
            self._ping()

    def _send(self, number: int) -> None:
        peer = self.peer
        if peer is not None and not peer.hung_up:
            event = {"sid": self.session_id, "message": {"role": "agent", "content": {"n": number}}}
            self._deliver(lambda: peer.send("message", event))

    def _ping(self) -> None:
        peer, last = self.peer, self.said

        def confirmed(*_: Any) -> None:
            if self.peer is peer:
                self.unconfirmed = [number for number in self.unconfirmed if number >= last]

        if peer is not None and not peer.hung_up:
            self._deliver(lambda: peer.sockets.cli.event(peer, "ping", [], confirmed))

    def end(self) -> None:
        """End in an orderly way, if everything is confirmed."""
        hub, peer = self.hub, self.peer
        if hub is not None and peer is not None and not self.unconfirmed:
            event = {"sid": self.session_id, "time": hub.now()}
            self._deliver(lambda: peer.send("session-end", event))
            self.kill()

    def kill(self) -> None:
        self.is_alive, self.unconfirmed = False, []
        self.leave()


@define(eq=False)
class Page:
    """A page that reads everything again when it has missed something."""

    model: ClusterModel
    reader: PageReader = field(factory=PageReader)
    hub: HubStage | None = None
    seen: dict[str, list[int]] = field(factory=dict)  # session id -> seqs, since the last gap
    before: dict[str, list[int]] = field(factory=dict)  # what was read at the last gap
    active: dict[str, bool] = field(factory=dict)

    def open(self, hub: HubStage) -> None:
        if self.model.is_running(hub):
            self.read()
            self.reader.open(hub)
            self.hub = hub
            self.read()

    def look(self) -> None:
        is_gone = self.hub is None or not self.model.is_running(self.hub)
        if is_gone or not self.reader.is_open:
            self.open(self.model.any_hub())
        self.read()

    def read(self) -> None:
        resumes, count = len(self.reader.resumes), len(self.reader.events)
        self.reader.read()
        if "gap" in self.reader.resumes[resumes:]:
            assert self.hub is not None
            self.seen = {}
            self.before = {name: self.model.seqs(name) for name in self.model.processes}
            self.active = {
                session.id: session.active for session in self.hub.registry.sessions.values()
            }
        for event in self.reader.events[count:]:
            if event["type"] == "message-received":
                self.seen.setdefault(event["sessionId"], []).append(event["message"]["seq"])
            elif event["type"] == "session-updated" and "active" in event["data"]:
                self.active[event["sessionId"]] = event["data"]["active"]

    def check(self) -> None:
        """It has everything, each once, in order."""
        self.read()
        for name in self.model.processes:
            seqs, seen, before = self.model.seqs(name), self.seen.get(name, []), self.before[name]
            if seen:
                assert seen == [seq for seq in seqs if seq >= seen[0]]
            assert sorted({*before, *seen}) == seqs


class ClusterModel:
    """Three hubs, two sessions, and pages; what each does, step by step."""

    def __init__(self, shared: Any = None) -> None:
        self.stage = ClusterStage(shared=shared)
        self.started = 3
        self.turn = 0
        self.buffers: dict[HubStage, list[Callable[[], object]]] = {}
        self.processes: dict[str, Process] = {}
        for hub in self.hubs:
            self._close_lost(hub)
        for number in range(2):
            session_id = self.hubs[number].session(tag=f"tag-{number}")
            self.stage.settle()
            self.processes[session_id] = Process(self, session_id)
        self.pages = [Page(self) for _ in range(2)]
        for page in self.pages:
            page.look()

    @property
    def hubs(self) -> list[HubStage]:
        return self.stage.hubs

    @property
    def seconds(self) -> float:
        return float(self.stage.clock.seconds())

    def is_running(self, hub: HubStage) -> bool:
        return hub in self.hubs and not hub.memory.clock.is_stopped

    def any_hub(self) -> HubStage:
        """The hub that a balancer chooses."""
        running = [hub for hub in self.hubs if self.is_running(hub)]
        self.turn += 1
        ready = [hub for hub in running if hub.cluster.problem is None] or running or self.hubs
        return ready[self.turn % len(ready)]

    def deliver(self, hub: HubStage, call: Callable[[], object]) -> None:
        if self.is_running(hub):
            call()
        elif hub in self.hubs:
            self.buffers.setdefault(hub, []).append(call)

    def _close_lost(self, hub: HubStage) -> None:
        """Close the sockets of what has moved, as the hub's sockets do."""

        def lost(owner: str) -> None:
            for peer in list(hub.sockets.peers):
                if peer.principal.owner == owner:
                    peer.hang_up("moved")

        hub.cluster.on_lost.append(lost)

    # --- faults

    def start(self) -> None:
        name = "abcdefghijklmnopqrstuvwxyz"[self.started % 26] + str(self.started // 26)
        self.started += 1
        hub = self.stage.start(name)
        self.hubs.append(hub)
        self._close_lost(hub)

    def kill(self, hub: HubStage) -> None:
        hub.kill()
        self.hubs.remove(hub)
        self.buffers.pop(hub, None)

    def leave(self, hub: HubStage) -> None:
        hub.leave()
        self.hubs.remove(hub)

    def stop(self, hub: HubStage) -> None:
        hub.memory.stop_hub()

    def resume(self, hub: HubStage, reads_first: bool = False) -> None:
        """`reads_first`: it reads what came over its sockets before its timers run."""
        if hub not in self.hubs:
            return
        buffer = self.buffers.pop(hub, [])
        if reads_first:
            hub.memory.clock.is_stopped = False
            for call in buffer:
                call()
        hub.memory.resume_hub()
        if not reads_first:
            for call in buffer:
                call()

    # --- time

    def tick(self, seconds: int) -> None:
        for _ in range(seconds):
            self.stage.tick(1.0)
            for process in self.processes.values():
                process.look()
            for page in self.pages:
                page.look()

    # --- what is stored

    def stored(self, session_id: str) -> list[int]:
        """The numbers of the messages, in order."""
        rows = self.stage.shared.rows(session_id)
        return [json.loads(content)["content"]["n"] for _, content in rows]

    def seqs(self, session_id: str) -> list[int]:
        return [seq for seq, _ in self.stage.shared.rows(session_id)]

    def check(self) -> None:
        """After all faults are over."""
        for hub in list(self.hubs):
            hub.memory.reconnect()
            hub.memory.lost_answers = 0
            if hub.memory.clock.is_stopped:
                self.resume(hub)
        self.tick(int(SESSION_TIMEOUT) * 2 + 15)
        self.stage.settle()
        for name, process in self.processes.items():
            stored = self.stored(name)
            if process.is_alive:
                assert process.unconfirmed == []
                assert stored == list(range(process.said))
            else:  # what it had not got confirmed when it was killed may be missing
                assert stored == list(range(len(stored)))
            for hub in self.hubs:
                assert hub.registry.sessions[name].active is process.is_alive, (hub.name, name)
            for page in self.pages:
                page.read()
                assert page.active.get(name, False) is process.is_alive
        for page in self.pages:
            page.check()
        assert sum(hub.cluster.runs_singleton_tasks for hub in self.hubs) == 1
