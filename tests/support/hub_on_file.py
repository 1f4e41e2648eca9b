"""A hub whose database is a file, and one session of it, for tests of what happens to that file."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from sqlite3 import connect
from typing import Any, Self

from attrs import define

from hapi.hub.store.sqlite import SqliteStore
from tests.support.hub_stage import MemoryPeer, Stage


def agent(text: str) -> dict[str, Any]:
    """A message of an agent."""
    return {
        "role": "agent",
        "content": {"type": "codex", "data": {"type": "message", "message": text}},
    }


@define
class HubOnFile:
    stage: Stage
    path: Path
    session: str
    peer: MemoryPeer

    @classmethod
    def open(cls, path: Path) -> Self:
        def make(clock: Any) -> SqliteStore:
            store = SqliteStore(path, clock)
            store.open()
            return store

        stage = Stage(make)
        return cls(stage, path, *stage.live())

    def close(self) -> None:
        self.stage.registry.queues.stop()
        self.stage.store.close()

    def fill(self) -> None:
        """From now on the database does not grow."""
        connection = self.stage.store.database.connection
        (pages,) = connection.execute("PRAGMA page_count").fetchone()
        connection.execute(f"PRAGMA max_page_count = {pages}")

    def make_room(self) -> None:
        self.stage.store.database.connection.execute("PRAGMA max_page_count = 1000000")

    def send(self, text: str, peer: MemoryPeer | None = None) -> None:
        (peer or self.peer).send("message", {"sid": self.session, "message": agent(text)})

    def errors(self, peer: MemoryPeer | None = None) -> list[str]:
        return [given["code"] for given in (peer or self.peer).events("error")]

    def ping(self, peer: MemoryPeer | None = None) -> list[Any]:
        """What the socket is answered, now or later."""
        answers: list[Any] = []
        self.stage.sockets.cli.event(peer or self.peer, "ping", [], lambda *_: answers.append(1))
        return answers


def stored_texts(path: Path, order: str = "seq") -> list[str]:
    """What the agent has said, as the database at `path` has it."""
    query = f"SELECT json_extract(content, '$.content.data.message') FROM messages ORDER BY {order}"
    with closing(connect(path)) as connection:
        return [row[0] for row in connection.execute(query)]
