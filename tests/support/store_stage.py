"""The stores that keep the contract of IStore, and rows for them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import pytest
import pytest_twisted
from twisted.internet.defer import Deferred

from hapi.hub.store.rows import MachineRow, MessageRow, RecipientRow, SessionRow, TokenRow
from hapi.hub.store.sqlite import file_store, memory_store
from tests.support.hub_stage import EPOCH, result_of, waits
from tests.support.programs import until

T = TypeVar("T")

# `-m "not postgres"` leaves PostgreSQL out.
POSTGRES = pytest.param("postgres", marks=pytest.mark.postgres)
KINDS = ("memory", "sqlite", POSTGRES)


def wait(awaitable: Awaitable[T]) -> T:
    """The result of a store's method. Within the reactor it must be there at once."""

    async def result() -> T:
        return await awaitable

    deferred = Deferred.fromCoroutine(result())
    found: T = result_of(deferred) if not waits(deferred) else pytest_twisted.blockon(deferred)
    return found


def open_store(kind: str, place: Path, reactor: Any, url: str = "") -> Any:
    """A new, empty store as the hub has it. `place` is a directory; `url` is a database."""
    if kind == "postgres":
        return open_postgres(url, reactor)
    store = memory_store(reactor) if kind == "memory" else file_store(place / "hub.db", reactor)
    wait(store.open())
    return store


def open_postgres(url: str, reactor: Any, shared: bool = False) -> Any:
    """The store in a database, which it has acquired."""
    from hapi.hub.store.postgres.store import PostgresStore

    store = PostgresStore(url, reactor)
    wait(store.open())
    until(lambda: wait(store.acquire(shared)), 30.0)  # others close their connections soon after
    return store


@contextmanager
def postgres_stores(url: str, reactor: Any) -> Iterator[Callable[[], Any]]:
    """Makes stores in a database, open and not acquired; all are closed at the end."""
    from hapi.hub.store.postgres.store import PostgresStore

    made: list[PostgresStore] = []

    def make() -> PostgresStore:
        made.append(PostgresStore(url, reactor))
        wait(made[-1].open())
        return made[-1]

    yield make
    for store in made:
        wait(store.close())


def empty_database(url: str) -> None:
    """Delete all rows, if there are tables. That is much faster than a new database."""
    import psycopg

    from hapi.hub.store.postgres.schema import TABLES

    with psycopg.connect(url, autocommit=True) as connection:
        if connection.execute("SELECT to_regclass('meta')").fetchone() != (None,):
            names = ", ".join(TABLES - {"meta", "message_index"})
            connection.execute(f"TRUNCATE {names} RESTART IDENTITY")  # type: ignore[call-overload]
            connection.execute("UPDATE meta SET trimmed = 0")


# --- rows -----------------------------------------------------------------------------------------


def session(name: str = "s1", namespace: str = "default", **more: Any) -> SessionRow:
    metadata = more.pop("metadata", {"path": "/", "host": "h"})
    at = more.pop("created_at", EPOCH)
    updated = more.pop("updated_at", at)
    return SessionRow(name, namespace, f"tag-{name}", at, updated, metadata=metadata, **more)


def message(name: str, session_id: str = "s1", **more: Any) -> MessageRow:
    content = more.pop("content", {"role": "user", "content": {"type": "text", "text": name}})
    return MessageRow(name, session_id, 0, content, more.pop("created_at", EPOCH), **more)


def prompt(name: str, session_id: str = "s1", **more: Any) -> MessageRow:
    """A prompt that waits for a process, with its name as local id."""
    return message(name, session_id, local_id=name, **more)


def machine(name: str = "m1", **more: Any) -> MachineRow:
    return MachineRow(name, "default", EPOCH, EPOCH, metadata={"host": "h"}, **more)


def token(token_id: str, **more: Any) -> TokenRow:
    values = {
        "namespace": "default",
        "name": f"device {token_id}",
        "digest": f"digest-{token_id}",
        "scopes": "read chat",
        "machine_id": None,
        "created_at": EPOCH,
    }
    return TokenRow(token_id, **{**values, **more})


def recipient(name: str, **more: Any) -> RecipientRow:
    values = {
        "namespace": "default",
        "kind": "push",
        "address": f"https://push/{name}",
        "keys": {"p256dh": "p", "auth": "a"},
        "label": name,
        "token_id": "t",
        "settings": {"kinds": []},
        "created_at": EPOCH,
    }
    return RecipientRow(name, **{**values, **more})
