"""Session processes, as far as a hub sees them: the product's own link and uplink, and an agent
that writes numbered messages and takes prompts.
"""

from __future__ import annotations

import uuid
from collections import Counter
from random import Random
from typing import Any

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.task import LoopingCall

from hapi.net.client.hub_client import HubClient
from hapi.net.client.link import HubLink
from hapi.net.client.outbox import Entry, Outbox
from hapi.net.common.rpc import RpcTable
from hapi.protocol.rpc_methods import LIST_MACHINE_DIRECTORY
from hapi.session.hub.inbox import Inbox
from hapi.session.hub.uplink import SessionUplink
from hapi.settings import HubAccess

TICK = 0.05  # seconds
ECHO = "echo"
PADDING = "x" * 200


def numbered_text(session: int, number: int) -> str:
    return f"message {session} {number} {PADDING}"


def parse_text(text: Any) -> tuple[int, int] | None:
    """Session and number of a message of an agent."""
    words = text.split(" ", 3) if isinstance(text, str) else ()
    if len(words) == 4 and words[0] == "message":
        return int(words[1]), int(words[2])
    return None


def number_of(content: Any) -> tuple[int, int] | None:
    """Session and number of a stored content; None if it is none of an agent's messages."""
    inner = content.get("content") if isinstance(content, dict) else None
    data = inner.get("data") if isinstance(inner, dict) else None
    return parse_text(data.get("message")) if isinstance(data, dict) else None


def prompt_of(content: Any) -> str | None:
    if isinstance(content, dict) and content.get("role") == "user":
        inner = content.get("content")
        return inner.get("text") if isinstance(inner, dict) else None
    return None


@define(eq=False, repr=False)
class TimedOutbox(Outbox):
    """Tells how long each event waited until the hub confirmed it."""

    seconds: Any = None  # of the clock
    waits: list[float] = field(factory=list)

    def confirm(self, serial: int) -> list[Entry]:
        confirmed = super().confirm(serial)
        now = self.seconds()
        self.waits += [now - entry.added_at for entry in confirmed]
        return confirmed


@define(eq=False)
class SessionWorker:
    """One session with a link of its own."""

    reactor: Any
    access: HubAccess
    number: int
    total: int  # messages that it will have written
    seconds: float  # in which it writes them
    http: Any = None
    id: str = ""
    written: int = 0
    prompts: Counter[str] = field(factory=Counter)  # texts that the agent got
    acknowledged: set[str] = field(factory=set)  # local ids
    is_running: bool = False
    connects: int = 0
    title: str = ""
    link: HubLink = field(init=False)
    uplink: SessionUplink = field(init=False)
    outbox: TimedOutbox = field(init=False)
    _random: Random = field(init=False)
    _loop: LoopingCall | None = None
    _began: float = 0.0
    _turns: int = 0

    async def start(self) -> SessionWorker:
        self._random = Random(self.number)
        client = HubClient(self.reactor, self.access, self.http)
        metadata = {
            "path": f"/growth/{self.number}",
            "host": "growth",
            "flavor": "codex",
            "name": f"session {self.number}",
            "machineId": "growth",
            "lifecycleState": "running",
        }
        row = await client.create_session(
            {"tag": str(uuid.uuid4()), "metadata": metadata, "agentState": {}}
        )
        self.id = str(row["id"])
        auth = {"clientType": "session-scoped", "sessionId": self.id}
        rpc = RpcTable(self.id)
        rpc.add(LIST_MACHINE_DIRECTORY, lambda params: {"success": True, "entries": []})
        self.link = HubLink(self.reactor, self.access, auth, rpc)
        self.outbox = self.link._delivery.outbox = TimedOutbox(seconds=self.reactor.seconds)

        async def rows_after(sequence: int) -> list[dict[str, Any]]:
            return await client.messages(self.id, sequence)

        self.uplink = SessionUplink.of_row(self.reactor, self.link, row, Inbox(), rows_after)
        self.uplink.on_queued = self._take
        self.link.on_connect(self._connected)
        self.uplink.start()
        self.link.startService()
        self.uplink.announce_ready()
        self.is_running = True
        return self

    def _connected(self) -> None:
        self.connects += 1

    def _take(self) -> None:
        """The agent takes what waits."""
        if self.uplink.is_catching_up or not self.is_running:
            return
        while (batch := self.uplink.inbox.take()) is not None:
            self.prompts.update(part for part in batch.parts if isinstance(part, str))
            self.acknowledged.update(batch.local_ids)
            self.uplink.acknowledge_prompts(batch.local_ids)

    # --- what the agent does
    def write(self) -> None:
        """Begin to write; `when_written` tells the end."""
        self._began = self.reactor.seconds()
        self._loop = LoopingCall(self._tick)
        self._loop.clock = self.reactor
        self._loop.start(TICK, now=False)

    def _tick(self) -> None:
        elapsed = self.reactor.seconds() - self._began
        due = min(self.total, int(self.total * elapsed / self.seconds) + 1)
        while self.written < due:
            self.written += 1
            text = numbered_text(self.number, self.written)
            self.uplink.publish_agent_record({"type": "message", "message": text})
        if elapsed > (self._turns + 1) * self.seconds / 8:  # eight turns, each with a title
            self._turns += 1
            self.uplink.set_thinking(self._turns % 2 == 1)
            self.title = f"title {self.number} {self._turns}"
            summary = {"text": self.title, "updatedAt": self._turns}
            self.uplink.change_metadata(lambda stored: {**(stored or {}), "summary": summary})
        if self.written >= self.total and self._loop is not None:
            self._loop.stop()
            self._loop = None
            if self.uplink.thinking:
                self.uplink.set_thinking(False)

    @property
    def is_done(self) -> bool:
        return self._loop is None

    @property
    def is_confirmed(self) -> bool:
        return self.is_done and self.outbox.is_empty and self.uplink.metadata.settled

    def when_confirmed(self) -> Deferred[None]:
        return self.link.when_confirmed()

    # --- how it ends
    async def end(self) -> None:
        """As a session process that ends in order."""
        self._stop()
        self.uplink.announce_end("completed")
        await self.link.leave()

    async def die(self) -> None:
        """As a session process that is killed: the connection is lost, and nothing is said."""
        self._stop()
        self.uplink._keepalives.stop() if self.uplink._keepalives.running else None
        await self.link.stopService()

    def _stop(self) -> None:
        self.is_running = False
        if self._loop is not None:
            self._loop.stop()
            self._loop = None
