"""The stores of the contract."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.task import deferLater

from tests.support.postgres import PostgresServer
from tests.support.store_stage import KINDS, empty_database, open_store, wait


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> object | None:
    """Run a test that is no coroutine beside the reactor instead of in it: so it can `wait`."""
    if hasattr(pyfuncitem.obj, "_pytest_twisted_mark"):
        return None
    names = pyfuncitem._fixtureinfo.argnames
    pyfuncitem.obj(**{name: pyfuncitem.funcargs[name] for name in names})
    return True


@pytest.fixture(scope="session", autouse=True)
def running_reactor() -> None:
    """Stores use their threads only while the reactor runs, which begins when somebody waits."""
    from twisted.internet import reactor

    pytest_twisted.blockon(deferLater(reactor, 0.0))  # type: ignore[arg-type]


@pytest.fixture(scope="session")
def contract_database(shared_postgres: PostgresServer) -> Callable[[], str]:
    """Empties the one database of the contract's tests, and returns its URL."""
    url = shared_postgres.create_database("contract")

    def emptied() -> str:
        empty_database(url)
        return url

    return emptied


@pytest.fixture(params=KINDS)
def store(request: pytest.FixtureRequest, tmp_path: Path, reactor: Any) -> Iterator[Any]:
    """A new, empty store of each kind."""
    url = request.getfixturevalue("contract_database")() if request.param == "postgres" else ""
    made = open_store(request.param, tmp_path, reactor, url)
    yield made
    wait(made.close())
