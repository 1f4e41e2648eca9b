"""A hub lets its clients move to other hubs before it stops."""

from __future__ import annotations

import itertools

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.testing import MemoryReactorClock

from hapi.cli.checks.settings_check import settings_problems
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


@pytest.mark.parametrize("database", [None, "postgresql://db1/hapi"])
def test_a_hub_without_others_has_no_time_for_clients_to_move(home, database):
    environ = {"HAPI_HOME": str(home.path)}
    sentence = "is for hubs with a database in PostgreSQL (--database) and --advertise"
    read = HubOptions.from_environment
    with pytest.raises(InvalidFlag) as flag:
        read(environ, database=database, drain_seconds="0").check_sharing()
    assert str(flag.value) == f"--drain-seconds {sentence}"
    with pytest.raises(ConfigurationError) as variable:
        read({**environ, "HAPI_DRAIN_SECONDS": "5"}, database=database).check_sharing()
    assert str(variable.value) == f"HAPI_DRAIN_SECONDS {sentence}"
    read(environ, database=database).check_sharing()


def test_a_hub_with_others_has_time_for_clients_to_move(home):
    HubOptions.from_environment(
        {"HAPI_HOME": str(home.path), "HAPI_DRAIN_SECONDS": "5"},
        database="postgresql://db1/hapi",
        advertise="http://10.0.0.5:3006",
    ).check_sharing()


def test_the_address_for_other_hubs_is_an_origin(home):
    environ = {"HAPI_HOME": str(home.path), "HAPI_ADVERTISE": "http://10.0.0.5:3006/"}
    assert HubOptions.from_environment(environ).advertise == "http://10.0.0.5:3006"
    environ["HAPI_ADVERTISE"] = "10.0.0.5"
    with pytest.raises(ConfigurationError, match=r"HAPI_ADVERTISE: hub URL .10\.0\.0\.5."):
        HubOptions.from_environment(environ)


@pytest.mark.parametrize(
    ("given", "url"),
    [
        ("http://10.0.0.5:3006", "http://10.0.0.5:3006"),
        ("https://Hub-A.example/", "https://hub-a.example"),
        ("http://hub_a.:1", "http://hub_a.:1"),
        ("http://[FD00::5]:3006", "http://[fd00::5]:3006"),
        ("http://[fe80::1%eth0]:3006", "http://[fe80::1%eth0]:3006"),
        ("http://bücher.example:3006", "http://xn--bcher-kva.example:3006"),
        ("http://１０.0.0.5:3006", "http://10.0.0.5:3006"),
        (f"http://{'a.' * 126}a", f"http://{'a.' * 126}a"),
    ],
)
def test_an_address_that_other_hubs_can_use_is_taken(home, given, url):
    assert HubOptions.from_environment(of(home), advertise=given).advertise == url


WILDCARD = "must name one host where other hubs reach this one, not every interface"
NO_HOST = "must have a valid host name or IP address"
FORM = "must look like http://host:port or https://host"
NO_PORT = "has a port that is not a number from 0 to 65535"


@pytest.mark.parametrize(
    ("given", "quoted", "reason"),
    [
        ("http://h:0", None, "must have the port where other hubs reach this one, not 0"),
        ("http://h:x", None, NO_PORT),
        ("http://h:70000", None, NO_PORT),
        *(
            (f"http://{host}:3006", None, WILDCARD)
            for host in ("*", "0.0.0.0", "[::]", "[0:0::0]", "[::ffff:0.0.0.0]", "０.0.0.0")
        ),
        *(
            (f"http://{host}:3006", None, NO_HOST)
            for host in (
                *("0", "0x0", "10.0.0", "10.0.0.256", "*.example", "a..b", "-a", "a-", "a%20b"),
                *("a" * 64, "☃.example", "ü" * 64, 'a"b'),
            )
        ),
        ("http://a b", None, "must not have a space or a control character"),
        ("http://h ", None, "must not have a space or a control character"),
        ("http://h\n", None, "must not have a space or a control character"),
        ("http://[::1", None, FORM),
        ("10.0.0.5", None, FORM),
        ("http://h/path", None, "must be an origin alone"),
        ("http://h?x=1", None, "must be an origin alone"),
        ("http://u:secret@host", "http://***@host", "must be an origin alone"),
        ("http://u:se@cret/@host:0", "http://***@host:0", "must be an origin alone"),
        ("http://u:secret@host:x", "http://***@host:x", NO_PORT),
        ("http://u:sec℀ret@host", "http://***@host", FORM),
        ("u:secret@host", "***@host", FORM),
        (f"http://{'a.' * 127}a", "", "has a host of more than 253 characters"),
        (f"http://{'ü' * 10_000}", "", "has a host of more than 253 characters"),
        (f"http://h/{'x' * 10_000}", "", "must be an origin alone"),
    ],
)
def test_an_address_that_no_other_hub_can_use_is_refused(home, given, quoted, reason):
    with pytest.raises(InvalidFlag) as refused:
        HubOptions.from_environment(of(home), advertise=given)
    said = str(refused.value)
    start = "--advertise: hub URL "
    if quoted == "":  # too long for a line
        assert said.startswith(f"{start}{repr(given)[:100]}… {reason}")
    else:
        assert said.startswith(f"{start}{quoted or given!r} {reason}")
    assert "secret" not in said
    assert len(said) < 250
    assert settings_problems({"advertise": given}) == [said.removeprefix("--")]


def of(home):
    return {"HAPI_HOME": str(home.path)}
