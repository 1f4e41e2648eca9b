"""The address of a client behind reverse proxies, and who may name it."""

from __future__ import annotations

import json
from typing import Any

import pytest
import pytest_twisted
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.task import deferLater

from hapi.hub import hub_service, tap
from hapi.hub.access.rate_limits import WRONG_TOKENS
from hapi.hub.http.proxies import NO_PROXIES, TrustedProxies
from hapi.hub.options import HubOptions
from hapi.net.client.link import HubLink
from hapi.net.common.rpc import RpcTable
from hapi.settings import ConfigurationError, HubAccess
from tests.support.hub_stage import TOKEN, Stage
from tests.support.real_hub import status_of

PROXIES = TrustedProxies.parse(["127.0.0.1", "10.0.0.0/8", "fd00::/8"])


def client(
    peer: str, forwarded: str = "", x_forwarded_for: str = "", proxies: TrustedProxies = PROXIES
) -> str:
    return proxies.resolve(
        peer,
        [forwarded.encode("latin-1")] if forwarded else [],
        [x_forwarded_for.encode("latin-1")] if x_forwarded_for else [],
    )


@pytest.mark.parametrize(
    ("header", "address"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("203.0.113.9, 192.0.2.1", "192.0.2.1"),
        ("203.0.113.9, 192.0.2.1, 10.0.0.7", "192.0.2.1"),
        ("garbage, 192.0.2.1,10.0.0.7", "192.0.2.1"),
        ("192.0.2.1:4711", "192.0.2.1"),
        ("2001:db8::1", "2001:db8::1"),
        ("[2001:db8::1]:4711", "2001:db8::1"),
        ("192.0.2.1, fd00::1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("192.0.2.1, ::ffff:10.0.0.7", "192.0.2.1"),
        ("10.0.0.9, 10.0.0.7", "10.0.0.9"),  # the proxy's own machine
        ("192.0.2.1, garbage", "127.0.0.1"),
        ("192.0.2.1, unknown, 10.0.0.7", "127.0.0.1"),
        ("192.0.2.1,", "127.0.0.1"),
        ("192.0.2.1, 999.1.1.1", "127.0.0.1"),
        ("\xff", "127.0.0.1"),
    ],
)
def test_x_forwarded_for_names_the_rightmost_address_that_is_no_proxy(header, address):
    assert client("127.0.0.1", x_forwarded_for=header) == address


@pytest.mark.parametrize(
    ("header", "address"),
    [
        ("for=192.0.2.1", "192.0.2.1"),
        ("For=192.0.2.1;proto=https;by=10.0.0.7", "192.0.2.1"),
        ("proto=https; for=192.0.2.1 , for=10.0.0.7", "192.0.2.1"),
        ('for="192.0.2.1:4711"', "192.0.2.1"),
        ('for="[2001:db8::1]:4711"', "2001:db8::1"),
        ('for="[2001:db8::1]:_hidden"', "2001:db8::1"),
        ('for="192.0.2\\.1"', "192.0.2.1"),
        ('for="a,b;c=\\"d", for=192.0.2.1', "192.0.2.1"),
        ("for=203.0.113.9, for=192.0.2.1, for=10.0.0.7", "192.0.2.1"),
        ("for=unknown", "127.0.0.1"),
        ("for=_hidden", "127.0.0.1"),
        ("proto=https", "127.0.0.1"),
        ("for=192.0.2.1;for=192.0.2.2", "127.0.0.1"),
        ('for="192.0.2.1', "127.0.0.1"),
        ('for=", for=192.0.2.1', "127.0.0.1"),
        ("for=192.0.2.1:4711", "127.0.0.1"),  # RFC 7239: a colon must be quoted
        ("for = 192.0.2.1", "127.0.0.1"),
        ("for=192.0.2.1,", "127.0.0.1"),
        ("192.0.2.1", "127.0.0.1"),
    ],
)
def test_forwarded_names_the_rightmost_address_that_is_no_proxy(header, address):
    assert client("127.0.0.1", forwarded=header) == address


def test_several_lines_of_a_header_are_one_list():
    lines = [b"203.0.113.9", b"192.0.2.1, 10.0.0.7"]
    assert PROXIES.resolve("127.0.0.1", [], lines) == "192.0.2.1"


def test_a_header_that_contradicts_the_other_one_is_not_believed():
    headers = {"forwarded": "for=203.0.113.9", "x_forwarded_for": "192.0.2.1"}
    assert client("127.0.0.1", **headers) == "127.0.0.1"
    assert client("127.0.0.1", "for=192.0.2.1", "192.0.2.1") == "192.0.2.1"


@pytest.mark.parametrize("peer", ["192.0.2.7", "2001:db8::7", "", "/run/hub.sock"])
def test_a_client_that_is_no_proxy_cannot_name_another_address(peer):
    assert client(peer, "for=203.0.113.9", "203.0.113.9") == peer


def test_without_the_option_no_header_names_an_address():
    assert client("127.0.0.1", "for=203.0.113.9", "203.0.113.9", NO_PROXIES) == "127.0.0.1"


@given(st.binary(max_size=200), st.binary(max_size=200))
def test_no_header_breaks_the_hub(forwarded, x_forwarded_for):
    assert PROXIES.resolve("127.0.0.1", [forwarded], [x_forwarded_for])


def guesses(stage: Stage, address: str) -> list[int]:
    return [
        stage.rest(
            "POST",
            "/api/auth",
            {"accessToken": "wrong"},
            namespace=None,
            **{"X-Forwarded-For": address},
        ).status
        for _ in range(WRONG_TOKENS.burst + 1)
    ]


def test_behind_a_trusted_proxy_each_client_has_attempts_of_its_own__U07():
    stage = Stage(trusted_proxies=PROXIES)
    assert guesses(stage, "192.0.2.1")[-1] == 429
    assert guesses(stage, "192.0.2.2")[0] == 401
    assert guesses(stage, "203.0.113.9, 192.0.2.1")[0] == 429


def test_without_a_trusted_proxy_a_header_gives_no_further_attempts__U07():
    stage = Stage()
    assert guesses(stage, "192.0.2.1")[-1] == 429
    assert guesses(stage, "192.0.2.2")[0] == 429
    assert stage.rest("POST", "/api/auth", {"accessToken": TOKEN}).status == 200


@pytest_twisted.ensureDeferred
async def test_sockets_have_the_address_of_their_client_too(reactor, home):
    proxies = TrustedProxies.parse(["127.0.0.1"])
    service = hub_service(reactor, HubOptions(home, port=0, token=TOKEN, trusted_proxies=proxies))
    service.startService()
    await service.when_listening
    links = [
        HubLink(reactor, HubAccess(service.url, TOKEN, headers), {}, RpcTable("m1"))
        for headers in ({"X-Forwarded-For": "203.0.113.9, 192.0.2.1"}, {})
    ]
    for link in links:
        link.startService()
        await status_of(link, "connected")
    addresses = sorted(connection.address for connection in service.hub.sockets.connections)
    assert addresses == ["127.0.0.1", "192.0.2.1"]
    for link in links:
        await link.stopService()
    await service.stopService()


@pytest_twisted.ensureDeferred
async def test_a_runner_gets_in_while_another_one_with_a_wrong_token_keeps_asking__U07(
    reactor, home
):
    service = hub_service(reactor, HubOptions(home, port=0, token=TOKEN))
    service.startService()
    await service.when_listening
    for number in range(WRONG_TOKENS.burst + 2):
        wrong = HubLink(reactor, HubAccess(service.url, f"wrong {number}"), {}, RpcTable("m1"))
        wrong.startService()
        if number < WRONG_TOKENS.burst:
            assert (await status_of(wrong, "refused")).reason == "the hub refused us: Invalid token"
        else:
            while not wrong.status.failures:
                await deferLater(reactor, 0.01)
            assert wrong.status.phase == "connecting"  # it goes on trying
        await wrong.stopService()
    right = HubLink(reactor, HubAccess(service.url, TOKEN), {}, RpcTable("m1"))
    right.startService()
    assert (await status_of(right, "connected")).phase == "connected"
    await right.stopService()
    await service.stopService()


# --- the option -----------------------------------------------------------------------------------


def options(home: Any, environ: dict[str, str] | None = None, **flags: Any) -> HubOptions:
    return HubOptions.from_environment({"HAPI_HOME": str(home.path), **(environ or {})}, **flags)


def test_the_option_comes_from_flag_variable_and_settings_in_this_order(home):
    home.settings.write_text('{"trustedProxies": ["10.0.0.1"]}')
    variable = {"HAPI_TRUSTED_PROXIES": "10.0.0.2, fd00::/8"}
    assert options(home).trusted_proxies == TrustedProxies.parse(["10.0.0.1"])
    assert options(home, variable).trusted_proxies == TrustedProxies.parse(["10.0.0.2", "fd00::/8"])
    flag = options(home, variable, trusted_proxies=("10.0.0.3",))
    assert flag.trusted_proxies == TrustedProxies.parse(["10.0.0.3"])
    home.settings.write_text("{}")
    assert options(home).trusted_proxies == NO_PROXIES


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ("10.0.0.300", "must be an IP address or a network such as 10.0.0.0/8 or fd00::/8"),
        ("proxy.example", "must be an IP address or a network such as 10.0.0.0/8 or fd00::/8"),
        ("10.1.0.0/8", "has bits set beyond its prefix; the network is 10.0.0.0/8"),
        ("0.0.0.0/0", "contains all addresses, so that clients could choose theirs"),
    ],
)
def test_a_value_that_is_no_proxy_is_named_in_a_sentence(home, value, problem):
    with pytest.raises(ConfigurationError) as raised:
        options(home, trusted_proxies=(value,))
    assert str(raised.value) == f"--trusted-proxy: {value!r} {problem}"


def test_twistd_takes_the_option_too(home, monkeypatch):
    monkeypatch.setenv("HAPI_HOME", str(home.path))
    given = tap.Options()
    given.parseOptions(["--trusted-proxy", "10.0.0.1", "--trusted-proxy", "fd00::/8"])
    expected = TrustedProxies.parse(["10.0.0.1", "fd00::/8"])
    assert given["options"].trusted_proxies == expected
    with pytest.raises(SystemExit, match=r"hapi-hub: --trusted-proxy: '10\.0\.0' must be"):
        tap.Options().parseOptions(["--trusted-proxy", "10.0.0"])


@pytest.mark.parametrize("value", [5, [5], {"a": 1}])
def test_settings_of_another_type_are_named(home, value):
    home.settings.write_text(json.dumps({"trustedProxies": value}))
    with pytest.raises(
        ConfigurationError, match=r"trustedProxies in settings\.json must be a list"
    ):
        options(home)
