"""The hubs of a test's `group` by name, and the database in memory that they may share."""

from __future__ import annotations

import pytest
from twisted.internet import reactor

from tests.support.hub_group import GroupHub, HubGroup
from tests.support.shared_memory import SharedMemory


@pytest.fixture
def shared() -> SharedMemory:
    return SharedMemory(reactor)


@pytest.fixture
def a(group: HubGroup) -> GroupHub:
    return group.hubs["a"]


@pytest.fixture
def b(group: HubGroup) -> GroupHub:
    return group.hubs["b"]


@pytest.fixture
def c(group: HubGroup) -> GroupHub:
    return group.hubs["c"]
