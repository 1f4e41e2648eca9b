"""Messages for tests of search, usage and export."""

from __future__ import annotations

from typing import Any

from hapi.hub.store.rows import MessageRow, SearchTerm, SessionRow
from hapi.hub.store.words import words
from tests.support.hub_stage import EPOCH
from tests.support.store_stage import wait as run


def prompt(text: str) -> dict[str, Any]:
    return {"role": "user", "content": {"type": "text", "text": text}}


def record(**data: Any) -> dict[str, Any]:
    return {"role": "agent", "content": {"type": "codex", "data": data}}


def answer(text: str) -> dict[str, Any]:
    return record(type="message", message=text)


def add_session(
    store: Any, session: str = "s1", namespace: str = "default", **metadata: Any
) -> None:
    shown = {"path": "/", "host": "h", "name": session, **metadata}
    run(store.create_session(SessionRow(session, namespace, session, EPOCH, EPOCH, metadata=shown)))


def add_message(
    store: Any, content: Any, session: str = "s1", name: str | None = None, **more: Any
) -> MessageRow:
    at = more.pop("created_at", EPOCH)
    name = name or f"m{len(run(store.latest(session, 1000)))}-{session}"
    row = MessageRow(name, session, 0, content, at, invoked_at=more.pop("invoked_at", at), **more)
    message: MessageRow = run(store.add_message(row, None)).message
    return message


def terms(*texts: str) -> list[SearchTerm]:
    """`wor*` is a prefix; several words are a phrase."""
    return [SearchTerm(tuple(words(text)), text.endswith("*")) for text in texts]


def found(store: Any, *texts: str, namespace: str = "default", **more: Any) -> list[str]:
    """The ids of the messages that have all of `texts`."""
    page = run(store.search(namespace, terms(*texts), more.pop("limit", 50), **more))
    return [row.id for row in page.messages]
