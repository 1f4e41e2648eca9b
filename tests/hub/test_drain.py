"""A hub lets its clients move to other hubs before it stops."""

from __future__ import annotations

import itertools

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.testing import MemoryReactorClock

from hapi.home import Home
from hapi.hub.http.site import HostPolicy
from hapi.hub.hub import Hub
from hapi.hub.hub_server import HubServer
from hapi.hub.options import HubOptions
from hapi.hub.secrets import HubSecrets
from hapi.hub.service import hub_service
from hapi.hub.store.sqlite import memory_store
from hapi.settings import ConfigurationError, InvalidFlag
from tests.support.hub_stage import result_of


class Connection:
    """A socket that closes at once."""

    def __init__(self, serving: HubServer) -> None:
        self.serving = serving
        serving.server.connections.add(self)  # type: ignore[arg-type]

    def end(self, reason: str) -> None:
        assert reason == "the hub stops"
        self.serving.server.connections.discard(self)  # type: ignore[arg-type]


@pytest.fixture
def reactor() -> MemoryReactorClock:
    return MemoryReactorClock()


@pytest.fixture
def serving(reactor: MemoryReactorClock, tmp_path) -> HubServer:
    options = HubOptions(Home(tmp_path), port=0)
    secrets = HubSecrets("a token of some length", b"s" * 32)
    store = memory_store(reactor)
    return HubServer(reactor, lambda: 0, options, store, secrets, HostPolicy())


def ready(serving: HubServer) -> str | None:
    hub: Hub = serving.hub
    return result_of(Deferred.fromCoroutine(hub.monitoring.problem()))


def test_sockets_are_closed_in_portions_after_balancers_could_notice(serving, reactor):
    for _ in range(100):
        Connection(serving)
    left = []
    drained = Deferred.fromCoroutine(serving.drain(10.0))
    assert ready(serving) == "The hub is stopping"
    for _ in range(41):
        left.append(len(serving.server.connections))
        reactor.advance(0.25)
    assert left[:8] == [100] * 8
    assert all(before - after <= 5 for before, after in itertools.pairwise(left))
    assert left[24] in range(40, 60)
    assert left[-1] == 0
    assert drained.called
    assert not serving.hub.streams.stopped


def test_sockets_that_come_meanwhile_are_closed_as_well(serving, reactor):
    Connection(serving)
    drained = Deferred.fromCoroutine(serving.drain(10.0))
    for _ in range(30):
        reactor.advance(0.25)
        Connection(serving)
    for _ in range(30):
        reactor.advance(0.25)
    assert drained.called
    assert not serving.server.connections


def test_a_hub_without_sockets_stops_as_soon_as_balancers_could_notice(serving, reactor):
    drained = Deferred.fromCoroutine(serving.drain(10.0))
    reactor.advance(1.9)
    assert not drained.called
    reactor.advance(0.2)
    assert drained.called


@pytest.mark.parametrize("after", [0.0, 1.0, 5.0])
def test_a_second_signal_ends_it_at_once(serving, reactor, after):
    for _ in range(100):
        Connection(serving)
    drained = Deferred.fromCoroutine(serving.drain(600.0))
    reactor.advance(after)
    serving.hurry()
    assert drained.called
    assert not [call for call in reactor.getDelayedCalls() if call.active()]


def test_no_time_is_no_drain(serving):
    assert Deferred.fromCoroutine(serving.drain(0.0)).called
    assert ready(serving) is None


@pytest.mark.parametrize(
    ("given", "seconds"), [(None, 10.0), ("0", 0.0), (600, 600.0), ("2.5", 2.5)]
)
def test_the_time_is_a_number_of_seconds(home, given, seconds):
    options = HubOptions.from_environment({"HAPI_HOME": str(home.path)}, drain_seconds=given)
    assert options.drain_seconds == seconds


@pytest.mark.parametrize("given", ["-1", "601", "soon", "nan", True])
def test_another_time_is_refused(home, given):
    with pytest.raises(ConfigurationError, match="--drain-seconds must be a number of seconds"):
        HubOptions.from_environment({"HAPI_HOME": str(home.path)}, drain_seconds=given)


def test_several_hubs_do_not_serve_a_database_in_a_file(home, reactor):
    options = HubOptions(home, port=0, advertise="http://10.0.0.5:3006")
    with pytest.raises(ConfigurationError, match="is for hubs of a database in PostgreSQL"):
        hub_service(reactor, options).startService()
    assert not list(home.path.iterdir()) if home.path.exists() else True


def test_a_database_in_a_file_has_no_hubs_to_be_named(home, reactor):
    environ = {"HAPI_HOME": str(home.path)}
    for options in (HubOptions(home, name="a"), HubOptions.from_environment(environ, name="a")):
        with pytest.raises(InvalidFlag, match=r"^--name is for hubs of a database in PostgreSQL"):
            hub_service(reactor, options).startService()
    of_variable = HubOptions.from_environment({**environ, "HAPI_HUB_NAME": "a"})
    with pytest.raises(ConfigurationError, match=r"^HAPI_HUB_NAME is for hubs of") as refused:
        of_variable.check_sharing()
    assert not isinstance(refused.value, InvalidFlag)
    of_variable = HubOptions.from_environment(
        {**environ, "HAPI_HUB_NAME": "a", "HAPI_DATABASE": "postgresql://db1/hapi"}
    )
    of_variable.check_sharing()


def test_the_address_for_other_hubs_is_an_origin(home):
    environ = {"HAPI_HOME": str(home.path), "HAPI_ADVERTISE": "http://10.0.0.5:3006/"}
    assert HubOptions.from_environment(environ).advertise == "http://10.0.0.5:3006"
    environ["HAPI_ADVERTISE"] = "10.0.0.5"
    with pytest.raises(ConfigurationError, match=r"HAPI_ADVERTISE: hub URL .10\.0\.0\.5."):
        HubOptions.from_environment(environ)
