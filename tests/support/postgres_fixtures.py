"""Databases of PostgreSQL for tests.

`database_url` is a new, empty database of the one server that all tests of a process share; it is
started at first use. A test that stops, kills or promotes a server takes one of its own from
`postgres_servers`.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.support.postgres import (
    PostgresServer,
    end_servers,
    make_server,
    postgres_programs,
    watchers,
)
from tests.support.programs import free_port


def require_postgres() -> None:
    """Skip the test on a machine without PostgreSQL; in CI it fails."""
    missing = "" if postgres_programs() else "PostgreSQL (the package postgresql)"
    try:
        import psycopg  # noqa: F401
    except ImportError:
        missing = missing or "psycopg (pip install 'hapi-runner[postgres]')"
    if missing:
        reason = f"not on this machine: {missing}"
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(reason)


@pytest.fixture(scope="session")
def shared_postgres() -> PostgresServer:
    """The server that all tests of this process share."""
    require_postgres()
    return make_server()


numbers = itertools.count(1)


@pytest.fixture
def database_urls(shared_postgres: PostgresServer) -> Iterator[Callable[[], str]]:
    """Makes new, empty databases."""
    names: list[str] = []

    def make() -> str:
        names.append(f"t_{next(numbers)}")
        return shared_postgres.create_database(names[-1])

    yield make
    for name in names:
        shared_postgres.drop_database(name)


@pytest.fixture
def database_url(database_urls: Callable[[], str]) -> str:
    """A new, empty database."""
    return database_urls()


@pytest.fixture
def postgres_servers() -> Iterator[Callable[..., PostgresServer]]:
    """Starts servers for one test; arguments as for make_server, `port=True` chooses a port."""
    require_postgres()
    before = set(watchers)

    def make(port: int | bool | None = None, **more: Any) -> PostgresServer:
        return make_server(free_port() if port is True else port or None, **more)

    yield make
    for directory in set(watchers) - before:
        end_servers(directory)
