"""How long changes took, as `/metrics` tells it."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.store_stage import message, open_postgres, session, wait

pytestmark = pytest.mark.postgres


@pytest.mark.parametrize("shared", [False, True])
def test_each_change_is_counted(database_url: str, reactor: Any, shared: bool) -> None:
    store = open_postgres(database_url, reactor, shared)
    wait(store.create_session(session("s1")))
    wait(store.claim("s1")) if shared else None
    wait(store.add_message(message("a"), None))
    assert store.statistics.seconds.count == 2
    wait(store.close())
